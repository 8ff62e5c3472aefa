//! The ladder of sizes: a size is a name from which the network's shape follows; sizes can be parsed and ordered. To
//! add one, add a row to [`LADDER`]; a test compares its name with its number of parameters. A shape that is not in the
//! ladder is written out: `w160l4h5` has width 160, 4 layers and 5 heads.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The shape of a network. Its name in the ladder counts the non-embedding parameters,
/// 12 · layers · width².
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Width of the residual stream.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads a block; width / heads is the head's dimension.
    pub heads: usize,
}

const fn row(
    name: &'static str,
    width: usize,
    layers: usize,
    heads: usize,
) -> (&'static str, Size) {
    (name, Size { width, layers, heads })
}

/// The largest width and number of layers that a written shape may have.
const MOST: [usize; 2] = [4096, 128];

/// Every size, smallest first. 200K, 800K and 3.2M are the paper's (Delétang et al., section 3.1
/// and the authors' later statement of widths and heads); 50K serves tests and quick looks.
pub const LADDER: &[(&str, Size)] = &[
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
    /// Non-embedding parameters: 4 width² of attention and 8 width² of MLP a layer.
    #[must_use]
    pub fn core_parameters(&self) -> u64 {
        12 * self.layers as u64 * (self.width * self.width) as u64
    }

    /// The same depth, with heads of this dimension, at the largest width at which `parameters` counts no more than
    /// `limit`: for comparing vocabularies at equal total size. There is at least one head.
    #[must_use]
    pub fn within(&self, dimension: usize, limit: u64, parameters: impl Fn(Size) -> u64) -> Size {
        let of = |heads| Size { width: heads * dimension, layers: self.layers, heads };
        let fits = |heads: &usize| parameters(of(*heads)) <= limit;
        of((1..=self.heads).rev().find(fits).unwrap_or(1))
    }

    /// Whether it is in the ladder.
    #[must_use]
    pub fn is_named(&self) -> bool {
        LADDER.iter().any(|(_, size)| size == self)
    }

    /// Dimension of one attention head.
    #[must_use]
    pub fn head_dimension(&self) -> usize {
        self.width / self.heads
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match LADDER.iter().find(|(_, size)| size == self) {
            Some((name, _)) => formatter.pad(name),
            None => {
                let Self { width, layers, heads } = self;
                formatter.pad(&format!("w{width}l{layers}h{heads}"))
            }
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = LADDER.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((_, size)) = named {
            return Ok(*size);
        }
        if let Some(size) = written(text) {
            return check(size).map_err(|why| format!("`{text}`: {why}"));
        }
        let names: Vec<_> = LADDER.iter().map(|(name, _)| *name).collect();
        Err(format!(
            "`{text}` is not a size: write one of {}, or a shape such as w160l4h5",
            names.join(", ")
        ))
    }
}

/// A shape written out.
fn written(text: &str) -> Option<Size> {
    let (width, rest) = text.strip_prefix('w')?.split_once('l')?;
    let (layers, heads) = rest.split_once('h')?;
    let number = |digits: &str| digits.parse().ok();
    Some(Size { width: number(width)?, layers: number(layers)?, heads: number(heads)? })
}

/// Refuses what no kernel can compute.
fn check(size: Size) -> Result<Size, String> {
    let Size { width, layers, heads } = size;
    let [widest, deepest] = MOST;
    if !(1..=widest).contains(&width) || !(1..=deepest).contains(&layers) {
        return Err(format!(
            "the width must be from 1 to {widest}, the layers from 1 to {deepest}"
        ));
    }
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err("the number of heads must divide the width".to_owned());
    }
    match size.head_dimension() {
        16 | 32 | 48 | 64 | 128 => Ok(size),
        other => Err(format!("a head has {other} dimensions; it must have 16, 32, 48, 64 or 128")),
    }
}

impl Ord for Size {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |size: &Self| (size.core_parameters(), size.width, size.heads);
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
        serializer.collect_str(self)
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
        for (name, size) in LADDER {
            let named = parse_count(name).expect("a ladder name is a count") as f64;
            let ratio = size.core_parameters() as f64 / named;
            assert!((0.97..1.04).contains(&ratio), "{size}: {ratio}");
            assert_eq!(size.width % size.heads, 0, "{size}");
            assert_eq!(check(*size), Ok(*size));
        }
        assert!(LADDER.is_sorted_by_key(|(_, size)| *size), "smallest first");
    }

    #[test]
    fn names_parse() {
        assert_eq!("3.2m".parse::<Size>().map(|size| size.width), Ok(256));
        let message = "3.3M".parse::<Size>().expect_err("not in the ladder");
        assert!(message.contains("3.3M") && message.contains("3.2M"), "{message}");
    }

    #[test]
    fn shapes_are_written_out() {
        let size: Size = "w160l4h5".parse().expect("a shape");
        assert_eq!((size.width, size.layers, size.heads), (160, 4, 5));
        assert_eq!(size.to_string(), "w160l4h5");
        assert_eq!("w64l4h4".parse::<Size>().map(|size| size.to_string()), Ok("200K".to_owned()));
        for text in ["w", "w64", "w64l4", "w64l4h0", "w64l4h3", "w60l4h4", "w9999l1h1", "w64l0h4"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_shrinks_to_what_is_allowed() {
        let size: Size = "3.2M".parse().expect("in the ladder");
        let total = |vocabulary: usize| {
            move |size: Size| size.core_parameters() + (2 * vocabulary * size.width) as u64
        };
        let limit = total(256)(size);
        let smaller = size.within(32, limit, total(5000));
        assert_eq!(smaller.to_string(), "w160l4h5");
        assert!(total(5000)(smaller) <= limit);
        let wider = Size { width: 192, heads: 6, ..smaller };
        assert!(total(5000)(wider) > limit, "the next is too large");
        assert_eq!(size.within(32, limit, total(256)), size);
        assert_eq!(size.within(32, 0, total(256)).heads, 1);
    }
}
