//! How bytes become tokens, as a name: `bytes`, `bpe-5000` for byte-pair encoding with a vocabulary
//! of that many tokens, or `pretrained-32000` for the tokenizer that came with a pretrained model.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A tokenization by name; the crate `lmtrain-tokenizers` holds what it does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tokenization {
    /// Every byte is a token.
    Bytes,
    /// Byte-pair encoding with this many tokens.
    Bpe(u32),
    /// The tokenizer of a pretrained model, with this many tokens. Nothing is trained with one.
    Pretrained(u32),
}

/// Most tokens of a vocabulary.
const MOST_TOKENS: u32 = 1 << 18;

impl Tokenization {
    /// Number of different tokens.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Bytes => 256,
            Self::Bpe(tokens) | Self::Pretrained(tokens) => *tokens as usize,
        }
    }
}

impl fmt::Display for Tokenization {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes => formatter.pad("bytes"),
            Self::Bpe(tokens) => formatter.pad(&format!("bpe-{tokens}")),
            Self::Pretrained(tokens) => formatter.pad(&format!("pretrained-{tokens}")),
        }
    }
}

impl FromStr for Tokenization {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "bytes" {
            return Ok(Self::Bytes);
        }
        let count = |prefix| text.strip_prefix(prefix).and_then(|digits| digits.parse().ok());
        if let Some(tokens) = count("pretrained-") {
            return match tokens {
                1..=MOST_TOKENS => Ok(Self::Pretrained(tokens)),
                _ => Err(format!("`{text}`: a vocabulary has 1 to {MOST_TOKENS} tokens")),
            };
        }
        match count("bpe-") {
            Some(tokens @ 257..=MOST_TOKENS) => Ok(Self::Bpe(tokens)),
            Some(_) => Err(format!("`{text}`: a BPE vocabulary has 257 to {MOST_TOKENS} tokens")),
            None => Err(format!(
                "`{text}` is not a tokenizer: write `bytes`, or a BPE vocabulary such as `bpe-5000`"
            )),
        }
    }
}

impl Serialize for Tokenization {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tokenization {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for text in ["bytes", "bpe-1000", "bpe-20000", "pretrained-50257"] {
            assert_eq!(text.parse::<Tokenization>().map(|it| it.to_string()), Ok(text.to_owned()));
        }
        for text in ["byte", "bpe", "bpe-", "bpe-200", "bpe-x", "bpe-999999999999", "pretrained-0"]
        {
            assert!(text.parse::<Tokenization>().is_err(), "{text}");
        }
    }
}
