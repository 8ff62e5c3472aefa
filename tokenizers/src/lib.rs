//! Bytes ⇄ tokens. Every tokenizer is lossless for every sequence of bytes. This crate is used by everything that codes
//! tokens or trains on them; it depends only on `lmtrain-runs` and knows nothing of networks.
//!
//! ```
//! use lmtrain_tokenizers::{BpeTokenizer, Tokenizer};
//!
//! // Byte-pair encoding learns which neighbours to merge from a text, and encodes any bytes with that.
//! let text = "the cat and the hat and the bat; ".repeat(100);
//! let tokenizer = BpeTokenizer::train(text.as_bytes(), 264)?;
//! let bytes = b"the hat \xff\x00";
//! let tokens = tokenizer.encode(bytes);
//! assert!(tokens.len() < bytes.len());
//! assert_eq!(tokenizer.decode(&tokens)?, bytes);
//! # Ok::<(), lmtrain_tokenizers::TokenizerError>(())
//! ```

mod bpe;
mod bytes;
mod pretrained;

use std::path::PathBuf;

pub use bpe::{BpeTokenizer, TrainingText};
pub use bytes::ByteTokenizer;
use lmtrain_runs::{FileError, Tokenization};
pub use pretrained::PretrainedTokenizer;

/// Turns bytes into tokens and back, without loss.
pub trait Tokenizer: Send + Sync {
    /// Its name.
    fn tokenization(&self) -> Tokenization;

    /// Number of different tokens.
    fn vocabulary(&self) -> usize {
        self.tokenization().vocabulary()
    }

    /// The tokens of any byte string.
    ///
    /// # Errors
    /// If a pretrained vocabulary has no token that spells one of the bytes.
    fn encode(&self, bytes: &[u8]) -> Result<Vec<u32>, TokenizerError>;

    /// The bytes of any tokens; of those that [`Self::encode`] made, the ones it made them of.
    ///
    /// # Errors
    /// If a token is not in the vocabulary.
    fn decode(&self, tokens: &[u32]) -> Result<Vec<u8>, TokenizerError>;

    /// The bytes of tokens that follow others of the same string. Some pretrained tokenizers put a
    /// space before a text, which [`Self::decode`] takes off again and this does not.
    ///
    /// # Errors
    /// As [`Self::decode`].
    fn decode_rest(&self, tokens: &[u32]) -> Result<Vec<u8>, TokenizerError> {
        self.decode(tokens)
    }

    /// Whether a byte has its own token, so that it can be encoded anywhere.
    fn can_spell(&self, _byte: u8) -> bool {
        true
    }

    /// The first place from `at` on where the bytes may be cut: the tokens of both parts are then
    /// the tokens of the whole. Their end, if there is none before.
    fn boundary(&self, bytes: &[u8], at: usize) -> usize;

    /// SHA-256 of everything that determines the tokens of any bytes; all zeros for bytes, which have no vocabulary.
    fn identity(&self) -> [u8; 32];

    /// The vocabulary in few bytes, which are enough to make the tokenizer again ([`from_packed`]);
    /// none for bytes, which have no vocabulary.
    fn packed(&self) -> &[u8];

    /// Compressed bytes of the vocabulary, which a decoder must have; absent for bytes.
    fn vocabulary_bytes(&self) -> Option<u64> {
        (!self.packed().is_empty()).then_some(self.packed().len() as u64)
    }
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
    /// A text that gives fewer tokens than requested.
    #[error(
        "a text of {bytes} bytes gives a vocabulary of only {found} tokens instead of {wanted}"
    )]
    TooShort {
        /// Length of the text.
        bytes: u64,
        /// Tokens that it gives.
        found: usize,
        /// Tokens asked for.
        wanted: usize,
    },
    /// The training failed.
    #[error("training a vocabulary failed: {reason}")]
    Training {
        /// Why.
        reason: String,
    },
    /// A vocabulary that is damaged, or of another kind.
    #[error("{what} is damaged, or not a vocabulary of this program: {reason}")]
    Damaged {
        /// The file, or where else it was.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// A byte that no token of a pretrained vocabulary spells.
    #[error(
        "the model's vocabulary cannot spell the byte {byte:#04x}: no token stands for it alone\n\
         hint: `lmtrain eval --protocol paper` masks bytes, and counts the bits that this loses"
    )]
    Unspellable {
        /// The byte.
        byte: u8,
    },
    /// A pretrained model's tokenizer that this program cannot use.
    #[error("{what} cannot be used: {reason}")]
    Unusable {
        /// The file.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The tokenizer from its [`Tokenizer::packed`] form; `what` names it in errors.
///
/// # Errors
/// If it is none of this tokenization.
pub fn from_packed(
    name: &Tokenization,
    packed: &[u8],
    what: &str,
) -> Result<Box<dyn Tokenizer>, TokenizerError> {
    let tokenizer: Box<dyn Tokenizer> = match name {
        Tokenization::Bytes => return Ok(Box::new(ByteTokenizer)),
        Tokenization::Bpe(_) => Box::new(BpeTokenizer::from_packed(packed, what)?),
        Tokenization::Pretrained(_) => Box::new(PretrainedTokenizer::from_packed(packed, what)?),
    };
    if tokenizer.tokenization() != *name {
        let reason =
            format!("it is a vocabulary of `{}`, not of `{name}`", tokenizer.tokenization());
        return Err(TokenizerError::Damaged { what: what.to_owned(), reason });
    }
    Ok(tokenizer)
}
