//! Bytes to tokens that stand for exactly these bytes. The tokens from the crate are compared with the text. Those that
//! agree at its beginning and its end are kept; what is left in between is halved and tried again, down to single
//! characters, which are spelt byte by byte.

use super::PretrainedTokenizer;
use crate::TokenizerError;

/// Bytes that are no longer halved: a character has no more.
const CHARACTER_BYTES: usize = 4;

impl PretrainedTokenizer {
    /// Appends the tokens of any bytes; `first` if nothing is before them.
    pub(super) fn stretch(
        &self,
        bytes: &[u8],
        mut first: bool,
        tokens: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        for part in bytes.utf8_chunks() {
            if !part.valid().is_empty() {
                self.text(part.valid(), first, tokens)?;
                first = false;
            }
            if !part.invalid().is_empty() {
                let prefix = if first { &self.prefix[..] } else { &[] };
                self.spell(prefix, tokens)?;
                self.spell(part.invalid(), tokens)?;
                first = false;
            }
        }
        Ok(())
    }

    /// Appends the tokens of a text.
    fn text(&self, text: &str, first: bool, tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let tokenizer = if first { &self.whole } else { &self.continuing };
        let prefix = if first { &self.prefix[..] } else { &[] };
        // What the crate refuses, it has no tokens for.
        let encoding = tokenizer.encode_fast(text, false).ok();
        let found = encoding.as_ref().map_or(&[][..], |encoding| encoding.get_ids());
        let wanted = [prefix, text.as_bytes()].concat();
        let (kept, start) = self.agreeing_before(found, &wanted);
        tokens.extend(&found[..kept]);
        let (rest, end) = self.agreeing_after(&found[kept..], &wanted[start..]);
        self.between(&wanted[start..start + end], tokens)?;
        tokens.extend(&found[kept + rest..]);
        Ok(())
    }

    /// How many tokens, from the first, agree with the beginning of `wanted`, and how many of its bytes they cover.
    fn agreeing_before(&self, found: &[u32], wanted: &[u8]) -> (usize, usize) {
        let mut at = 0;
        for (index, &token) in found.iter().enumerate() {
            match self.spelling.of_text(token) {
                Some(bytes) if wanted[at..].starts_with(bytes) => at += bytes.len(),
                _ => return (index, at),
            }
        }
        (found.len(), at)
    }

    /// The token from which on all agree with the end of `wanted`, and where that end begins.
    fn agreeing_after(&self, found: &[u32], wanted: &[u8]) -> (usize, usize) {
        let mut end = wanted.len();
        for (index, &token) in found.iter().enumerate().rev() {
            match self.spelling.of_text(token) {
                Some(bytes) if wanted[..end].ends_with(bytes) => end -= bytes.len(),
                _ => return (index + 1, end),
            }
        }
        (0, end)
    }

    /// Appends tokens of what lies between those that agree.
    fn between(&self, bytes: &[u8], tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        // The middle, at the beginning of a character if there is one before it.
        let begins = |&at: &usize| bytes[at] & 0xc0 != 0x80;
        let middle = (1..bytes.len() / 2 + 1).rev().find(begins);
        match middle.filter(|_| bytes.len() > CHARACTER_BYTES) {
            Some(middle) => {
                self.stretch(&bytes[..middle], false, tokens)?;
                self.stretch(&bytes[middle..], false, tokens)
            }
            None => self.spell(bytes, tokens),
        }
    }

    /// Appends a token for each byte.
    fn spell(&self, bytes: &[u8], tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        for &byte in bytes {
            let token = self.spelling.single(byte);
            tokens.push(token.ok_or(TokenizerError::Unspellable { byte })?);
        }
        Ok(())
    }
}
