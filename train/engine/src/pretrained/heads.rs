//! Attention heads as the engine packs them: each padded to a multiple of sixteen dimensions, in the order that RoPE
//! pairs them in; queries, keys and values one after the other.

use super::config::Config;
use super::error::PretrainedError;
use crate::source_dimension;
use lmtrain_kernels::{AttentionHeads, HeadNorm, HeldAs, NormOf};

/// Largest head: tables of positions grow with it.
const MOST_DIMENSIONS: usize = 512;

/// Queries, keys or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadPart {
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
            return Err(config.refuse(format!(
                "{heads} attention heads cannot be divided evenly among {key_heads} \
                    key-value heads"
            )));
        }
        if dimension > MOST_DIMENSIONS {
            let why = format!(
                "an attention head has {dimension} dimensions; at most {MOST_DIMENSIONS} are \
                supported"
            );
            return Err(config.refuse(why));
        }
        if !rotated.is_multiple_of(2) || rotated > dimension {
            return Err(config.refuse(format!(
                "{rotated} of an attention head's {dimension} dimensions cannot be rotated in pairs"
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
    pub(super) fn source(self, place: usize) -> Option<(HeadPart, usize, usize)> {
        let (head, within) = (place / self.filled(), place % self.filled());
        let (part, head, rotated) = if head < self.heads {
            (HeadPart::Query, head, self.rotated)
        } else if head < self.heads + self.key_heads {
            (HeadPart::Key, head - self.heads, self.rotated)
        } else {
            (HeadPart::Value, head - self.heads - self.key_heads, 0)
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

    /// The attention.
    pub(super) fn attention(self, scores: &Scores) -> AttentionHeads {
        let norms = scores.norms.as_ref();
        let scales = |count: usize, learned: Option<&Vec<f32>>, scale: f32| {
            let one = |place: usize| {
                let (head, within) = (place / self.filled(), place % self.filled());
                let number = source_dimension(within, self.dimension, self.rotated);
                // Whatever a norm puts where the head is filled up goes away.
                let Some(number) = number else { return 0.0 };
                let place = head * self.dimension + number;
                let learned = learned.map_or(1.0, |all| all[place % all.len()]);
                let turned = if number < self.rotated { scores.rotary_factor } else { 1.0 };
                learned * scale * turned
            };
            (0..count * self.filled()).map(one).collect()
        };
        let norm = |norms: &QueryKeyNorm| HeadNorm {
            of: norms.of,
            dimensions: self.dimension,
            epsilon: norms.epsilon,
        };
        AttentionHeads {
            heads: self.heads,
            key_heads: self.key_heads,
            dims: self.filled(),
            norm: norms.map(norm),
            query_scale: scales(self.heads, norms.map(|norms| &norms.query), scores.scale),
            key_scale: scales(self.key_heads, norms.map(|norms| &norms.key), 1.0),
            window: scores.window,
            soft_cap: scores.soft_cap,
            held: HeldAs::Singles,
        }
    }
}

/// How queries and keys become scores.
pub(super) struct Scores {
    /// What scores are multiplied by, in powers of two.
    pub(super) scale: f32,
    /// What the turned numbers of queries and keys are multiplied by.
    pub(super) rotary_factor: f32,
    /// Norms of queries and keys.
    pub(super) norms: Option<QueryKeyNorm>,
    /// How many tokens are seen, if not all.
    pub(super) window: Option<usize>,
    /// The cap of scores.
    pub(super) soft_cap: Option<f32>,
}

impl Scores {
    /// Scores times a factor, in powers of two, and no more.
    pub(super) fn scaled(scale: f32) -> Self {
        Self { scale, rotary_factor: 1.0, norms: None, window: None, soft_cap: None }
    }
}

/// Learned scales of the norms of queries and keys.
pub(super) struct QueryKeyNorm {
    /// What is normed together.
    pub(super) of: NormOf,
    /// [dimension], or [heads, dimension].
    pub(super) query: Vec<f32>,
    /// [dimension], or [key heads, dimension].
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
