//! The head: logits, soft-max and cross-entropy in blocks of rows, so that the tensor [rows, vocabulary] is never
//! stored.
//!
//! The logits of a block stay in the CPU cache: they become probabilities, then gradients, in place.

mod layer;
mod packed;
mod softmax;

pub use layer::Head;
pub use packed::{PackedHead, head_nats, head_probabilities};

use super::level;
use super::linear::{self, LinearShape, Panels};
use super::parallel::Shared;
use softmax::{Goal, for_rows};

/// Logits of a block: 16 MiB of them, in 64 to 1024 rows.
fn block_rows(vocabulary: usize) -> usize {
    ((1 << 22) / vocabulary.max(1)).clamp(64, 1024)
}

/// Nats of each row's target \[rows\], for h [rows, width].
pub fn head_loss(head: &Head<'_>, h: &[f32], targets: &[u32], nats: &mut [f32]) {
    let rows = head.rows(h);
    head.check_targets(rows, targets);
    assert_eq!(nats.len(), rows, "nats");
    let level = level::current();
    let panels = head.panels(level, rows);
    let block = block_rows(head.vocabulary).min(rows.max(1));
    let mut logits = vec![0.0; block * head.vocabulary];
    let blocks =
        h.chunks(block * head.width).zip(targets.chunks(block)).zip(nats.chunks_mut(block));
    for ((h, targets), nats) in blocks {
        let logits = &mut logits[..targets.len() * head.vocabulary];
        head.logits(level, h, &panels, logits);
        let nats = Shared::new(nats);
        for_rows(level, head, logits, &Goal::Loss { targets, nats });
    }
}

/// The gradients of Σ upstream·nats: dh [rows, width], dweights [width, vocabulary] and dbias \[vocabulary\]; where
/// there is a place for nats \[rows\], `head_loss` too, in the same pass.
///
/// It goes block by block. The sums over rows go on from block to block, in index order.
#[allow(clippy::too_many_arguments)] // Eight tensors in and out are what the operation has.
pub fn head_loss_gradients(
    head: &Head<'_>,
    h: &[f32],
    targets: &[u32],
    upstream: &[f32],
    mut nats: Option<&mut [f32]>,
    dh: &mut [f32],
    dweights: &mut [f32],
    mut dbias: Option<&mut [f32]>,
) {
    let (rows, width, vocabulary) = (head.rows(h), head.width, head.vocabulary);
    head.check_targets(rows, targets);
    assert_eq!(upstream.len(), rows, "upstream");
    assert_eq!(dh.len(), h.len(), "dh");
    assert_eq!(dweights.len(), head.weights.len(), "dweights");
    assert!(nats.as_ref().is_none_or(|nats| nats.len() == rows), "nats");
    assert!(dbias.as_ref().is_none_or(|dbias| dbias.len() == vocabulary), "dbias");
    let level = level::current();
    let panels = head.panels(level, rows);
    let turned = Panels::transposed(level, head.factors, head.weights, vocabulary, width);
    let block = block_rows(vocabulary).min(rows.max(1));
    let mut logits = vec![0.0; block * vocabulary];
    dweights.fill(0.0);
    if let Some(dbias) = dbias.as_deref_mut() {
        dbias.fill(0.0);
    }
    for first in (0..rows).step_by(block) {
        let range = first..rows.min(first + block);
        let h = &h[range.start * width..range.end * width];
        let logits = &mut logits[..range.len() * vocabulary];
        head.logits(level, h, &panels, logits);
        let nats = nats.as_deref_mut().map(|nats| Shared::new(&mut nats[range.clone()]));
        let (targets, upstream) = (&targets[range.clone()], &upstream[range.clone()]);
        for_rows(level, head, logits, &Goal::Gradient { targets, upstream, nats });
        let dh = &mut dh[range.start * width..range.end * width];
        linear::multiply_panels(level, range.len(), logits, &turned, None, dh);
        let factors = head.factors;
        let shape = LinearShape { rows: range.len(), inputs: width, outputs: vocabulary, factors };
        linear::add_grad_weight(level, shape, h, logits, true, dweights);
        if let Some(dbias) = dbias.as_deref_mut() {
            linear::add_grad_bias(level, range.len(), logits, dbias);
        }
    }
}

#[cfg(test)]
mod tests;
