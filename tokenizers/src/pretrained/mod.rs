//! Tokenizers of pretrained language models: a Hugging Face `tokenizer.json` of byte-pair encoding, over
//! bytes (GPT-2, Pythia, Llama 3, Qwen) or over characters with `<0xNN>` for the rest (Llama 2, Mistral).
//!
//! ```text
//! tokenizer.json ─┬─ the `tokenizers` crate   text → tokens, as the model's own
//!                 └─ spelling                  what bytes each token stands for
//! bytes ─ stretches ─► tokens whose bytes are the bytes, whatever they are (`encode`)
//! ```
//!
//! The tokens from the crate are kept only where the bytes that they stand for are the text's, so nothing can be lost:
//! normalisers (NFC), unknown characters, text that spells special tokens, and bytes that are not UTF-8 lead to tokens
//! of single bytes instead. Special tokens are never produced.

mod document;
mod encode;
mod spelling;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::OnceLock;

use lmtrain_runs::{GIT_LFS_POINTER, Tokenization, is_git_lfs_pointer};

use crate::{Tokenizer, TokenizerError};
use document::Document;
use spelling::Spelling;

/// The tokenizer that came with a pretrained model.
pub struct PretrainedTokenizer {
    document: Document,
    spelling: Spelling,
    /// For the beginning of a string.
    whole: tokenizers::Tokenizer,
    /// For what follows: it puts no space before a text.
    continuing: tokenizers::Tokenizer,
    /// What it puts before a text, and takes off again: a space, or nothing.
    prefix: Vec<u8>,
    identity: [u8; 32],
    /// Made on first use, since it takes seconds for large vocabularies.
    packed: OnceLock<Vec<u8>>,
}

impl std::fmt::Debug for PretrainedTokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PretrainedTokenizer").field("prefix", &self.prefix).finish()
    }
}

impl PretrainedTokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or is of a kind that this program does not know.
    pub fn read(path: &Path) -> Result<Self, TokenizerError> {
        let text = std::fs::read(path)
            .map_err(|source| TokenizerError::Io { path: path.to_owned(), source })?;
        Self::from_json(&text, &path.display().to_string())
    }

    /// The tokenizer of a file's content; `what` names it in errors.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_json(text: &[u8], what: &str) -> Result<Self, TokenizerError> {
        let unusable = |reason| TokenizerError::Unusable { what: what.to_owned(), reason };
        if is_git_lfs_pointer(text) {
            return Err(unusable(GIT_LFS_POINTER.to_owned()));
        }
        Self::new(Document::parse(text).map_err(unusable)?).map_err(unusable)
    }

    /// The tokenizer of a [`Tokenizer::packed`].
    ///
    /// # Errors
    /// If it is none.
    pub fn from_packed(packed: &[u8], what: &str) -> Result<Self, TokenizerError> {
        let unusable = |reason| TokenizerError::Unusable { what: what.to_owned(), reason };
        Self::from_json(&document::unpack(packed).map_err(unusable)?, what)
    }

    fn new(document: Document) -> Result<Self, String> {
        let whole = document.tokenizer()?;
        let continuing = document.continuing().tokenizer()?;
        let spelling = Spelling::new(&document, &whole)?;
        let identity = document.identity();
        let mut tokenizer = Self {
            document,
            spelling,
            whole,
            continuing,
            prefix: Vec::new(),
            identity,
            packed: OnceLock::new(),
        };
        tokenizer.prefix = tokenizer.found_prefix();
        Ok(tokenizer)
    }

    /// What it puts before a text, found by looking at what it makes of one.
    fn found_prefix(&self) -> Vec<u8> {
        let tokens = self.whole.encode_fast("a", false);
        let spelt = tokens.ok().and_then(|tokens| self.spelling.spell(tokens.get_ids()));
        if spelt.is_some_and(|bytes| bytes == b" a") { b" ".to_vec() } else { Vec::new() }
    }

    /// The token that is spelt so in the file, such as `<|endoftext|>`.
    #[must_use]
    pub fn token(&self, name: &str) -> Option<u32> {
        self.whole.token_to_id(name)
    }

    fn bytes_of(&self, tokens: &[u32]) -> Result<Vec<u8>, TokenizerError> {
        let mut bytes = Vec::with_capacity(4 * tokens.len());
        for &token in tokens {
            let vocabulary = self.spelling.count();
            let outside = TokenizerError::OutsideVocabulary { token, vocabulary };
            bytes.extend(self.spelling.bytes(token).ok_or(outside)?);
        }
        Ok(bytes)
    }
}

impl Tokenizer for PretrainedTokenizer {
    fn tokenization(&self) -> Tokenization {
        // At most 2^18, as `Spelling` checks.
        Tokenization::Pretrained(self.spelling.count() as u32)
    }

    fn encode(&self, bytes: &[u8]) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = Vec::new();
        if !bytes.is_empty() {
            self.stretch(bytes, true, &mut tokens)?;
        }
        Ok(tokens)
    }

    fn decode(&self, tokens: &[u32]) -> Result<Vec<u8>, TokenizerError> {
        let mut bytes = self.bytes_of(tokens)?;
        if bytes.starts_with(&self.prefix) {
            bytes.drain(..self.prefix.len());
        }
        Ok(bytes)
    }

    fn decode_rest(&self, tokens: &[u32]) -> Result<Vec<u8>, TokenizerError> {
        self.bytes_of(tokens)
    }

    fn can_spell(&self, byte: u8) -> bool {
        self.spelling.single(byte).is_some()
    }

    /// There is none to be sure of: the file's patterns may look anywhere.
    fn boundary(&self, bytes: &[u8], _at: usize) -> usize {
        bytes.len()
    }

    fn identity(&self) -> [u8; 32] {
        self.identity
    }

    fn packed(&self) -> &[u8] {
        self.packed.get_or_init(|| self.document.pack())
    }
}
