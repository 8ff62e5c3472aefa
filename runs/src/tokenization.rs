//! How bytes become tokens, as a name: `bytes`, or `bpe-5000` for byte-pair encoding with a
//! vocabulary of that many tokens.

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
}

impl Tokenization {
    /// Number of different tokens.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Bytes => 256,
            Self::Bpe(tokens) => *tokens as usize,
        }
    }
}

impl fmt::Display for Tokenization {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes => formatter.pad("bytes"),
            Self::Bpe(tokens) => formatter.pad(&format!("bpe-{tokens}")),
        }
    }
}

impl FromStr for Tokenization {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "bytes" {
            return Ok(Self::Bytes);
        }
        let tokens = text.strip_prefix("bpe-").and_then(|digits| digits.parse().ok());
        match tokens {
            Some(tokens) if (257..=1 << 18).contains(&tokens) => Ok(Self::Bpe(tokens)),
            Some(_) => Err(format!("`{text}`: a BPE vocabulary has 257 to 262144 tokens")),
            None => Err(format!("`{text}` is no tokenization: write `bytes`, or `bpe-5000`")),
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
        for text in ["bytes", "bpe-1000", "bpe-20000"] {
            assert_eq!(text.parse::<Tokenization>().map(|it| it.to_string()), Ok(text.to_owned()));
        }
        for text in ["byte", "bpe", "bpe-", "bpe-200", "bpe-x", "bpe-999999999999"] {
            assert!(text.parse::<Tokenization>().is_err(), "{text}");
        }
    }
}
