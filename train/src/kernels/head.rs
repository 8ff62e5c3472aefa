//! The head: logits, soft-max and cross-entropy in blocks of rows, so that [rows, vocabulary] is never whole.
//!
//! A block's logits stay in the cache: they become probabilities, then gradients, in place.

use super::lanes::{Kernel, LANES, Lanes, dispatch, largest};
use super::level::{self, Level};
use super::linear::{self, LinearShape, Panels};
use super::math::{exp, ln, tanh};
use super::parallel::{self, Shared};

/// The last linear layer, whose logits go into a soft-max.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Columns of h.
    pub width: usize,
    /// Logits of a row.
    pub vocabulary: usize,
    /// [width, vocabulary].
    pub weights: &'a [f32],
    /// [vocabulary].
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

/// What to make of a row of logits.
enum Goal<'a> {
    /// Nats of the target, in a place of its own.
    Loss { targets: &'a [u32], nats: Shared },
    /// The loss where a place is given, and the logits replaced by their gradient.
    Gradient { targets: &'a [u32], upstream: &'a [f32], nats: Option<Shared> },
    /// The logits replaced by probabilities.
    Probabilities,
}

/// Nats of each row's target [rows], for h [rows, width].
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

/// Probabilities [rows, vocabulary] for h [rows, width].
pub fn softmax_rows(head: &Head<'_>, h: &[f32], probabilities: &mut [f32]) {
    let rows = head.rows(h);
    assert_eq!(probabilities.len(), rows * head.vocabulary, "probabilities");
    let level = level::current();
    let panels = Panels::for_rows(head.weights, head.width, head.vocabulary, rows);
    let block = block_rows(head.vocabulary);
    let blocks =
        h.chunks(block * head.width).zip(probabilities.chunks_mut(block * head.vocabulary));
    for (h, probabilities) in blocks {
        head.logits(level, h, &panels, probabilities);
        for_rows(level, head, probabilities, &Goal::Probabilities);
    }
}

/// The gradients of Σ upstream·nats: dh [rows, width], dweights [width, vocabulary] and dbias [vocabulary].
pub fn head_loss_backward(
    head: &Head<'_>,
    h: &[f32],
    targets: &[u32],
    upstream: &[f32],
    dh: &mut [f32],
    dweights: &mut [f32],
    dbias: Option<&mut [f32]>,
) {
    gradients(head, h, targets, upstream, None, [dh, dweights], dbias);
}

/// `head_loss` and `head_loss_backward` in one pass, for an upstream known beforehand: one product less.
#[allow(clippy::too_many_arguments)] // Eight tensors in and out are what the operation has.
pub fn head_loss_with_gradient(
    head: &Head<'_>,
    h: &[f32],
    targets: &[u32],
    upstream: &[f32],
    nats: &mut [f32],
    dh: &mut [f32],
    dweights: &mut [f32],
    dbias: Option<&mut [f32]>,
) {
    gradients(head, h, targets, upstream, Some(nats), [dh, dweights], dbias);
}

/// The blocks of both functions above. The sums over rows go on from block to block, in index order.
fn gradients(
    head: &Head<'_>,
    h: &[f32],
    targets: &[u32],
    upstream: &[f32],
    mut nats: Option<&mut [f32]>,
    [dh, dweights]: [&mut [f32]; 2],
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

/// Works on the rows of a block of logits, over the threads.
fn for_rows(level: Level, head: &Head<'_>, logits: &mut [f32], goal: &Goal<'_>) {
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
                Goal::Probabilities => probabilities(lanes, top, total, row),
            }
        }
    }
}

/// Caps a row of logits in place and gives the largest.
#[inline(always)]
fn cap<L: Lanes>(lanes: L, softcap: Option<f32>, row: &mut [f32]) -> f32 {
    let mut top = lanes.splat(f32::NEG_INFINITY);
    if let Some(limit) = softcap {
        let (limit, inverse) = (lanes.splat(limit), lanes.splat(1.0 / limit));
        for part in row.chunks_mut(LANES) {
            let z = lanes.load_slice(part, f32::NEG_INFINITY);
            let z = lanes.mul(limit, tanh(lanes, lanes.mul(z, inverse)));
            lanes.store_slice(part, z);
        }
    }
    for part in row.chunks(LANES) {
        top = lanes.max(top, lanes.load_slice(part, f32::NEG_INFINITY));
    }
    largest(lanes, top)
}

/// Σ exp(z − top) over a row: 16 lanes and the tree.
#[inline(always)]
fn exponentials<L: Lanes>(lanes: L, top: f32, row: &[f32]) -> f32 {
    let (top, mut total) = (lanes.splat(top), lanes.zero());
    for part in row.chunks(LANES) {
        let z = lanes.load_slice(part, f32::NEG_INFINITY);
        total = lanes.add(total, exp(lanes, lanes.sub(z, top)));
    }
    lanes.sum(total)
}

/// Replaces capped logits by probabilities.
#[inline(always)]
fn probabilities<L: Lanes>(lanes: L, top: f32, total: f32, row: &mut [f32]) {
    let (top, inverse) = (lanes.splat(top), lanes.splat(1.0 / total));
    for part in row.chunks_mut(LANES) {
        let p = exp(lanes, lanes.sub(lanes.load_slice(part, 0.0), top));
        lanes.store_slice(part, lanes.mul(p, inverse));
    }
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

#[cfg(test)]
mod tests {
    use super::super::testing::{Numbers, assert_close, assert_same_bits, bits, differences, wide};
    use super::*;

    /// Owned tensors of a case.
    struct Case {
        width: usize,
        vocabulary: usize,
        h: Vec<f32>,
        weights: Vec<f32>,
        bias: Option<Vec<f32>>,
        softcap: Option<f32>,
        targets: Vec<u32>,
        upstream: Vec<f32>,
    }

    impl Case {
        fn new(
            rows: usize,
            width: usize,
            vocabulary: usize,
            bias: bool,
            softcap: Option<f32>,
        ) -> Self {
            let mut numbers = Numbers::new((rows * 31 + vocabulary) as u64);
            Case {
                width,
                vocabulary,
                h: numbers.scaled(rows * width, 2.0),
                weights: numbers.uniform(width * vocabulary),
                bias: bias.then(|| numbers.uniform(vocabulary)),
                softcap,
                targets: numbers.tokens(rows, vocabulary),
                upstream: numbers.uniform(rows),
            }
        }

        fn head(&self) -> Head<'_> {
            Head {
                width: self.width,
                vocabulary: self.vocabulary,
                weights: &self.weights,
                bias: self.bias.as_deref(),
                softcap: self.softcap,
            }
        }

        /// Nats, dh, dweights, dbias.
        fn results(&self) -> [Vec<f32>; 4] {
            let mut nats = vec![0.0; self.targets.len()];
            let (mut dh, mut dw) = (vec![0.0; self.h.len()], vec![0.0; self.weights.len()]);
            let mut db = vec![0.0; self.vocabulary];
            let (h, t, u) = (&self.h, &self.targets, &self.upstream);
            head_loss(&self.head(), h, t, &mut nats);
            head_loss_backward(&self.head(), h, t, u, &mut dh, &mut dw, Some(&mut db));
            [nats, dh, dw, db]
        }
    }

    fn exact_nats(case: &Case, h: &[f64], weights: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
        let rows = h.chunks(case.width).zip(&case.targets);
        rows.map(|(h, target)| {
            let logits: Vec<f64> = (0..case.vocabulary)
                .map(|v| {
                    let column = weights[v..].iter().step_by(case.vocabulary);
                    let z = h.iter().zip(column).map(|(h, w)| h * w).sum::<f64>()
                        + bias.map_or(0.0, |bias| bias[v]);
                    case.softcap.map_or(z, |c| f64::from(c) * (z / f64::from(c)).tanh())
                })
                .collect();
            logits.iter().map(|z| z.exp()).sum::<f64>().ln() - logits[*target as usize]
        })
        .collect()
    }

    #[test]
    fn loss_and_gradients_are_exact_to_rounding() {
        for (bias, softcap) in [(false, None), (true, Some(5.0)), (false, Some(30.0))] {
            let case = Case::new(4, 9, 21, bias, softcap);
            let [nats, dh, dw, db] = case.results();
            let (h, w, b) = (wide(&case.h), wide(&case.weights), case.bias.as_deref().map(wide));
            let b = b.as_deref();
            assert_close("nats", &nats, &exact_nats(&case, &h, &w, b), 1e-6);
            let upstream = wide(&case.upstream);
            let total = |nats: Vec<f64>| nats.iter().zip(&upstream).map(|(n, u)| n * u).sum();
            let by_h = differences(&h, |h| total(exact_nats(&case, h, &w, b)));
            assert_close("dh", &dh, &by_h, 3e-6);
            let by_w = differences(&w, |w| total(exact_nats(&case, &h, w, b)));
            assert_close("dweights", &dw, &by_w, 3e-6);
            if let Some(b) = b {
                let by_b = differences(b, |b| total(exact_nats(&case, &h, &w, Some(b))));
                assert_close("dbias", &db, &by_b, 3e-6);
            }
        }
    }

    #[test]
    fn one_pass_is_both_passes() {
        let case = Case::new(150, 16, 33, true, Some(10.0));
        let [nats, dh, dw, db] = case.results();
        let (mut n, mut h) = (vec![0.0; nats.len()], vec![0.0; dh.len()]);
        let (mut w, mut b) = (vec![0.0; dw.len()], vec![0.0; db.len()]);
        head_loss_with_gradient(
            &case.head(),
            &case.h,
            &case.targets,
            &case.upstream,
            &mut n,
            &mut h,
            &mut w,
            Some(&mut b),
        );
        let expected = [nats, dh, dw, db].concat();
        assert_eq!(bits(&[n, h, w, b].concat()), bits(&expected));
    }

    #[test]
    fn probabilities_sum_to_one_and_fit_the_loss() {
        for softcap in [None, Some(15.0)] {
            let case = Case::new(70, 16, 300, false, softcap);
            let mut all = vec![0.0; 70 * 300];
            softmax_rows(&case.head(), &case.h, &mut all);
            let mut nats = vec![0.0; 70];
            head_loss(&case.head(), &case.h, &case.targets, &mut nats);
            for (row, p) in all.chunks(300).enumerate() {
                let sum: f64 = p.iter().map(|p| f64::from(*p)).sum();
                assert!((sum - 1.0).abs() < 1e-5, "{sum}");
                let loss = -f64::from(p[case.targets[row] as usize]).ln();
                assert!((loss - f64::from(nats[row])).abs() < 1e-5 * loss.max(1.0));
                let mut alone = vec![0.0; 300];
                softmax_rows(&case.head(), &case.h[row * 16..][..16], &mut alone);
                assert_eq!(bits(&alone), bits(p));
            }
        }
    }

    #[test]
    fn levels_and_threads_agree() {
        for (rows, width, vocabulary) in [(1, 1, 1), (3, 20, 50), (300, 16, 256), (90, 8, 1000)] {
            for softcap in [None, Some(15.0)] {
                let case = Case::new(rows, width, vocabulary, rows % 2 == 1, softcap);
                assert_same_bits("head", || {
                    let mut probabilities = vec![0.0; rows * vocabulary];
                    softmax_rows(&case.head(), &case.h, &mut probabilities);
                    [case.results().concat(), probabilities].concat()
                });
            }
        }
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let mut case = Case::new(2, 1, 3, false, None);
        case.h = vec![1.0, 1.0];
        case.weights = vec![3e4, -3e4, 0.0];
        case.targets = vec![0, 1];
        let [nats, dh, ..] = case.results();
        assert_eq!(nats, [0.0, 6e4]);
        assert!(dh.iter().all(|value| value.is_finite()));
    }
}
