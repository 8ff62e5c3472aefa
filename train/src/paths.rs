//! The path of a visitor within a network: the names of the fields down to a parameter, such as `blocks.0.qkv`, which
//! are the parameter's name in files.

/// The path of names from the network to the current parameter.
#[derive(Clone, Debug, Default)]
pub struct Paths(Vec<String>);

impl Paths {
    /// Goes down into a field or an element.
    pub fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    /// Comes up again.
    pub fn exit(&mut self) {
        self.0.pop();
    }

    /// The names joined by dots.
    #[must_use]
    pub fn current(&self) -> String {
        self.0.join(".")
    }
}
