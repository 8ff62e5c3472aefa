//! The networks that are built into the program, so that it compresses without a run, a download or any other file. To
//! add one, put its packed network (`lmtrain pack`) into `runs/models/`, a row here, and an archive made with it into
//! `tests/golden/`.
//!
//! A row stays for good, and so does its file: archives name the network and need its very bytes. A better network gets
//! a row and a name of its own, such as `builtin-200K-2`.

use crate::units::hex;

/// What the names of these networks begin with. No run is called so.
pub const PREFIX: &str = "builtin-";

/// A network that is built into the program.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// SHA-256 of the packed network, in hexadecimal, by which an archive identifies it. A test of the application holds
    /// it to the bytes.
    pub sha256: &'static str,
    /// What it was trained on, in words that follow "trained on".
    pub trained_on: &'static str,
    /// The packed network, as its file has it.
    pub packed: &'static [u8],
}

/// All of them, first the one that compresses text best.
pub static BUILTINS: &[Builtin] = &[Builtin {
    name: "builtin-200K",
    sha256: "985213fcdec7bfc74b40c916604670dc3a62aa5c3b94932c1bee028b1f765fa3",
    trained_on: "English Wikipedia (2015)",
    packed: include_bytes!("../models/200K-int8.lmw"),
}];

/// The one that compresses if none is named: the first row.
#[must_use]
pub fn default() -> &'static Builtin {
    &BUILTINS[0]
}

/// Whether a name is one that these networks alone may have.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The network of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}

/// The network of this identity, by which archives know it.
#[must_use]
pub fn by_identity(identity: &[u8; 32]) -> Option<&'static Builtin> {
    let identity = hex(identity);
    BUILTINS.iter().find(|builtin| builtin.sha256 == identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::from_hex;

    #[test]
    fn each_has_a_name_and_an_identity_of_its_own() {
        for (index, builtin) in BUILTINS.iter().enumerate() {
            assert!(is_reserved(builtin.name), "{}", builtin.name);
            assert!(builtin.name.len() > PREFIX.len() && !builtin.name.ends_with(".lmw"));
            let identity = from_hex(builtin.sha256).and_then(|bytes| bytes.try_into().ok());
            let found = by_identity(&identity.expect("32 bytes")).map(|found| found.name);
            assert_eq!(found, Some(builtin.name));
            assert_eq!(by_name(builtin.name).map(|found| found.sha256), Some(builtin.sha256));
            let others = BUILTINS[index + 1..].iter();
            assert!(others.clone().all(|other| other.name != builtin.name), "{}", builtin.name);
            assert!(others.clone().all(|other| other.sha256 != builtin.sha256), "{}", builtin.name);
        }
        assert!(by_name("builtin-none").is_none() && by_identity(&[0; 32]).is_none());
        assert!(!is_reserved("200K-bytes-modern-s0"));
    }
}
