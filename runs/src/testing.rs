//! For the tests of all crates: the real data that some of them use.

use std::io::Write;
use std::path::PathBuf;

/// The data directory, or nothing if there is none and none is required.
///
/// # Panics
/// Where CI lacks it: there no test is left out.
#[must_use]
pub fn data_directory() -> Option<PathBuf> {
    let root = std::env::var_os("LMTRAIN_DATA").map(PathBuf::from);
    if root.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must set LMTRAIN_DATA");
        let _ = writeln!(std::io::stderr(), "a test is left out: LMTRAIN_DATA is not set");
    }
    root
}

/// A pretrained model beside the data, as [`data_directory`].
#[must_use]
pub fn shared_model(name: &str) -> Option<PathBuf> {
    Some(data_directory()?.join("../models").join(name))
}
