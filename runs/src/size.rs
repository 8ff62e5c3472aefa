//! The ladder of sizes: a size is a name that parses, orders and derives its network's shape.
//! To add one, add a row to [`LADDER`]; a test holds its name to its count.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The shape of a network. Its name counts the weights outside the embeddings,
/// 12 · layers · width².
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// As written on the command line.
    pub name: &'static str,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads a block; width / heads is the head's dimension.
    pub heads: usize,
}

const fn row(name: &'static str, width: usize, layers: usize, heads: usize) -> Size {
    Size { name, width, layers, heads }
}

/// Every size, smallest first. 200K, 800K and 3.2M are the paper's (Delétang et al., section 3.1
/// and the authors' later statement of widths and heads); 50K serves tests and quick looks.
pub const LADDER: &[Size] = &[
    row("50K", 32, 4, 2),
    row("200K", 64, 4, 4),
    row("800K", 128, 4, 4),
    row("1.6M", 128, 8, 4),
    row("3.2M", 256, 4, 8),
    row("6.4M", 256, 8, 8),
    row("12M", 384, 7, 8),
    row("19M", 512, 6, 8),
    row("38M", 512, 12, 8),
];

impl Size {
    /// Weights outside the embeddings: 4 width² of attention and 8 width² of MLP a layer.
    #[must_use]
    pub fn core_parameters(&self) -> u64 {
        12 * self.layers as u64 * (self.width * self.width) as u64
    }

    /// Dimension of one attention head.
    #[must_use]
    pub fn head_dimension(&self) -> usize {
        self.width / self.heads
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = LADDER.iter().find(|size| size.name.eq_ignore_ascii_case(text));
        found.copied().ok_or_else(|| {
            let names: Vec<_> = LADDER.iter().map(|size| size.name).collect();
            format!("`{text}` is no size of the ladder: {}", names.join(", "))
        })
    }
}

impl Ord for Size {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |size: &Self| (size.core_parameters(), size.name);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Size {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::parse_count;

    #[test]
    fn names_count_their_weights() {
        for size in LADDER {
            let named = parse_count(size.name).expect("a ladder name is a count") as f64;
            let ratio = size.core_parameters() as f64 / named;
            assert!((0.97..1.04).contains(&ratio), "{size}: {ratio}");
            assert_eq!(size.width % size.heads, 0, "{size}");
            assert_eq!(size.head_dimension() % 2, 0, "RoPE turns pairs: {size}");
        }
        assert!(LADDER.is_sorted(), "smallest first");
    }

    #[test]
    fn names_parse() {
        assert_eq!("3.2m".parse::<Size>().map(|size| size.width), Ok(256));
        let message = "3.3M".parse::<Size>().expect_err("not in the ladder");
        assert!(message.contains("3.3M") && message.contains("3.2M"), "{message}");
    }
}
