//! The text that a vocabulary was trained on, as its file names it.

use lmtrain_runs::units::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::train::MOST_TRAINING_BYTES;

/// The text that a vocabulary was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingText {
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
}

impl TrainingText {
    /// The identity of the part of a text that [`BpeTokenizer::train`](super::BpeTokenizer::train) uses: all of it, or
    /// its first 2^31 − 1 bytes.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let text = seen(text);
        Self { bytes: text.len() as u64, sha256: hex(&Sha256::digest(text)) }
    }
}

/// The bytes of a text that are trained on.
pub(super) fn seen(text: &[u8]) -> &[u8] {
    &text[..text.len().min(MOST_TRAINING_BYTES)]
}
