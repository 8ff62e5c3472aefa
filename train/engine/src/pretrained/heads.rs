//! Heads of attention as the engine packs them: each filled up to whole sixteens, its dimensions in the order that
//! the rotation pairs them in, queries, keys and values one after the other.

use super::config::Config;
use super::error::PretrainedError;
use crate::source_dimension;
use lmtrain_kernels::{AttentionHeads, HeldAs};

/// Largest head: tables of positions grow with it.
const MOST_DIMENSIONS: usize = 512;

/// Queries, keys or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Query,
    Key,
    Value,
}

/// The shape of a network's heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadShape {
    /// Heads of queries.
    pub(super) heads: usize,
    /// Heads of keys and values.
    pub(super) key_heads: usize,
    /// Numbers of a head.
    pub(super) dimension: usize,
    /// Of these, how many turn with the position.
    pub(super) rotated: usize,
}

impl HeadShape {
    /// Checks what configurations can get wrong.
    pub(super) fn checked(self, config: &Config) -> Result<Self, PretrainedError> {
        let Self { heads, key_heads, dimension, rotated } = self;
        if !heads.is_multiple_of(key_heads) {
            return Err(
                config.refuse(format!("{heads} heads cannot share {key_heads} heads of keys"))
            );
        }
        if dimension > MOST_DIMENSIONS {
            let why = format!("a head of {dimension} numbers; {MOST_DIMENSIONS} are supported");
            return Err(config.refuse(why));
        }
        if !rotated.is_multiple_of(2) || rotated > dimension {
            return Err(config.refuse(format!(
                "{rotated} of a head's {dimension} numbers cannot turn in pairs"
            )));
        }
        Ok(self)
    }

    /// Numbers of a packed head.
    fn filled(self) -> usize {
        self.dimension.next_multiple_of(16)
    }

    /// Numbers of a packed row of queries, keys and values.
    pub(super) fn row(self) -> usize {
        (self.heads + 2 * self.key_heads) * self.filled()
    }

    /// What a place of the packed row holds: which part, head and number of the head.
    pub(super) fn source(self, place: usize) -> Option<(Part, usize, usize)> {
        let (head, within) = (place / self.filled(), place % self.filled());
        let (part, head, rotated) = if head < self.heads {
            (Part::Query, head, self.rotated)
        } else if head < self.heads + self.key_heads {
            (Part::Key, head - self.heads, self.rotated)
        } else {
            (Part::Value, head - self.heads - self.key_heads, 0)
        };
        let number = source_dimension(within, self.dimension, rotated)?;
        Some((part, head, number))
    }

    /// Where each number that the heads give back comes from, of [heads, dimension].
    pub(super) fn mixed(self) -> Vec<Option<usize>> {
        let source = |place| {
            let (head, within) = (place / self.filled(), place % self.filled());
            source_dimension(within, self.dimension, 0).map(|number| head * self.dimension + number)
        };
        (0..self.heads * self.filled()).map(source).collect()
    }

    /// The attention: `scale` multiplies scores; `norms` are the scales of queries and keys [dimension] and ε.
    pub(super) fn attention(
        self,
        scale: f32,
        norms: Option<&QueryKeyNorm>,
        window: Option<usize>,
    ) -> AttentionHeads {
        let scales = |count: usize, learned: Option<&Vec<f32>>, scale: f32| {
            let one = |place| {
                let number = source_dimension(place, self.dimension, self.rotated);
                let learned = learned.zip(number).map_or(1.0, |(all, number)| all[number]);
                learned * scale
            };
            let head: Vec<f32> = (0..self.filled()).map(one).collect();
            head.repeat(count)
        };
        AttentionHeads {
            heads: self.heads,
            key_heads: self.key_heads,
            dims: self.filled(),
            norm: norms.map(|norms| (self.dimension, norms.epsilon)),
            query_scale: scales(self.heads, norms.map(|norms| &norms.query), scale),
            key_scale: scales(self.key_heads, norms.map(|norms| &norms.key), 1.0),
            window,
            held: HeldAs::Singles,
        }
    }
}

/// Learned scales of the norms of queries and keys.
pub(super) struct QueryKeyNorm {
    /// [dimension].
    pub(super) query: Vec<f32>,
    /// [dimension].
    pub(super) key: Vec<f32>,
    /// ε of both.
    pub(super) epsilon: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_place() {
        for (heads, key_heads, dimension, rotated) in
            [(4, 2, 8, 8), (3, 1, 20, 10), (2, 2, 16, 4), (2, 1, 1, 0)]
        {
            let shape = HeadShape { heads, key_heads, dimension, rotated };
            let mut found: Vec<_> =
                (0..shape.row()).filter_map(|place| shape.source(place)).collect();
            assert_eq!(found.len(), (heads + 2 * key_heads) * dimension);
            found.sort_by_key(|(part, head, number)| (*part as usize, *head, *number));
            found.dedup();
            assert_eq!(found.len(), (heads + 2 * key_heads) * dimension);
            let mut mixed: Vec<usize> = shape.mixed().into_iter().flatten().collect();
            mixed.sort_unstable();
            assert_eq!(mixed, (0..heads * dimension).collect::<Vec<_>>());
        }
    }
}
