//! The paper's masks: the bits that its code removes from bytes before a model that knows only ASCII sees them.

use std::borrow::Cow;

use lmtrain_runs::record::Mask;
use lmtrain_tokenizers::Tokenizer;

/// A chunk with a mask on it.
pub(super) struct Masked<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// Bits that a decoder lacks.
    pub(super) lost: u64,
    /// Bits that the paper's code takes as missed.
    pub(super) missed: u64,
}

/// Applies a mask to a chunk. A mask that clears bits leaves a chunk of pure ASCII unchanged; for any other chunk a
/// decoder lacks one bit of each byte, while the paper's code counts only the bytes that changed. For a mask that
/// shifts, both are one bit for each byte. A byte that cannot be spelt even then is replaced by one that can, and is
/// lost entirely.
pub(super) fn masked<'a>(bytes: &'a [u8], mask: Mask, tokenizer: &dyn Tokenizer) -> Masked<'a> {
    let is_changed = mask == Mask::Shifted || !bytes.is_ascii();
    let replacement = (b' '..0x7f).find(|&byte| tokenizer.can_spell(byte));
    let (mut lost, mut missed) = (0, 0);
    let each = |&byte: &u8| {
        let under = if is_changed { mask.apply(byte) } else { byte };
        if tokenizer.can_spell(under) {
            lost += u64::from(is_changed);
            missed += u64::from(mask == Mask::Shifted || under != byte);
            return under;
        }
        lost += u64::from(u8::BITS);
        missed += u64::from(u8::BITS);
        replacement.unwrap_or(under)
    };
    let bytes: Cow<'a, [u8]> = bytes.iter().map(each).collect();
    Masked { bytes, lost, missed }
}

#[cfg(test)]
mod tests {
    use lmtrain_tokenizers::ByteTokenizer;

    use super::*;

    fn of(bytes: &[u8], mask: Mask) -> (Vec<u8>, u64, u64) {
        let masked = masked(bytes, mask, &ByteTokenizer);
        (masked.bytes.into_owned(), masked.lost, masked.missed)
    }

    #[test]
    fn the_masks_are_those_of_the_papers_code() {
        assert_eq!(of(b"abc", Mask::Cleared), (b"abc".to_vec(), 0, 0));
        // b'a', then \xc3\xa9, of which a decoder cannot tell that they were not C and ).
        assert_eq!(of("aé".as_bytes(), Mask::Cleared), (b"aC)".to_vec(), 3, 2));
        assert_eq!(of(&[0, 1, 2, 255], Mask::Shifted), (vec![0, 0, 1, 127], 4, 4));
        assert_eq!(of(b"", Mask::Shifted), (vec![], 0, 0));
    }
}
