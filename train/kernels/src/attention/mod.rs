//! Causal attention without a [time, time] tensor, after FlashAttention (Dao et al., 2022), with QK-norm and RoPE.
//!
//! One definition is used by the training pass, the whole-chunk pass of inference and its cached step; the last two
//! give the same bits. For a query:
//! - a score is one chain over the head's dimensions, or of whole numbers (`HeldAs::Bytes`); the query carries the
//!   factor log₂e/√head_dim, so that soft-max is powers of two;
//! - keys come in blocks of 64 by their absolute index; each block first raises the running maximum, whose nearest
//!   even whole number is m, and scales the running sum and output by 2^(m_old − m_new), an exact factor;
//! - then the powers p = 2^(score − m) are added to the sum, 16 keys at a time by the fixed tree, and the output
//!   goes on as one chain over the keys, or by a block's sum of whole numbers.
//!
//! A masked key has p = 0 exactly and changes nothing, so a partial block needs no special case.

mod backward;
mod backward_tile;
mod blocks;
mod byte_tile;
mod cached;
mod cached_bytes;
mod forward;
mod forward_tile;
mod heads;
mod prepare;
mod prepare_rows;
mod rotary;
mod stores;
mod whole;
mod whole_bytes;

pub use backward::attention_backward;
pub use cached::{KeyValueCache, attention_cached};
pub use forward::attention;
pub use heads::{AttentionHeads, HeadNorm, HeldAs, NormOf, RotaryTable};
pub use prepare_rows::prepare_rows;
pub use rotary::{natural_logarithm, rotary_frequency};
pub use whole::attention_whole;

use super::factors::Factors;
use super::math::LOG2_E;

/// Keys that share one running maximum.
const KEY_BLOCK: usize = 64;

/// The shape of an attention call.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Independent sequences.
    pub batch: usize,
    /// Tokens of each.
    pub time: usize,
    /// Heads of a token.
    pub heads: usize,
    /// Numbers of a head: 16, 32, 48, 64 or 128.
    pub head_dim: usize,
    /// Of these, those that turn with their position: pairs (i, i + head_dim/2) for i below half of it.
    pub rotated: usize,
    /// What the products multiply, forward and backward; norms, rotation and soft-max are in singles.
    pub factors: Factors,
}

impl AttentionShape {
    /// Numbers of a token: heads·head_dim.
    pub fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Asserts the lengths of qkv [batch, time, 3·width], out [batch, time, width] and gain [heads].
    fn check(&self, qkv: usize, out: usize, gain: Option<&[f32]>) {
        let tokens = self.batch * self.time;
        assert_eq!(qkv, tokens * 3 * self.width(), "qkv of {self:?}");
        assert_eq!(out, tokens * self.width(), "out of {self:?}");
        assert!(gain.is_none_or(|gain| gain.len() == self.heads), "gain of {self:?}");
    }

    /// Multiply-adds of one matrix product over all pairs of a query and a key it sees.
    fn work(&self) -> usize {
        self.batch * self.time * (self.time + 1) / 2 * self.width()
    }
}

/// What queries are multiplied by beside the gain: log₂e/√head_dim.
fn query_scale(head_dim: usize) -> f32 {
    LOG2_E / (head_dim as f32).sqrt()
}

/// Runs a statement with the head dimension as the constant `D`.
macro_rules! with_head_dim {
    ($head_dim:expr, $D:ident => $work:expr) => {
        match $head_dim {
            16 => {
                const $D: usize = 16;
                $work
            }
            32 => {
                const $D: usize = 32;
                $work
            }
            48 => {
                const $D: usize = 48;
                $work
            }
            64 => {
                const $D: usize = 64;
                $work
            }
            128 => {
                const $D: usize = 128;
                $work
            }
            other => panic!("head dimension {other}: it may be 16, 32, 48, 64 or 128"),
        }
    };
}
// A function cannot turn a number into a constant parameter, so this macro does.
use with_head_dim;

/// Runs a statement with the type `N` of the numbers that are multiplied, and the head dimension as the constant `D`.
macro_rules! with_factors {
    ($shape:expr, $N:ident, $D:ident => $work:expr) => {
        match $shape.factors {
            Factors::Single => {
                type $N = Singles;
                with_head_dim!($shape.head_dim, $D => $work)
            }
            Factors::Bfloat => {
                type $N = Pairs;
                with_head_dim!($shape.head_dim, $D => $work)
            }
        }
    };
}
use with_factors;

#[cfg(test)]
mod inference_tests;
#[cfg(test)]
mod tests;
