//! GPT-2's alphabet: a printable character for each byte, so that byte strings can be written in JSON and handled by
//! text tools. Bytes that are printable in Latin-1 stand for themselves; the others become U+0100 and following, in
//! order (Radford et al. 2019, `encoder.py`).

use std::sync::LazyLock;

use ahash::AHashMap;

/// Number of different bytes, which are a vocabulary's first tokens.
pub(super) const BYTES: usize = 256;

/// The character of a byte.
pub(super) fn character_of(byte: u8) -> char {
    let place = match byte {
        0..=0x20 => u32::from(byte),
        0x7f..=0xa0 => u32::from(byte) - 0x7f + 0x21,
        0xad => 0x43,
        _ => return char::from(byte),
    };
    char::from_u32(0x100 + place).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte of a character, if it is of the alphabet.
pub(crate) fn byte_of(character: char) -> Option<u8> {
    static BYTES_OF: LazyLock<AHashMap<char, u8>> =
        LazyLock::new(|| (0..=255).map(|byte| (character_of(byte), byte)).collect());
    BYTES_OF.get(&character).copied()
}

/// Every byte in the order of the characters: token `t` below 256 is byte `byte_order()[t]`. That is
/// how the `tokenizers` crate numbers an alphabet.
pub(super) fn byte_order() -> [u8; BYTES] {
    let mut order = std::array::from_fn(|byte| byte as u8);
    order.sort_unstable_by_key(|&byte| character_of(byte));
    order
}

/// A byte string in the alphabet.
pub(super) fn spell(bytes: &[u8]) -> String {
    bytes.iter().copied().map(character_of).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    use super::*;

    #[test]
    fn it_is_the_crates_alphabet() {
        let ours: HashSet<char> = (0..=255).map(character_of).collect();
        assert_eq!(ours, ByteLevel::alphabet().into_iter().collect());
        assert_eq!(spell(b"a b\n\xad\xff"), "aĠbĊŃÿ");
        let order: BTreeSet<u8> = byte_order().into_iter().collect();
        assert_eq!(order.len(), BYTES);
        assert!((0..=255).all(|byte| byte_of(character_of(byte)) == Some(byte)));
        assert_eq!([' ', '\u{144}', '→'].map(byte_of), [None; 3]);
        assert!(byte_order().is_sorted_by_key(|&byte| character_of(byte)));
    }
}
