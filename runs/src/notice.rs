//! Notices: messages of a crate to the user besides its results and errors. The crate does not decide whether and where
//! they are shown; the application does, once, with [`show_by`]. Each notice is shown only once, however often its
//! cause occurs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

type Show = Box<dyn Fn(&str) + Send + Sync>;

static SHOW: OnceLock<Show> = OnceLock::new();
static SAID: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// From here on notices are shown so; the first to say it decides. Before, nothing is shown.
pub fn show_by(show: impl Fn(&str) + Send + Sync + 'static) {
    let _ = SHOW.set(Box::new(show));
}

/// Says that a file was read whose damage nobody would see, since an older version wrote it. It is said
/// of the first such file alone: a folder may hold hundreds.
pub fn without_digest(path: &Path) {
    once("without digest", || {
        format!(
            "note: {} was written by an older version, without a digest, so damage in it goes unnoticed \
             (other files like it are not named)",
            path.display()
        )
    });
}

/// Says what a cause has to say, the first time.
fn once(cause: &'static str, text: impl FnOnce() -> String) {
    let Some(show) = SHOW.get() else { return };
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(cause) {
        show(&text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_notice_is_shown_once() {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let keep = shown.clone();
        without_digest(Path::new("unheard"));
        show_by(move |text| keep.lock().expect("no panic").push(text.to_owned()));
        for path in ["a", "b"] {
            without_digest(Path::new(path));
        }
        let shown = shown.lock().expect("no panic");
        assert!(shown.len() == 1 && shown[0].contains("note: a was"), "{shown:?}");
    }
}
