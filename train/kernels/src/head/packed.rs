//! The head in inference, on one thread: the loss in nats of given tokens without storing [rows, vocabulary], or rows
//! of probabilities.

use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level::Level;
use super::super::linear::{After, PackedWeights, product_panels};
use super::super::math::{exp, ln};
use super::softmax::{cap, exponentials};
use std::ops::Range;

/// Panels of 64 columns that are made at a time, for losses: each tile's maximum and sum join those before.
const PANELS: usize = 8;
const PANEL: usize = 64;

/// The last linear layer, whose logits go into a soft-max.
#[derive(Clone, Copy)]
pub struct PackedHead<'a> {
    /// [width, vocabulary], with its bias if it has one.
    pub weights: &'a PackedWeights,
    /// The cap c of z = c·tanh(z/c).
    pub soft_cap: Option<f32>,
}

impl PackedHead<'_> {
    /// The logits of some panels before the cap: [rows, columns].
    fn logits(&self, level: Level, h: &[f32], panels: Range<usize>, logits: &mut [f32]) {
        let rows = h.len() / self.weights.inputs();
        let columns = [logits.len() / rows.max(1), panels.start * PANEL];
        product_panels(level, rows, h, self.weights, panels, After::Plain, columns, logits);
    }
}

/// Nats of each row's target \[rows\], for h [rows, width]; `scratch` is for the logits.
pub fn head_nats(
    level: Level,
    head: PackedHead<'_>,
    h: &[f32],
    targets: &[u32],
    scratch: &mut Vec<f32>,
    nats: &mut [f32],
) {
    let (rows, vocabulary) = (targets.len(), head.weights.outputs());
    assert_eq!(h.len(), rows * head.weights.inputs(), "h [{rows}, {}]", head.weights.inputs());
    assert_eq!(nats.len(), rows, "nats");
    assert!(
        targets.iter().all(|target| (*target as usize) < vocabulary),
        "a target ≥ {vocabulary}"
    );
    let mut states = vec![State::default(); rows];
    for first in (0..vocabulary).step_by(PANELS * PANEL) {
        let columns = (PANELS * PANEL).min(vocabulary - first);
        scratch.resize(rows * columns, 0.0);
        let panels = first / PANEL..(first + columns).div_ceil(PANEL);
        head.logits(level, h, panels, scratch);
        let (logits, soft_cap) = (&mut scratch[..], head.soft_cap);
        dispatch(level, Join { logits, columns, first, soft_cap, targets, states: &mut states });
    }
    for (nats, state) in nats.iter_mut().zip(states) {
        *nats = ln(state.total) + (state.top - state.target);
    }
}

/// What a row's logits so far come to.
#[derive(Clone, Copy)]
struct State {
    /// The largest.
    top: f32,
    /// Σ exp(logit − top).
    total: f32,
    /// The target's logit.
    target: f32,
}

impl Default for State {
    fn default() -> Self {
        State { top: f32::MIN, total: 0.0, target: 0.0 }
    }
}

/// Joins a tile of logits to the states of its rows.
struct Join<'a> {
    logits: &'a mut [f32],
    columns: usize,
    first: usize,
    soft_cap: Option<f32>,
    targets: &'a [u32],
    states: &'a mut [State],
}

impl Kernel for Join<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let rows = self.logits.chunks_exact_mut(self.columns).zip(self.targets).zip(self.states);
        for ((row, target), state) in rows {
            let top = cap(lanes, self.soft_cap, row);
            let top = if top > state.top { top } else { state.top };
            let before = lanes.array(exp(lanes, lanes.splat(state.top - top)))[0];
            state.total = state.total.mul_add(before, exponentials(lanes, top, row));
            state.top = top;
            if let Some(logit) = (*target as usize).checked_sub(self.first).and_then(|i| row.get(i))
            {
                state.target = *logit;
            }
        }
    }
}

/// Probabilities [rows, vocabulary] for h [rows, width].
pub fn head_probabilities(level: Level, head: PackedHead<'_>, h: &[f32], rows: &mut [f32]) {
    let vocabulary = head.weights.outputs();
    assert_eq!(rows.len(), h.len() / head.weights.inputs() * vocabulary, "probabilities");
    head.logits(level, h, 0..vocabulary.div_ceil(PANEL), rows);
    dispatch(level, Probabilities { vocabulary, soft_cap: head.soft_cap, rows });
}

struct Probabilities<'a> {
    vocabulary: usize,
    soft_cap: Option<f32>,
    rows: &'a mut [f32],
}

impl Kernel for Probabilities<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for row in self.rows.chunks_exact_mut(self.vocabulary) {
            let top = lanes.splat(cap(lanes, self.soft_cap, row));
            let mut total = lanes.zero();
            for part in row.chunks_mut(LANES) {
                let z = lanes.load_slice(part, f32::NEG_INFINITY);
                let power = exp(lanes, lanes.sub(z, top));
                total = lanes.add(total, power);
                lanes.store_slice(part, power);
            }
            let inverse = lanes.splat(1.0 / lanes.sum(total));
            for part in row.chunks_mut(LANES) {
                lanes.store_slice(part, lanes.mul(lanes.load_slice(part, 0.0), inverse));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::level::current;
    use super::super::super::linear::PackedPrecision;
    use super::super::super::testing::{Numbers, assert_close, assert_same_bits, wide};
    use super::*;

    #[test]
    fn nats_and_probabilities_are_exact_to_rounding_at_every_level() {
        let mut numbers = Numbers::new(1);
        for (rows, width, vocabulary, soft_cap) in [
            (3, 16, 256, Some(15.0)),
            (20, 48, 1000, None),
            (2, 32, 2500, Some(5.0)),
            (1, 16, 1, None),
        ] {
            let w = numbers.scaled(width * vocabulary, 1.5);
            let (bias, h) = (numbers.scaled(vocabulary, 5.0), numbers.scaled(rows * width, 2.0));
            let targets = numbers.tokens(rows, vocabulary);
            let column = |output: usize, into: &mut [f32]| {
                into.copy_from_slice(&w[output * width..][..width]);
            };
            let packed = PackedWeights::pack(PackedPrecision::Single, [width, vocabulary], column);
            let packed = packed.with_bias(&bias);
            let head = PackedHead { weights: &packed, soft_cap };
            let both = || {
                let mut nats = vec![0.0; rows];
                head_nats(current(), head, &h, &targets, &mut Vec::new(), &mut nats);
                let mut all = vec![f32::NAN; rows * vocabulary];
                head_probabilities(current(), head, &h, &mut all);
                [nats, all].concat()
            };
            assert_same_bits("head", both);
            let (wide_h, wide_w, found) = (wide(&h), wide(&w), both());
            for row in 0..rows {
                let logits: Vec<f64> = (0..vocabulary)
                    .map(|o| {
                        let terms = wide_h[row * width..][..width].iter().zip(&wide_w[o * width..]);
                        let z = terms.map(|(h, w)| h * w).sum::<f64>() + f64::from(bias[o]);
                        soft_cap.map_or(z, |cap| f64::from(cap) * (z / f64::from(cap)).tanh())
                    })
                    .collect();
                let total: f64 = logits.iter().map(|z| z.exp()).sum();
                let expected: Vec<f64> = logits.iter().map(|z| z.exp() / total).collect();
                assert_close("p", &found[rows + row * vocabulary..][..vocabulary], &expected, 1e-5);
                let nats = -expected[targets[row] as usize].ln();
                assert!((f64::from(found[row]) - nats).abs() < 2e-5 * nats.max(1.0), "{nats}");
            }
        }
    }
}
