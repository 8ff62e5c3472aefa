//! Byte-pair encoding (Sennrich et al. 2016) over bytes, as in GPT-2: trained on a text by the `tokenizers` crate,
//! saved in a format that other programs read, and lossless for every sequence of bytes, whether it is text or not.
//!
//! ```text
//! text ─ words ─► train ─► vocabulary ─┬─ file    tokenizer.json, for this and other programs
//!                                      └─ packed  the fewest bytes that it can be rebuilt from
//! bytes ─ words ─► encode ─► tokens ─► decode: the tokens' bytes, one after the other
//! ```

mod alphabet;
mod encode;
mod file;
mod packed;
#[cfg(test)]
mod tests;
mod train;
mod training_text;
mod vocabulary;
mod words;

use std::path::Path;

use lmtrain_runs::{GIT_LFS_POINTER, Tokenization, is_git_lfs_pointer};

use crate::{Tokenizer, TokenizerError};
pub(crate) use alphabet::byte_of;
use encode::Encoder;
pub use training_text::TrainingText;
use training_text::seen;
use vocabulary::Vocabulary;

/// Byte-pair encoding with a vocabulary.
pub struct BpeTokenizer {
    vocabulary: Vocabulary,
    encoder: Encoder,
    packed: Vec<u8>,
    trained_on: Option<TrainingText>,
}

impl BpeTokenizer {
    /// Trains a vocabulary of exactly `tokens` tokens, including the 256 bytes. The same text gives the same
    /// vocabulary with any number of threads.
    ///
    /// # Errors
    /// If the text is too short for so many, or their number is out of range.
    pub fn train(text: &[u8], tokens: u32) -> Result<Self, TokenizerError> {
        let tokens = tokens as usize;
        if !(alphabet::BYTES..=vocabulary::MOST_TOKENS).contains(&tokens) {
            let reason = format!("a vocabulary has 256 to {} tokens", vocabulary::MOST_TOKENS);
            return Err(TokenizerError::Training { reason });
        }
        let vocabulary = train::train(seen(text), tokens)?;
        Self::new(vocabulary, Some(TrainingText::of(text)))
    }

    /// Reads a file that [`Self::write`] wrote.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or is no vocabulary of this kind.
    pub fn read(path: &Path) -> Result<Self, TokenizerError> {
        let text = std::fs::read(path)
            .map_err(|source| TokenizerError::Io { path: path.to_owned(), source })?;
        Self::from_json(&text, &path.display().to_string())
    }

    /// The tokenizer of a file's content; `what` names it in errors.
    ///
    /// # Errors
    /// If it is damaged, or is no vocabulary of this kind.
    pub fn from_json(text: &[u8], what: &str) -> Result<Self, TokenizerError> {
        if is_git_lfs_pointer(text) {
            return Err(damaged(what, GIT_LFS_POINTER.to_owned()));
        }
        let (vocabulary, trained_on) = file::read(text).map_err(|reason| damaged(what, reason))?;
        Self::new(vocabulary, trained_on)
    }

    /// The tokenizer of a [`Self::packed`]; `what` names it in errors.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_packed(packed: &[u8], what: &str) -> Result<Self, TokenizerError> {
        let vocabulary = packed::unpack(packed).map_err(|reason| damaged(what, reason))?;
        Self::new(vocabulary, None)
    }

    fn new(
        vocabulary: Vocabulary,
        trained_on: Option<TrainingText>,
    ) -> Result<Self, TokenizerError> {
        let encoder = Encoder::new(&vocabulary);
        let packed =
            packed::pack(&vocabulary).map_err(|reason| TokenizerError::Training { reason })?;
        Ok(Self { vocabulary, encoder, packed, trained_on })
    }

    /// The tokens of any bytes: every byte is one, so that nothing can fail.
    #[must_use]
    pub fn encode(&self, bytes: &[u8]) -> Vec<u32> {
        self.encoder.encode(bytes)
    }

    /// Its `tokenizer.json`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        file::write(&self.vocabulary, self.trained_on.as_ref())
    }

    /// Writes its `tokenizer.json`, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), TokenizerError> {
        Ok(lmtrain_runs::files::write_atomic(path, &self.to_json())?)
    }

    /// What it was trained on, if that is known.
    #[must_use]
    pub fn trained_on(&self) -> Option<&TrainingText> {
        self.trained_on.as_ref()
    }
}

impl Tokenizer for BpeTokenizer {
    fn tokenization(&self) -> Tokenization {
        // At most 2^18.
        Tokenization::Bpe(self.vocabulary.count() as u32)
    }

    fn encode(&self, bytes: &[u8]) -> Result<Vec<u32>, TokenizerError> {
        Ok(self.encode(bytes))
    }

    fn decode(&self, tokens: &[u32]) -> Result<Vec<u8>, TokenizerError> {
        let mut bytes = Vec::with_capacity(4 * tokens.len());
        for &token in tokens {
            let vocabulary = self.vocabulary.count();
            let outside = TokenizerError::OutsideVocabulary { token, vocabulary };
            bytes.extend(self.vocabulary.token(token).ok_or(outside)?);
        }
        Ok(bytes)
    }

    fn boundary(&self, bytes: &[u8], at: usize) -> usize {
        words::boundary(bytes, at)
    }

    fn identity(&self) -> [u8; 32] {
        self.vocabulary.identity()
    }

    fn packed(&self) -> &[u8] {
        &self.packed
    }
}

fn damaged(what: &str, reason: String) -> TokenizerError {
    TokenizerError::Damaged { what: what.to_owned(), reason }
}
