//! Optimizer steps on slices: AdamW in one pass, Muon, and the norm and scaling of gradients.

mod adamw;
mod muon;

pub use adamw::{AdamW, adamw_step};
pub use muon::{Muon, muon_step, orthogonalize};

use super::lanes::LANES;
use super::lanes::{Kernel, Lanes, dispatch};
use super::level;
use super::parallel::{self, Shared};
use rayon::prelude::*;

/// Numbers in a block of the norm's sum: blocks are summed in order, whoever computes them.
const NORM_BLOCK: usize = 1 << 15;

/// √Σ g² over all gradients, in `f64`: 16 lanes and a fixed tree in a block, blocks in index order.
pub fn global_norm(gradients: &[&[f32]]) -> f64 {
    gradients.iter().map(|gradient| sum_of_squares(gradient)).sum::<f64>().sqrt()
}

/// Σ g² of one slice, in the order that `global_norm` states.
fn sum_of_squares(values: &[f32]) -> f64 {
    let blocks: Vec<f64> = if values.len() > 4 * NORM_BLOCK && parallel::threads() > 1 {
        values.par_chunks(NORM_BLOCK).map(block_of_squares).collect()
    } else {
        values.chunks(NORM_BLOCK).map(block_of_squares).collect()
    };
    blocks.iter().sum()
}

/// Σ g² of one block. The square of an `f32` is exact in `f64`, so only the sums round.
fn block_of_squares(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    for part in values.chunks(LANES) {
        for (lane, value) in lanes.iter_mut().zip(part) {
            *lane += f64::from(*value) * f64::from(*value);
        }
    }
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// values *= factor.
pub fn scale(values: &mut [f32], factor: f32) {
    combine(values, None, [factor, 0.0]);
}

/// values = factor·values + other_factor·others.
pub(super) fn combine(values: &mut [f32], others: Option<&[f32]>, factors: [f32; 2]) {
    let (level, length) = (level::current(), values.len());
    assert!(others.is_none_or(|others| others.len() == length));
    let shared = Shared::new(values);
    parallel::for_pieces(length.div_ceil(LANES), length, |piece| {
        let range = piece.start * LANES..length.min(piece.end * LANES);
        // SAFETY: pieces are disjoint ranges.
        let values = unsafe { shared.part(range.start, range.len()) };
        dispatch(level, Combine { values, others: others.map(|others| &others[range]), factors });
    });
}

/// A thread's part of `combine`.
struct Combine<'a> {
    values: &'a mut [f32],
    others: Option<&'a [f32]>,
    factors: [f32; 2],
}

impl Kernel for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let [own, other] = self.factors.map(|factor| lanes.splat(factor));
        for (i, part) in self.values.chunks_mut(LANES).enumerate() {
            let value = lanes.mul(own, lanes.load_slice(part, 0.0));
            let result = match self.others {
                None => value,
                Some(others) => {
                    lanes.fma(other, lanes.load_slice(&others[i * LANES..], 0.0), value)
                }
            };
            lanes.store_slice(part, result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Numbers, assert_same_bits};
    use super::*;

    #[test]
    fn the_norm_is_exact_and_the_same_on_any_threads() {
        let a = Numbers::new(1).uniform(300_001);
        let b = Numbers::new(2).uniform(17);
        let exact: f64 = a.iter().chain(&b).map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        assert!((global_norm(&[&a, &b]) / exact - 1.0).abs() < 1e-11);
        assert_same_bits("norm", || {
            let norm = global_norm(&[&a, &b]).to_bits();
            let mut scaled = a.clone();
            scale(&mut scaled, 0.3);
            scaled.extend([f32::from_bits((norm >> 32) as u32), f32::from_bits(norm as u32)]);
            scaled
        });
    }
}
