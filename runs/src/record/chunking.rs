//! How a corpus is cut before it is compressed.

use serde::{Deserialize, Serialize};

/// How a corpus was cut before it was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chunking {
    /// Pieces of so many bytes, each from an empty context.
    Bytes(u64),
    /// Pieces of so many tokens, each from an empty context.
    Tokens(u64),
    /// One piece.
    Whole,
    /// Windows of so many tokens that overlap: of each the last `stride` are coded, after the ones before, and of the
    /// first all. So every token but the first ones is predicted from at least `window` − `stride` tokens.
    Strided {
        /// Tokens of a window.
        window: u64,
        /// Tokens that are coded of each.
        stride: u64,
    },
}

impl std::fmt::Display for Chunking {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(length) => formatter.pad(&format!("{length} bytes")),
            Self::Tokens(length) => formatter.pad(&format!("{length} tokens")),
            Self::Whole => formatter.pad("whole"),
            Self::Strided { window, stride } => {
                formatter.pad(&format!("{window} tokens, {stride} at a time"))
            }
        }
    }
}
