//! Cutting bytes into words, within which byte pairs merge: GPT-2's pattern (Radford et al. 2019), with words of at
//! most 64 characters, so that the time is linear for any text. [`PATTERN`] is written to the vocabulary's file for
//! other programs; the scanner here gives the same words, and treats bytes that are not UTF-8 as punctuation.

use std::ops::Range;
use std::sync::LazyLock;

use tokenizers::utils::SysRegex;

/// The words, as a regular expression of Oniguruma.
pub(super) const PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}{1,64}| ?\p{N}{1,64}| ?[^\s\p{L}\p{N}]{1,64}|\s{1,64}(?!\S)|\s{1,64}";
/// Most characters of a word, a leading space not counted.
const MOST_CHARACTERS: usize = 64;
/// Most bytes of a word: no token is longer.
pub(super) const MOST_BYTES: usize = 4 * MOST_CHARACTERS + 1;
const CONTRACTIONS: [&[u8]; 7] = [b"'s", b"'t", b"'re", b"'ve", b"'m", b"'ll", b"'d"];
const CODE_POINTS: usize = 0x11_0000;

/// What a character is to the pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Letter,
    Number,
    Space,
    Other,
}

/// The class of every code point, by the same library that other programs read [`PATTERN`] with.
static CLASSES: LazyLock<Vec<Class>> = LazyLock::new(|| {
    let every: String = (0..CODE_POINTS as u32).filter_map(char::from_u32).collect();
    let mut classes = vec![Class::Other; CODE_POINTS];
    for (pattern, class) in
        [(r"\p{L}+", Class::Letter), (r"\p{N}+", Class::Number), (r"\s+", Class::Space)]
    {
        let pattern = SysRegex::new(pattern).expect("a pattern of ours");
        for (start, end) in pattern.find_iter(&every) {
            for character in every[start..end].chars() {
                classes[character as usize] = class;
            }
        }
    }
    classes
});

/// The words of some bytes, in order; together they are the bytes.
pub(super) struct Words<'a> {
    bytes: &'a [u8],
    classes: &'static [Class],
    start: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, classes: &CLASSES, start: 0 }
    }

    /// Class and length of the character at `at`, which is within the bytes.
    fn character(&self, at: usize) -> (Class, usize) {
        let lead = self.bytes[at];
        let length = match lead {
            0..0x80 => return (self.classes[usize::from(lead)], 1),
            0xc2..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf5 => 4,
            _ => return (Class::Other, 1),
        };
        let text = self.bytes.get(at..at + length).and_then(|it| std::str::from_utf8(it).ok());
        match text.and_then(|text| text.chars().next()) {
            Some(character) => (self.classes[character as usize], length),
            None => (Class::Other, 1),
        }
    }

    /// The end of at most so many characters of this class from `at` on, and how many there are.
    fn run(&self, mut at: usize, class: Class, most: usize) -> (usize, usize) {
        let mut count = 0;
        while count < most && at < self.bytes.len() {
            let (found, length) = self.character(at);
            if found != class {
                break;
            }
            at += length;
            count += 1;
        }
        (at, count)
    }

    /// The end of the word that starts at `start`, which is within the bytes.
    fn end(&self) -> usize {
        let start = self.start;
        let rest = &self.bytes[start..];
        if rest[0] == b'\''
            && let Some(found) = CONTRACTIONS.iter().find(|it| rest.starts_with(it))
        {
            return start + found.len();
        }
        let from = start + usize::from(rest[0] == b' ' && rest.len() > 1);
        match self.character(from).0 {
            Class::Space => self.white_end(),
            class => self.run(from, class, MOST_CHARACTERS).0,
        }
    }

    /// The end of white space: its last character is left to the word that follows, unless it
    /// would be left nothing, or the run is longer than a word.
    fn white_end(&self) -> usize {
        let (mut end, mut next, mut count) = (self.start, self.start, 0);
        while count < MOST_CHARACTERS {
            let (after, found) = self.run(next, Class::Space, 1);
            if found == 0 {
                break;
            }
            (end, next) = (next, after);
            count += 1;
        }
        let goes_on = next < self.bytes.len() && self.character(next).0 != Class::Space;
        if goes_on && count > 1 { end } else { next }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.start == self.bytes.len() {
            return None;
        }
        let end = self.end();
        let word = &self.bytes[self.start..end];
        self.start = end;
        Some(word)
    }
}

/// The first position from `at` on where cutting the bytes changes no word: before ASCII white space that follows a
/// non-space ASCII character. No word extends across such a position, whatever came before, and only white space looks
/// at what follows it.
pub(super) fn boundary(bytes: &[u8], at: usize) -> usize {
    let white = |byte: u8| byte == b' ' || (9..=13).contains(&byte);
    let cut = |pair: &[u8]| pair[0].is_ascii() && !white(pair[0]) && white(pair[1]);
    let from = at.max(1);
    let found = bytes.get(from - 1..).and_then(|rest| rest.windows(2).position(cut));
    match found {
        _ if at == 0 => 0,
        Some(place) => from + place,
        None => bytes.len(),
    }
}

/// Ranges of about `length` bytes that may be cut into words each by itself.
pub(super) fn pieces(bytes: &[u8], length: usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let end = boundary(bytes, bytes.len().min(start + length));
        pieces.push(start..end);
        start = end;
    }
    pieces
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes of many kinds: text with all that the pattern looks at, cut characters, binary.
    pub(crate) fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            "[a-c'srtvemld ]{0,12}".prop_map(String::into_bytes),
            "[ \\n\\t\u{a0}\u{3000}x]{0,9}".prop_map(String::into_bytes),
            "\\PC{0,8}".prop_map(String::into_bytes),
            "[é\u{300}二١²ⅷ.“ ]{0,9}".prop_map(String::into_bytes),
            (prop_oneof![Just(b' '), Just(0), Just(b'a'), Just(0xc3)], 0_usize..150)
                .prop_map(|(byte, count)| vec![byte; count]),
            prop::collection::vec(any::<u8>(), 0..9),
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    fn by_pattern(text: &str) -> Vec<&[u8]> {
        let pattern = SysRegex::new(PATTERN).expect("it parses");
        pattern.find_iter(text).map(|(start, end)| &text.as_bytes()[start..end]).collect()
    }

    #[test]
    fn every_character_is_classed_as_the_pattern_classes_it() {
        // Each between letters, digits, spaces and punctuation, a stretch of the code points a time.
        let every: Vec<char> = (0..CODE_POINTS as u32).filter_map(char::from_u32).collect();
        for some in every.chunks(20_000) {
            let text: String =
                some.iter().flat_map(|&it| ['a', it, '1', it, '.', it, ' ']).collect();
            assert!(Words::new(text.as_bytes()).eq(by_pattern(&text)), "from {:?}", some[0]);
        }
    }

    #[test]
    fn words_are_as_gpt_2_has_them() {
        let words = |text: &'static str| -> Vec<&str> {
            let words = Words::new(text.as_bytes());
            words.map(|word| std::str::from_utf8(word).expect("text")).collect()
        };
        assert_eq!(
            words("It's  12 o'clock,\n\n  'twas"),
            ["It", "'s", " ", " 12", " o", "'", "clock", ",", "\n\n ", " '", "twas"]
        );
        assert_eq!(words("[[Émile]] "), ["[[", "Émile", "]]", " "]);
        assert_eq!(Words::new(&[b'z'; 150]).map(<[u8]>::len).collect::<Vec<_>>(), [64, 64, 22]);
    }

    proptest! {
        #[test]
        fn the_scanner_is_the_pattern(bytes in any_bytes()) {
            let text = String::from_utf8_lossy(&bytes);
            prop_assert!(Words::new(text.as_bytes()).eq(by_pattern(&text)));
        }

        #[test]
        fn words_are_the_bytes_and_short(bytes in any_bytes()) {
            let words: Vec<&[u8]> = Words::new(&bytes).collect();
            prop_assert!(words.iter().all(|word| (1..=MOST_BYTES).contains(&word.len())));
            prop_assert_eq!(words.concat(), bytes);
        }

        #[test]
        fn pieces_have_the_words_of_the_whole(bytes in any_bytes(), length in 1_usize..40) {
            let pieces = pieces(&bytes, length);
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
            let words = pieces.into_iter().flat_map(|piece| Words::new(&bytes[piece]));
            prop_assert!(words.eq(Words::new(&bytes)));
        }
    }
}
