//! AdamW (Loshchilov and Hutter, 2019): decoupled weight decay, both moments bias-corrected, in one pass.

use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level;
use super::super::parallel::{self, Shared};

/// The settings of AdamW.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Step size.
    pub learning_rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// The weights shrink by learning_rate·weight_decay a step.
    pub weight_decay: f32,
}

/// baseⁿ by squaring: the same bits everywhere, which `powi` does not promise.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}

/// One step, counted from 1, on weights and their moments, for the gradient times `gradient_scale` (clipping).
pub fn adamw_step(
    settings: &AdamW,
    step: u64,
    gradient_scale: f32,
    gradient: &[f32],
    weights: &mut [f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let length = weights.len();
    assert!(step > 0, "steps count from 1");
    assert!(
        gradient.len() == length && first.len() == length && second.len() == length,
        "{length} weights, {} gradients, {} and {} moments",
        gradient.len(),
        first.len(),
        second.len()
    );
    let correction = |beta: f32| 1.0 - power(f64::from(beta), step);
    let constants = Constants {
        gradient_scale,
        beta1: settings.beta1,
        beta2: settings.beta2,
        rate: (f64::from(settings.learning_rate) / correction(settings.beta1)) as f32,
        root_correction: (1.0 / correction(settings.beta2).sqrt()) as f32,
        epsilon: settings.epsilon,
        keep: 1.0 - settings.learning_rate * settings.weight_decay,
    };
    let level = level::current();
    let (weights, first, second) = (Shared::new(weights), Shared::new(first), Shared::new(second));
    parallel::for_pieces(length.div_ceil(LANES), length * 4, |piece| {
        let range = piece.start * LANES..length.min(piece.end * LANES);
        // SAFETY: pieces are disjoint ranges.
        let [weights, first, second] =
            [weights, first, second].map(|all| unsafe { all.part(range.start, range.len()) });
        dispatch(level, Step { constants, gradient: &gradient[range], weights, first, second });
    });
}

/// What is the same for every weight of a step.
#[derive(Clone, Copy)]
struct Constants {
    gradient_scale: f32,
    beta1: f32,
    beta2: f32,
    /// The learning rate over the first moment's correction.
    rate: f32,
    /// 1 over the root of the second moment's correction.
    root_correction: f32,
    epsilon: f32,
    /// 1 − learning_rate·weight_decay.
    keep: f32,
}

/// A thread's part of a step.
struct Step<'a> {
    constants: Constants,
    gradient: &'a [f32],
    weights: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let c = self.constants;
        let (beta1, rest1) = (lanes.splat(c.beta1), lanes.splat(1.0 - c.beta1));
        let (beta2, rest2) = (lanes.splat(c.beta2), lanes.splat(1.0 - c.beta2));
        let (keep, minus_rate) = (lanes.splat(c.keep), lanes.splat(-c.rate));
        let (root, epsilon) = (lanes.splat(c.root_correction), lanes.splat(c.epsilon));
        let scale = lanes.splat(c.gradient_scale);
        let moments = self.first.chunks_mut(LANES).zip(self.second.chunks_mut(LANES));
        let parts = self.weights.chunks_mut(LANES).zip(self.gradient.chunks(LANES)).zip(moments);
        for ((weights, gradient), (first, second)) in parts {
            let g = lanes.mul(scale, lanes.load_slice(gradient, 0.0));
            let m = lanes.fma(beta1, lanes.load_slice(first, 0.0), lanes.mul(rest1, g));
            let square = lanes.mul(rest2, lanes.mul(g, g));
            let v = lanes.fma(beta2, lanes.load_slice(second, 0.0), square);
            let below = lanes.fma(lanes.sqrt(v), root, epsilon);
            let shrunk = lanes.mul(keep, lanes.load_slice(weights, 0.0));
            lanes.store_slice(weights, lanes.fma(minus_rate, lanes.div(m, below), shrunk));
            lanes.store_slice(first, m);
            lanes.store_slice(second, v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Numbers, assert_close, assert_same_bits, wide};
    use super::*;

    const SETTINGS: AdamW =
        AdamW { learning_rate: 3e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };

    /// Twenty steps on a random gradient.
    fn steps(length: usize) -> Vec<f32> {
        let mut numbers = Numbers::new(length as u64);
        let mut weights = numbers.uniform(length);
        let (mut first, mut second) = (vec![0.0; length], vec![0.0; length]);
        for step in 1..=20 {
            let gradient = numbers.scaled(length, 1e-3);
            adamw_step(&SETTINGS, step, 0.5, &gradient, &mut weights, &mut first, &mut second);
        }
        weights
    }

    #[test]
    fn follows_the_paper() {
        let length = 37;
        let mut numbers = Numbers::new(length as u64);
        let mut weights = wide(&numbers.uniform(length));
        let (mut first, mut second) = (vec![0.0; length], vec![0.0; length]);
        for step in 1..=20 {
            for (i, g) in wide(&numbers.scaled(length, 1e-3)).into_iter().enumerate() {
                let g = g * 0.5;
                first[i] = 0.9 * first[i] + 0.1 * g;
                second[i] = 0.95 * second[i] + 0.05 * g * g;
                let m = first[i] / (1.0 - 0.9_f64.powi(step));
                let v: f64 = second[i] / (1.0 - 0.95_f64.powi(step));
                weights[i] -= 3e-3 * (m / (v.sqrt() + 1e-8) + 0.1 * weights[i]);
            }
        }
        assert_close("weights", &steps(length), &weights, 2e-6);
    }

    #[test]
    fn levels_and_threads_agree() {
        assert_same_bits("adamw", || [steps(1), steps(100), steps(60_000)].concat());
    }
}
