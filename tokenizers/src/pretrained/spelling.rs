//! What bytes each token of a pretrained vocabulary stands for, and which token stands for a single byte.

use ahash::AHashSet;

use super::document::Document;
use crate::bpe::byte_of;

/// Most tokens of a vocabulary: as many as the coder takes.
const MOST_TOKENS: u32 = 1 << 18;
/// What stands for a space in vocabularies of characters.
const SPACE: char = '▁';

/// The bytes of every token.
pub(super) struct Spelling {
    /// All tokens' bytes, one after the other; no bytes where there is no such token.
    bytes: Vec<u8>,
    /// Where each token's bytes end.
    ends: Vec<u32>,
    /// Tokens that no text has: special ones.
    special: AHashSet<u32>,
    /// The token that stands for each byte alone.
    single: [Option<u32>; 256],
}

impl Spelling {
    pub(super) fn new(
        document: &Document,
        tokenizer: &tokenizers::Tokenizer,
    ) -> Result<Self, String> {
        let (byte_level, fallback) = (document.is_byte_level(), document.has_byte_fallback());
        let added = tokenizer.get_added_tokens_decoder();
        let special: AHashSet<u32> =
            added.iter().filter(|(_, token)| token.special).map(|(&id, _)| id).collect();
        let mut tokens: Vec<(u32, String)> =
            tokenizer.get_vocab(true).into_iter().map(|(text, id)| (id, text)).collect();
        tokens.sort_unstable();
        let last = tokens.iter().rev().find(|(id, _)| !special.contains(id));
        let count = last.map_or(0, |(id, _)| id.saturating_add(1));
        if !(1..=MOST_TOKENS).contains(&count) {
            return Err(format!(
                "its vocabulary has {count} tokens; it must have 1 to {MOST_TOKENS}"
            ));
        }
        let mut spelling =
            Self { bytes: Vec::new(), ends: Vec::new(), special, single: [None; 256] };
        let mut before: Option<(u32, String, Vec<u8>)> = None;
        for (id, text) in tokens {
            let bytes = match added.get(&id) {
                Some(token) => Some(token.content.clone().into_bytes()),
                None if byte_level => text.chars().map(byte_of).collect(),
                None => Some(of_characters(&text, fallback)),
            };
            let bytes = bytes.unwrap_or_default();
            match &before {
                Some((last, other, same)) if *last == id => {
                    if *same != bytes {
                        return Err(format!(
                            "its tokens `{other}` and `{text}` have the same number, {id}"
                        ));
                    }
                }
                _ => spelling.add(id, count, &bytes),
            }
            before = Some((id, text, bytes));
        }
        Ok(spelling)
    }

    fn add(&mut self, id: u32, count: u32, bytes: &[u8]) {
        if id >= count {
            return;
        }
        // Numbers that no token has stand for nothing.
        self.ends.resize(id as usize, self.bytes.len() as u32);
        self.bytes.extend(bytes);
        self.ends.push(self.bytes.len() as u32);
        if let ([byte], false) = (bytes, self.special.contains(&id)) {
            let single = &mut self.single[usize::from(*byte)];
            // `<0x61>` comes before `a` in vocabularies that have both; the letter is the likelier.
            *single = Some(id);
        }
    }

    /// Number of tokens: one more than the last that a text can have.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a token; nothing if the token does not exist or stands for no bytes.
    pub(super) fn bytes(&self, token: u32) -> Option<&[u8]> {
        let index = token as usize;
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        let bytes = &self.bytes[start as usize..end as usize];
        (!bytes.is_empty()).then_some(bytes)
    }

    /// The bytes of a token that a text may have.
    pub(super) fn of_text(&self, token: u32) -> Option<&[u8]> {
        self.bytes(token).filter(|_| !self.special.contains(&token))
    }

    /// The bytes of some tokens, if a text may have all of them.
    pub(super) fn spell(&self, tokens: &[u32]) -> Option<Vec<u8>> {
        let bytes: Option<Vec<&[u8]>> = tokens.iter().map(|&token| self.of_text(token)).collect();
        bytes.map(|bytes| bytes.concat())
    }

    /// The token that stands for a byte alone.
    pub(super) fn single(&self, byte: u8) -> Option<u32> {
        self.single[usize::from(byte)]
    }
}

/// A token of characters: itself with spaces, or the byte of `<0xNN>`.
fn of_characters(text: &str, fallback: bool) -> Vec<u8> {
    let digits = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    let byte = digits.filter(|digits| digits.len() == 2 && fallback);
    match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
        Some(byte) => vec![byte],
        None => text.replace(SPACE, " ").into_bytes(),
    }
}
