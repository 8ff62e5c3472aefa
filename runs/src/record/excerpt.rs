//! Which bytes of which corpus a record is about.

use serde::{Deserialize, Serialize};

use crate::medium::Medium;

/// A range of a corpus's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// Chunks drawn at random instead of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sample {
    /// Chunks measured.
    pub chunks: u64,
    /// Chunks that the span has.
    pub of: u64,
    /// Seed of the draw.
    pub seed: u64,
}

/// The measured data: a corpus, and which of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Excerpt {
    /// Corpus by name.
    pub corpus: String,
    /// SHA-256 of the whole corpus, hexadecimal.
    pub corpus_sha256: String,
    /// What its bytes are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<Medium>,
    /// The bytes of the corpus that were measured, or sampled from.
    pub span: Span,
    /// Which chunks, if not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
}

impl Excerpt {
    /// The medium of its bytes; bytes of no known kind, if the record does not say.
    #[must_use]
    pub fn medium(&self) -> Medium {
        self.medium.unwrap_or(Medium::Bytes)
    }

    /// Bytes of the span.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.span.end.saturating_sub(self.span.start)
    }
}
