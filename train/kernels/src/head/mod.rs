//! The head: logits, soft-max and cross-entropy in blocks of rows, so that [rows, vocabulary] is never whole.
//!
//! A block's logits stay in the cache: they become probabilities, then gradients, in place.

mod packed;
mod softmax;

pub use packed::{PackedHead, head_nats, head_probabilities};

use super::level::{self, Level};
use super::linear::{self, LinearShape, Panels};
use super::parallel::Shared;
use softmax::{Goal, for_rows};

/// The last linear layer, whose logits go into a soft-max.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Columns of h.
    pub width: usize,
    /// Logits of a row.
    pub vocabulary: usize,
    /// [width, vocabulary].
    pub weights: &'a [f32],
    /// \[vocabulary\].
    pub bias: Option<&'a [f32]>,
    /// The cap c of z = c·tanh(z/c) (Gemma Team, "Gemma 2").
    pub softcap: Option<f32>,
}

/// Logits of a block: 16 MiB of them, in 64 to 1024 rows.
fn block_rows(vocabulary: usize) -> usize {
    ((1 << 22) / vocabulary.max(1)).clamp(64, 1024)
}

impl Head<'_> {
    /// Asserts the shapes and gives the rows of h.
    fn rows(&self, h: &[f32]) -> usize {
        let Head { width, vocabulary, .. } = *self;
        assert_eq!(self.weights.len(), width * vocabulary, "weights [{width}, {vocabulary}]");
        assert!(h.len().is_multiple_of(width), "h [rows, {width}]: {}", h.len());
        h.len() / width
    }

    /// Asserts that there is a known target for each row.
    fn check_targets(&self, rows: usize, targets: &[u32]) {
        assert_eq!(targets.len(), rows, "targets");
        let known = targets.iter().all(|target| (*target as usize) < self.vocabulary);
        assert!(known, "a target ≥ {}", self.vocabulary);
    }

    /// The logits of some rows, before the cap.
    fn logits(&self, level: Level, h: &[f32], panels: &Panels<'_>, logits: &mut [f32]) {
        linear::multiply_panels(level, h.len() / self.width, h, panels, self.bias, logits);
    }
}

/// Nats of each row's target \[rows\], for h [rows, width].
pub fn head_loss(head: &Head<'_>, h: &[f32], targets: &[u32], nats: &mut [f32]) {
    let rows = head.rows(h);
    head.check_targets(rows, targets);
    assert_eq!(nats.len(), rows, "nats");
    let level = level::current();
    let panels = Panels::for_rows(head.weights, head.width, head.vocabulary, rows);
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
    let panels = Panels::for_rows(head.weights, width, vocabulary, rows);
    let turned = Panels::packed_transpose(head.weights, vocabulary, width);
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
        let shape = LinearShape { rows: range.len(), inputs: width, outputs: vocabulary };
        linear::add_grad_weight(level, shape, h, logits, true, dweights);
        if let Some(dbias) = dbias.as_deref_mut() {
            linear::add_grad_bias(level, range.len(), logits, dbias);
        }
    }
}

#[cfg(test)]
mod tests;
