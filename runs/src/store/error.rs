//! Errors of the store.

use crate::files::FileError;

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written, or is damaged.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process holds the run.
    #[error("run `{0}` is being trained by another process")]
    Busy(String),
}
