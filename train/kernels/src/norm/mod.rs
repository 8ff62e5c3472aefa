//! RMSNorm without scale and LayerNorm, forward and backward, a row at a time.
//!
//! Sums over a row use 16 lanes and the fixed tree; gradients of scale and offset sum rows in index order.

mod layer;
mod rms;
mod rows;

pub use layer::{layer_norm, layer_norm_backward};
pub(super) use rms::RMS_EPSILON;
pub use rms::{rms_norm, rms_norm_backward};
pub use rows::{RowNorm, norm_rows};

use super::lanes::{LANES, Lanes};
use super::parallel;

/// Asserts that every length is rows·width.
fn check(rows: usize, width: usize, lengths: &[usize]) {
    assert!(lengths.iter().all(|length| *length == rows * width), "[{rows}, {width}]: {lengths:?}");
}

/// Cuts rows over threads: `task` gets the first row and how many.
fn for_rows(rows: usize, width: usize, task: impl Fn(usize, usize) + Sync + Send) {
    parallel::for_pieces(rows, rows * width * 4, |piece| task(piece.start, piece.len()));
}

/// Σ a·b over a row: 16 lanes, then the tree.
#[inline(always)]
fn dot<L: Lanes>(lanes: L, a: &[f32], b: &[f32]) -> f32 {
    let mut total = lanes.zero();
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        total = lanes.fma(lanes.load_slice(a, 0.0), lanes.load_slice(b, 0.0), total);
    }
    lanes.sum(total)
}

#[cfg(test)]
mod tests;
