//! How a corpus is cut before it is compressed.

use serde::{Deserialize, Serialize};

/// How a corpus was cut before it was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chunking {
    /// Chunks of this many bytes, each from an empty context.
    Bytes(u64),
    /// Chunks of this many tokens, each from an empty context.
    Tokens(u64),
    /// One piece.
    Whole,
    /// Overlapping windows of this many tokens. In the first window all tokens count, in every other the last
    /// `stride`, so every token after the first window is predicted from at least `window` − `stride` tokens.
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
