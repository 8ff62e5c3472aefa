//! The activations of inference: those of networks trained here, and those of pretrained models.

use super::activation::{self, Activation};
use super::lanes::Lanes;
use super::math::{erf, exp};

/// An activation between the linear layers of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// max(x, 0).
    Relu,
    /// max(x, 0)².
    ReluSquared,
    /// max(x, ½x)².
    LeakyReluSquared,
    /// GELU in its tanh form.
    GeluTanh,
    /// ½·x·(1 + erf(x/√2)).
    GeluErf,
    /// x/(1 + e^(−x)), also called swish.
    Silu,
    /// x/(1 + e^(−1.702·x)), which resembles GELU.
    QuickGelu,
}

/// The slope of `QuickGelu`'s logistic function.
const QUICK: f32 = 1.702;

/// The activation of each lane.
#[inline(always)]
pub(super) fn gate<L: Lanes>(lanes: L, gate: Gate, x: L::Vector) -> L::Vector {
    match gate {
        Gate::Relu => lanes.max(lanes.zero(), x),
        Gate::ReluSquared => activation::value(lanes, Activation::ReluSquared, x),
        Gate::LeakyReluSquared => activation::value(lanes, Activation::LeakyReluSquared, x),
        Gate::GeluTanh => activation::value(lanes, Activation::Gelu, x),
        Gate::GeluErf => {
            let scaled = lanes.mul(x, lanes.splat(std::f32::consts::FRAC_1_SQRT_2));
            let half = lanes.mul(x, lanes.splat(0.5));
            lanes.fma(half, erf(lanes, scaled), half)
        }
        Gate::Silu => {
            let opposite = lanes.min(lanes.splat(80.0), lanes.sub(lanes.zero(), x));
            let below = lanes.add(lanes.splat(1.0), exp(lanes, opposite));
            lanes.div(x, below)
        }
        Gate::QuickGelu => {
            let opposite = lanes.min(lanes.splat(80.0), lanes.mul(x, lanes.splat(-QUICK)));
            let below = lanes.add(lanes.splat(1.0), exp(lanes, opposite));
            lanes.div(x, below)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::{Kernel, LANES, dispatch};
    use super::super::level::Level;
    use super::super::testing::{Numbers, assert_close, bits, wide};
    use super::*;

    struct Apply<'a>(Gate, &'a mut [f32]);

    impl Kernel for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) {
            for part in self.1.chunks_mut(LANES) {
                let y = gate(lanes, self.0, lanes.load_slice(part, 0.0));
                lanes.store_slice(part, y);
            }
        }
    }

    /// erf by its Taylor series, good to 1e-11 for |x| ≤ 5.
    fn erf_series(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn gates_are_exact_to_rounding_and_the_same_at_every_level() {
        let mut x = Numbers::new(1).scaled(4000, 6.0);
        x.extend([0.0, -0.0, 7.0, -7.0, 1e-20, 1e-6]);
        let all = [
            Gate::Relu,
            Gate::ReluSquared,
            Gate::LeakyReluSquared,
            Gate::GeluTanh,
            Gate::GeluErf,
            Gate::Silu,
            Gate::QuickGelu,
        ];
        for kind in all {
            let exact = |x: f64| match kind {
                Gate::Relu => x.max(0.0),
                Gate::ReluSquared => x.max(0.0).powi(2),
                Gate::LeakyReluSquared => x.max(0.5 * x).powi(2),
                Gate::GeluTanh => {
                    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                    0.5 * x * (1.0 + inner.tanh())
                }
                Gate::GeluErf => 0.5 * x * (1.0 + erf_series(x * 0.5_f64.sqrt())),
                Gate::Silu => x / (1.0 + (-x).exp()),
                Gate::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
            };
            let expected: Vec<f64> = wide(&x).into_iter().map(exact).collect();
            let run = |level| {
                let mut y = x.clone();
                dispatch(level, Apply(kind, &mut y));
                y
            };
            let scalar = run(Level::SCALAR);
            assert_close(&format!("{kind:?}"), &scalar, &expected, 2e-7);
            for level in Level::all_available() {
                assert_eq!(bits(&run(level)), bits(&scalar), "{level}");
            }
        }
    }

    #[test]
    fn far_values_end_where_they_should() {
        for kind in [Gate::GeluTanh, Gate::GeluErf, Gate::Silu, Gate::QuickGelu] {
            let mut y = [1e30, -1000.0, 100.0, -100.0];
            dispatch(Level::SCALAR, Apply(kind, &mut y));
            let same = |found: f32, exact: f32| (found / exact - 1.0).abs() < 1e-6;
            assert!(same(y[0], 1e30) && same(y[2], 100.0), "{y:?}");
            assert!(y[1].abs() < 1e-3 && y[3].abs() < 1e-5, "{y:?}");
        }
    }
}
