//! How long-running work reports its progress. The library prints nothing; its caller may.

use std::ops::ControlFlow;

/// What is being done, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorpusProgress {
    /// Bytes of a download that are here, of how many if the server said.
    Downloading {
        /// Bytes here.
        bytes: u64,
        /// Bytes in all.
        of: Option<u64>,
    },
    /// Bytes unpacked, of how many if the archive says.
    Unpacking {
        /// Bytes unpacked.
        bytes: u64,
        /// Bytes in all.
        of: Option<u64>,
    },
    /// Files of a folder looked at, to see what there is.
    Looking {
        /// Files looked at.
        files: u64,
    },
    /// Images or sounds decoded.
    Decoding {
        /// Files decoded.
        files: u64,
        /// Files in all, where all are decoded.
        of_files: Option<u64>,
        /// Bytes that they came to.
        bytes: u64,
        /// Bytes in all, where so many are asked for.
        of_bytes: Option<u64>,
    },
    /// Bytes hashed.
    Hashing {
        /// Bytes hashed.
        bytes: u64,
        /// Bytes in all.
        of: Option<u64>,
    },
}

/// Called with [`CorpusProgress`] many times a second; returns whether to continue. After [`ControlFlow::Break`] the
/// work stops cleanly with [`CorpusError::Interrupted`](super::CorpusError::Interrupted).
pub type ProgressCallback<'a> = dyn FnMut(CorpusProgress) -> ControlFlow<()> + 'a;

/// For callers who do not care.
pub(super) fn silent(_: CorpusProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
