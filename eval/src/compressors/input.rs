//! The input of a compressor.

use lmtrain_runs::Medium;

/// What a compressor is told of the bytes that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// What they are of.
    pub medium: Medium,
    /// How many there are.
    pub length: u64,
}
