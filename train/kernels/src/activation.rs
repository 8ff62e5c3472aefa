//! Activations and residual sums, element by element: squared ReLU (So et al., "Primer") with or without leak, and GELU
//! in its tanh form.

use super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::level;
use super::math::exp;
use super::parallel::{self, Shared};

/// An activation between the two linear layers of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0)².
    ReluSquared,
    /// max(x, ½x)².
    LeakyReluSquared,
    /// ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
    Gelu,
}

/// What the forward pass keeps of an activation, for its derivative.
#[derive(Clone, Copy, Debug)]
pub enum Kept<'a> {
    /// The values before it.
    Before(&'a [f32]),
    /// The values after it, for `ReluSquared` only. The square root of a rounded square is the number itself (except
    /// for underflow), so the derivative has the same bits, and the values before need not be kept.
    After(&'a [f32]),
}

impl<'a> Kept<'a> {
    /// The values, and how the slope comes from them.
    pub(super) fn slope(self, activation: Activation) -> (Slope, &'a [f32]) {
        match self {
            Kept::Before(values) => (Slope::Before(activation), values),
            Kept::After(values) => {
                assert_eq!(
                    activation,
                    Activation::ReluSquared,
                    "only its slope comes from its value"
                );
                (Slope::RootAfter, values)
            }
        }
    }
}

/// How a slope comes from a kept value.
#[derive(Clone, Copy)]
pub(super) enum Slope {
    /// From the value before the activation.
    Before(Activation),
    /// From the value after `ReluSquared`.
    RootAfter,
}

/// √(2/π).
const ROOT: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// The activation of each lane.
#[inline(always)]
pub(super) fn value<L: Lanes>(lanes: L, activation: Activation, x: L::Vector) -> L::Vector {
    match activation {
        Activation::ReluSquared => {
            let positive = lanes.max(lanes.zero(), x);
            lanes.mul(positive, positive)
        }
        Activation::LeakyReluSquared => {
            let leaky = lanes.max(lanes.mul(x, lanes.splat(0.5)), x);
            lanes.mul(leaky, leaky)
        }
        Activation::Gelu => lanes.mul(x, gelu_gate(lanes, x).0),
    }
}

/// σ(2u) and 1 − σ(2u), with u = √(2/π)·(x + 0.044715·x³): ½(1 + tanh u) is σ(2u), without tanh's cancellation.
#[inline(always)]
fn gelu_gate<L: Lanes>(lanes: L, x: L::Vector) -> (L::Vector, L::Vector) {
    let square = lanes.mul(x, x);
    let factor = lanes.fma(square, lanes.splat(-2.0 * ROOT * CUBIC), lanes.splat(-2.0 * ROOT));
    let power = exp(lanes, lanes.min(lanes.splat(80.0), lanes.mul(x, factor)));
    let one = lanes.splat(1.0);
    let gate = lanes.div(one, lanes.add(one, power));
    (gate, lanes.mul(power, gate))
}

/// The activation's derivative in each lane.
#[inline(always)]
fn slope<L: Lanes>(lanes: L, slope: Slope, x: L::Vector) -> L::Vector {
    match slope {
        Slope::RootAfter => {
            let root = lanes.sqrt(x);
            lanes.add(root, root)
        }
        Slope::Before(Activation::ReluSquared) => {
            let positive = lanes.max(lanes.zero(), x);
            lanes.add(positive, positive)
        }
        Slope::Before(Activation::LeakyReluSquared) => {
            let half = lanes.mul(x, lanes.splat(0.5));
            lanes.select_greater(x, lanes.zero(), lanes.add(x, x), half)
        }
        Slope::Before(Activation::Gelu) => {
            // σ + x·σ·(1 − σ)·2u′, with u′ = √(2/π)·(1 + 3·0.044715·x²).
            let (gate, rest) = gelu_gate(lanes, x);
            let square = lanes.mul(x, x);
            let inner = lanes.fma(square, lanes.splat(6.0 * ROOT * CUBIC), lanes.splat(2.0 * ROOT));
            lanes.fma(lanes.mul(lanes.mul(x, inner), gate), rest, gate)
        }
    }
}

/// Applies the activation in place.
#[inline(always)]
pub(super) fn activate_lanes<L: Lanes>(lanes: L, activation: Activation, values: &mut [f32]) {
    for part in values.chunks_mut(LANES) {
        let y = value(lanes, activation, lanes.load_slice(part, 0.0));
        lanes.store_slice(part, y);
    }
}

/// dy becomes dy times the slope at x.
#[inline(always)]
pub(super) fn slope_lanes<L: Lanes>(lanes: L, kind: Slope, x: &[f32], dy: &mut [f32]) {
    for (part, x) in dy.chunks_mut(LANES).zip(x.chunks(LANES)) {
        let slope = slope(lanes, kind, lanes.load_slice(x, 0.0));
        lanes.store_slice(part, lanes.mul(lanes.load_slice(part, 0.0), slope));
    }
}

/// values += others.
#[inline(always)]
pub(super) fn add_lanes<L: Lanes>(lanes: L, values: &mut [f32], others: &[f32]) {
    for (part, other) in values.chunks_mut(LANES).zip(others.chunks(LANES)) {
        let y = lanes.add(lanes.load_slice(other, 0.0), lanes.load_slice(part, 0.0));
        lanes.store_slice(part, y);
    }
}

/// An element-wise operation on one or two inputs.
#[derive(Clone, Copy)]
enum Operation {
    Value(Activation),
    /// dy times the slope at x.
    Backward(Slope),
    Add,
}

/// y = operation(a, b) on a thread's part.
struct Elements<'a>(Operation, &'a [f32], &'a [f32], &'a mut [f32]);

impl Kernel for Elements<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Elements(operation, a, b, y) = self;
        for ((y, a), b) in y.chunks_mut(LANES).zip(a.chunks(LANES)).zip(b.chunks(LANES)) {
            let (a, b) = (lanes.load_slice(a, 0.0), lanes.load_slice(b, 0.0));
            let result = match operation {
                Operation::Value(activation) => value(lanes, activation, a),
                Operation::Backward(kind) => lanes.mul(b, slope(lanes, kind, a)),
                Operation::Add => lanes.add(a, b),
            };
            lanes.store_slice(y, result);
        }
    }
}

/// Cuts an element-wise operation over threads.
fn for_elements(operation: Operation, a: &[f32], b: &[f32], y: &mut [f32]) {
    assert!(a.len() == y.len() && b.len() == y.len(), "{}, {}, {}", a.len(), b.len(), y.len());
    let (level, length, shared) = (level::current(), y.len(), Shared::new(y));
    parallel::for_pieces(length.div_ceil(LANES), length * 4, |piece| {
        let range = piece.start * LANES..length.min(piece.end * LANES);
        // SAFETY: pieces are disjoint ranges of y.
        let y = unsafe { shared.part(range.start, range.len()) };
        dispatch(level, Elements(operation, &a[range.clone()], &b[range], y));
    });
}

/// y = activation(x), element by element.
pub fn activate(activation: Activation, x: &[f32], y: &mut [f32]) {
    for_elements(Operation::Value(activation), x, x, y);
}

/// dx = dy·activation′(x), for what was kept of `activate`.
pub fn activate_backward(activation: Activation, kept: Kept<'_>, dy: &[f32], dx: &mut [f32]) {
    let (slope, values) = kept.slope(activation);
    for_elements(Operation::Backward(slope), values, dy, dx);
}

/// y = a + b.
pub fn add(a: &[f32], b: &[f32], y: &mut [f32]) {
    for_elements(Operation::Add, a, b, y);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Numbers, assert_close, assert_same_bits, bits, differences, wide};
    use super::*;

    fn exact(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::ReluSquared => x.max(0.0) * x.max(0.0),
            Activation::LeakyReluSquared => x.max(0.5 * x).powi(2),
            Activation::Gelu => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
        }
    }

    #[test]
    fn values_and_slopes_are_exact_to_rounding() {
        let mut x = Numbers::new(1).scaled(1000, 6.0);
        x.extend([0.0, -0.0, 30.0, -30.0, 1e-20]);
        let dy = Numbers::new(2).uniform(x.len());
        for activation in [Activation::ReluSquared, Activation::LeakyReluSquared, Activation::Gelu]
        {
            let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            activate(activation, &x, &mut y);
            activate_backward(activation, Kept::Before(&x), &dy, &mut dx);
            let wide_x = wide(&x);
            let expected: Vec<f64> = wide_x.iter().map(|x| exact(activation, *x)).collect();
            assert_close("y", &y, &expected, 3e-7);
            let slopes =
                wide_x.iter().flat_map(|x| differences(&[*x], |x| exact(activation, x[0])));
            let expected: Vec<f64> = slopes.zip(wide(&dy)).map(|(s, dy)| s * dy).collect();
            assert_close("dx", &dx, &expected, 1e-6);
        }
    }

    #[test]
    fn levels_and_threads_agree() {
        for length in [1, 15, 16, 17, 100, 70_001] {
            let (x, dy) = (Numbers::new(3).scaled(length, 5.0), Numbers::new(4).uniform(length));
            assert_same_bits("activation", || {
                let mut results = vec![vec![0.0; length]; 7];
                activate(Activation::ReluSquared, &x, &mut results[0]);
                activate(Activation::Gelu, &x, &mut results[1]);
                activate_backward(Activation::ReluSquared, Kept::Before(&x), &dy, &mut results[2]);
                activate_backward(Activation::Gelu, Kept::Before(&x), &dy, &mut results[3]);
                add(&x, &dy, &mut results[4]);
                let leaky = Activation::LeakyReluSquared;
                activate(leaky, &x, &mut results[5]);
                activate_backward(leaky, Kept::Before(&x), &dy, &mut results[6]);
                // The slope of the squared ReLU is the same from its value.
                let mut from_value = vec![0.0; length];
                let kept = Kept::After(&results[0]);
                activate_backward(Activation::ReluSquared, kept, &dy, &mut from_value);
                assert_eq!(bits(&from_value), bits(&results[2]));
                results.concat()
            });
        }
    }
}
