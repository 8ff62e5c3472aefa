//! From a row of logits to a loss or its gradient, with the soft cap.

use super::super::lanes::{Kernel, LANES, Lanes, dispatch, largest};
use super::super::level::Level;
use super::super::math::{exp, ln, soft_cap};
use super::super::parallel::{self, Shared};
use super::layer::Head;

/// What to make of a row of logits.
pub(super) enum Goal<'a> {
    /// Nats of the target, in a place of its own.
    Loss { targets: &'a [u32], nats: Shared },
    /// The loss where a place is given, and the logits replaced by their gradient.
    Gradient { targets: &'a [u32], upstream: &'a [f32], nats: Option<Shared> },
}

/// Works on the rows of a block of logits, over the threads.
pub(super) fn for_rows(level: Level, head: &Head<'_>, logits: &mut [f32], goal: &Goal<'_>) {
    let (vocabulary, rows) = (head.vocabulary, logits.len() / head.vocabulary);
    let work = logits.len() * 8;
    let shared = Shared::new(logits);
    parallel::for_pieces(rows, work, |piece| {
        // SAFETY: pieces are disjoint ranges of rows.
        let logits = unsafe { shared.part(piece.start * vocabulary, piece.len() * vocabulary) };
        let softcap = head.softcap;
        dispatch(level, SoftmaxRows { vocabulary, softcap, first: piece.start, logits, goal });
    });
}

/// A thread's rows of logits.
struct SoftmaxRows<'a> {
    vocabulary: usize,
    softcap: Option<f32>,
    /// The block's index of the first row.
    first: usize,
    logits: &'a mut [f32],
    goal: &'a Goal<'a>,
}

impl Kernel for SoftmaxRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for (i, row) in self.logits.chunks_exact_mut(self.vocabulary).enumerate() {
            let index = self.first + i;
            let top = cap(lanes, self.softcap, row);
            let total = exponentials(lanes, top, row);
            match self.goal {
                Goal::Loss { targets, nats } => {
                    let value = ln(total) + (top - row[targets[index] as usize]);
                    // SAFETY: each row writes its own place.
                    unsafe { nats.write(index, value) };
                }
                Goal::Gradient { targets, upstream, nats } => {
                    let target = targets[index] as usize;
                    if let Some(nats) = nats {
                        // SAFETY: each row writes its own place.
                        unsafe { nats.write(index, ln(total) + (top - row[target])) };
                    }
                    gradient(lanes, self.softcap, [top, total, upstream[index]], target, row);
                }
            }
        }
    }
}

/// Caps a row of logits in place and gives the largest.
#[inline(always)]
pub(super) fn cap<L: Lanes>(lanes: L, softcap: Option<f32>, row: &mut [f32]) -> f32 {
    let mut top = lanes.splat(f32::NEG_INFINITY);
    if let Some(limit) = softcap {
        for part in row.chunks_mut(LANES) {
            let z = lanes.load_slice(part, f32::NEG_INFINITY);
            lanes.store_slice(part, soft_cap(lanes, limit, z));
        }
    }
    for part in row.chunks(LANES) {
        top = lanes.max(top, lanes.load_slice(part, f32::NEG_INFINITY));
    }
    largest(lanes, top)
}

/// Σ exp(z − top) over a row: 16 lanes and the tree.
#[inline(always)]
pub(super) fn exponentials<L: Lanes>(lanes: L, top: f32, row: &[f32]) -> f32 {
    let (top, mut total) = (lanes.splat(top), lanes.zero());
    for part in row.chunks(LANES) {
        let z = lanes.load_slice(part, f32::NEG_INFINITY);
        total = lanes.add(total, exp(lanes, lanes.sub(z, top)));
    }
    lanes.sum(total)
}

/// Replaces capped logits by upstream·(p − one at the target)·(1 − (z/c)²).
#[inline(always)]
fn gradient<L: Lanes>(
    lanes: L,
    softcap: Option<f32>,
    [top, total, upstream]: [f32; 3],
    target: usize,
    row: &mut [f32],
) {
    let capped_target = row[target];
    let slope = |z: L::Vector| match softcap {
        None => lanes.splat(1.0),
        Some(limit) => {
            let t = lanes.mul(z, lanes.splat(1.0 / limit));
            lanes.fma(lanes.sub(lanes.zero(), t), t, lanes.splat(1.0))
        }
    };
    let factor = lanes.splat(upstream / total);
    let top_lanes = lanes.splat(top);
    for part in row.chunks_mut(LANES) {
        let z = lanes.load_slice(part, 0.0);
        let p = lanes.mul(exp(lanes, lanes.sub(z, top_lanes)), factor);
        lanes.store_slice(part, lanes.mul(p, slope(z)));
    }
    // The target's place once more: (p − 1) from the exponentials, without the rounding of p.
    let z = lanes.splat(capped_target);
    let p = lanes.div(exp(lanes, lanes.sub(z, top_lanes)), lanes.splat(total));
    let less = lanes.mul(lanes.sub(p, lanes.splat(1.0)), lanes.splat(upstream));
    row[target] = lanes.array(lanes.mul(less, slope(z)))[0];
}
