//! The temporary files that this process is writing. Whoever abandons one removes it; if the process is ended while
//! other threads are still writing, all are removed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static LISTED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Keeps a temporary file listed until dropped.
#[derive(Debug)]
pub struct Listed(PathBuf);

/// Lists a temporary file; to be called as soon as its name is known.
#[must_use]
pub fn list(path: &Path) -> Listed {
    listed().insert(path.to_owned());
    Listed(path.to_owned())
}

/// Removes every temporary file, because the process is about to end: no new ones are accepted, and threads that try
/// wait forever.
pub fn remove_all() {
    let listed = listed();
    for path in listed.iter() {
        // What cannot be removed does no harm but take room.
        let _ = std::fs::remove_file(path);
    }
    std::mem::forget(listed);
}

impl Drop for Listed {
    fn drop(&mut self) {
        listed().remove(&self.0);
    }
}

fn listed() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    LISTED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_listed_while_it_is_written() {
        let path = Path::new("somewhere/file.tmp");
        let guard = list(path);
        assert!(listed().contains(path));
        drop(guard);
        assert!(!listed().contains(path));
    }
}
