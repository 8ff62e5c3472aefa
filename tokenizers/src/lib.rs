//! Bytes ⇄ tokens. Every tokenizer is lossless on every byte string. This crate stands between the
//! names of `lmtrain-runs` and everything that codes or trains on tokens; it holds no network.

mod bytes;

pub use bytes::ByteTokenizer;
use lmtrain_runs::Tokenization;

/// Turns bytes into tokens and back, without loss.
pub trait Tokenizer: Send + Sync {
    /// Its name.
    fn tokenization(&self) -> Tokenization;

    /// Number of different tokens.
    fn vocabulary(&self) -> usize {
        self.tokenization().vocabulary()
    }

    /// The tokens of any byte string.
    fn encode(&self, bytes: &[u8]) -> Vec<u32>;

    /// The bytes of any tokens that [`Self::encode`] made.
    ///
    /// # Errors
    /// If a token is not in the vocabulary.
    fn decode(&self, tokens: &[u32]) -> Result<Vec<u8>, TokenizerError>;

    /// SHA-256 of what the vocabulary is; all zeros for bytes, which have none.
    fn identity(&self) -> [u8; 32];

    /// Compressed bytes of the vocabulary, which a decoder must have; absent for bytes.
    fn vocabulary_bytes(&self) -> Option<u64>;
}

/// What went wrong with a tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A token that the vocabulary does not have.
    #[error("token {token} is outside the vocabulary of {vocabulary}")]
    OutsideVocabulary {
        /// The token.
        token: u32,
        /// Number of tokens there are.
        vocabulary: usize,
    },
    /// A tokenization that this version cannot make.
    #[error("tokenizer `{0}` is not available in this version; use `bytes`")]
    Unavailable(Tokenization),
}

/// The tokenizer of this name.
///
/// # Errors
/// [`TokenizerError::Unavailable`] for one that this version cannot make.
pub fn tokenizer(name: &Tokenization) -> Result<Box<dyn Tokenizer>, TokenizerError> {
    match name {
        Tokenization::Bytes => Ok(Box::new(ByteTokenizer)),
        Tokenization::Bpe(_) => Err(TokenizerError::Unavailable(name.clone())),
    }
}
