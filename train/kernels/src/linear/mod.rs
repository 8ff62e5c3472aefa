//! The linear layer and its gradients: y\[r,o\] = bias\[o\] + Σ_i x\[r,i\]·w\[i,o\], with w as [inputs, outputs].
//!
//! Each output is one chain in index order, from 0 or the bias; gradients of weights sum rows in index order.

mod call;
mod int8;
mod outer;
mod packed;
mod product;
mod tile;

use super::activation::{Activation, Kept};
use super::factors::Factors;
use super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::level::{self, Level};
use super::parallel::{self, Shared};
pub use call::After;
pub(super) use packed::product_panels;
pub use packed::{PackedPrecision, PackedWeights, product};
use product::Finish;
pub(super) use product::Panels;

/// The shape of a linear layer's call.
#[derive(Clone, Copy, Debug)]
pub struct LinearShape {
    /// Rows of x and y.
    pub rows: usize,
    /// Columns of x, rows of w.
    pub inputs: usize,
    /// Columns of y and w.
    pub outputs: usize,
    /// What is multiplied, forward and backward.
    pub factors: Factors,
}

impl LinearShape {
    /// Asserts the lengths of x [rows, inputs], w [inputs, outputs] and y [rows, outputs].
    fn check(&self, x: usize, w: usize, y: usize) {
        assert_eq!(x, self.rows * self.inputs, "x of {self:?}");
        assert_eq!(w, self.inputs * self.outputs, "w of {self:?}");
        assert_eq!(y, self.rows * self.outputs, "y of {self:?}");
    }
}

/// y [rows, outputs] = x [rows, inputs]·w [inputs, outputs] + bias \[outputs\].
pub fn linear(shape: LinearShape, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    finished(shape, x, w, bias, Finish::Plain, y);
}

/// y = residual + `linear`, with the sum in one pass. All of y's shape is [rows, outputs].
pub fn linear_add(
    shape: LinearShape,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    residual: &[f32],
    y: &mut [f32],
) {
    assert_eq!(residual.len(), y.len(), "residual of {shape:?}");
    finished(shape, x, w, bias, Finish::Add(residual), y);
}

/// y = activation(`linear`) in one pass; `before` [rows, outputs] keeps the values before it, where `Kept` needs them.
pub fn linear_activate(
    shape: LinearShape,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    before: Option<&mut [f32]>,
    y: &mut [f32],
) {
    let before = before.map(|before| {
        assert_eq!(before.len(), y.len(), "values before the activation of {shape:?}");
        Shared::new(before)
    });
    finished(shape, x, w, bias, Finish::Activate(activation, before), y);
}

/// A linear layer and what follows it.
fn finished(
    shape: LinearShape,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    finish: Finish<'_>,
    y: &mut [f32],
) {
    shape.check(x.len(), w.len(), y.len());
    let level = level::current();
    let dimensions = [shape.rows, shape.inputs, shape.outputs];
    let panels = Panels::for_rows(level, shape.factors, w, dimensions);
    product::multiply(level, shape.rows, x, &panels, bias, finish, y);
}

/// y = x·b + bias for a matrix b that the caller packed.
pub(super) fn multiply_panels(
    level: Level,
    rows: usize,
    x: &[f32],
    b: &Panels<'_>,
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    product::multiply(level, rows, x, b, bias, Finish::Plain, y);
}

/// dx [rows, inputs] = dy [rows, outputs]·wᵀ.
pub fn linear_grad_input(shape: LinearShape, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    shape.check(dx.len(), w.len(), dy.len());
    input_gradient(shape, dy, w, Finish::Plain, dx);
}

/// The gradient before an activation that feeds this layer, in one pass: `activate_backward` of `linear_grad_input`,
/// for what was kept of the activation [rows, inputs].
pub fn linear_grad_input_activate(
    shape: LinearShape,
    dy: &[f32],
    w: &[f32],
    activation: Activation,
    kept: Kept<'_>,
    dx: &mut [f32],
) {
    shape.check(dx.len(), w.len(), dy.len());
    let (slope, kept) = kept.slope(activation);
    assert_eq!(kept.len(), dx.len(), "what was kept of the activation before {shape:?}");
    input_gradient(shape, dy, w, Finish::Slope(slope, kept), dx);
}

/// dy·wᵀ and what follows it.
fn input_gradient(shape: LinearShape, dy: &[f32], w: &[f32], finish: Finish<'_>, dx: &mut [f32]) {
    let level = level::current();
    let panels = Panels::transposed(level, shape.factors, w, shape.outputs, shape.inputs);
    product::multiply(level, shape.rows, dy, &panels, None, finish, dx);
}

/// dw [inputs, outputs] = xᵀ·dy, rows summed in index order.
pub fn linear_grad_weight(shape: LinearShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    shape.check(x.len(), dw.len(), dy.len());
    add_grad_weight(level::current(), shape, x, dy, false, dw);
}

/// dw (+)= xᵀ·dy: with `accumulate`, the chains go on from what dw holds.
pub(super) fn add_grad_weight(
    level: Level,
    shape: LinearShape,
    x: &[f32],
    dy: &[f32],
    accumulate: bool,
    dw: &mut [f32],
) {
    let dimensions = [shape.rows, shape.inputs, shape.outputs];
    outer::multiply_transposed(level, shape.factors, dimensions, x, dy, accumulate, dw);
}

/// db \[outputs\] = Σ_r dy\[r\], rows in index order.
pub fn linear_grad_bias(rows: usize, outputs: usize, dy: &[f32], db: &mut [f32]) {
    assert_eq!(dy.len(), rows * outputs, "dy [{rows}, {outputs}]");
    assert_eq!(db.len(), outputs, "db");
    db.fill(0.0);
    add_grad_bias(level::current(), rows, dy, db);
}

/// db += Σ_r dy\[r\], rows in index order.
pub(super) fn add_grad_bias(level: Level, rows: usize, dy: &[f32], db: &mut [f32]) {
    let outputs = db.len();
    let shared = Shared::new(db);
    parallel::for_pieces(outputs.div_ceil(LANES), rows * outputs, |piece| {
        let columns = piece.start * LANES..outputs.min(piece.end * LANES);
        // SAFETY: pieces are disjoint ranges of db's columns.
        let db = unsafe { shared.part(columns.start, columns.len()) };
        dispatch(level, ColumnSums { dy, outputs, first: columns.start, db });
    });
}

/// Adds the columns of dy from `first` on to db.
struct ColumnSums<'a> {
    dy: &'a [f32],
    outputs: usize,
    first: usize,
    db: &'a mut [f32],
}

impl Kernel for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let width = self.db.len();
        for row in self.dy.chunks_exact(self.outputs) {
            let row = &row[self.first..][..width];
            for (sum, values) in self.db.chunks_mut(LANES).zip(row.chunks(LANES)) {
                let total = lanes.add(lanes.load_slice(sum, 0.0), lanes.load_slice(values, 0.0));
                lanes.store_slice(sum, total);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Numbers, assert_close, assert_same_bits, bits, wide};
    use super::*;

    /// Small, odd and typical shapes: rows, inputs, outputs.
    const SHAPES: [[usize; 3]; 9] = [
        [1, 1, 1],
        [5, 3, 7],
        [7, 17, 33],
        [13, 64, 64],
        [40, 64, 192],
        [33, 129, 100],
        [200, 32, 96],
        [6, 300, 257],
        [150, 256, 80],
    ];

    fn cases() -> impl Iterator<Item = (Factors, [usize; 3])> {
        FACTORS.into_iter().flat_map(|factors| SHAPES.map(|shape| (factors, shape)))
    }

    const FACTORS: [Factors; 2] = [Factors::Single, Factors::Bfloat];

    /// The reference: each output one chain of `mul_add` in index order, or in that of pairs.
    fn reference(shape: LinearShape, x: &[f32], w: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let round = |number: &f32| match shape.factors {
            Factors::Single => *number,
            Factors::Bfloat => half::bf16::from_f32(*number).to_f32(),
        };
        let mut y = Vec::new();
        for row in x.chunks_exact(shape.inputs) {
            for output in 0..shape.outputs {
                let start = bias.map_or(0.0, |bias| bias[output]);
                let column = w[output..].iter().step_by(shape.outputs);
                let mut terms: Vec<[f32; 2]> =
                    row.iter().zip(column).map(|(x, w)| [round(x), round(w)]).collect();
                if shape.factors == Factors::Bfloat {
                    terms.resize(terms.len().next_multiple_of(2), [0.0; 2]);
                    terms.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
                }
                y.push(terms.iter().fold(start, |sum, [x, w]| x.mul_add(*w, sum)));
            }
        }
        y
    }

    fn transpose(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..rows * columns).map(|i| matrix[i % rows * columns + i / rows]).collect()
    }

    #[test]
    fn every_product_is_the_reference_chain() {
        let mut numbers = Numbers::new(1);
        for (factors, [rows, inputs, outputs]) in cases() {
            let shape = LinearShape { rows, inputs, outputs, factors };
            let x = numbers.uniform(rows * inputs);
            let w = numbers.uniform(inputs * outputs);
            let bias = numbers.uniform(outputs);
            let dy = numbers.uniform(rows * outputs);
            for bias in [None, Some(&bias[..])] {
                let expected = bits(&reference(shape, &x, &w, bias));
                let mut y = vec![f32::NAN; rows * outputs];
                linear(shape, &x, &w, bias, &mut y);
                assert_eq!(bits(&y), expected, "{shape:?}");
            }
            let mut dx = vec![f32::NAN; rows * inputs];
            linear_grad_input(shape, &dy, &w, &mut dx);
            let turned = LinearShape { inputs: outputs, outputs: inputs, ..shape };
            let expected = reference(turned, &dy, &transpose(&w, inputs, outputs), None);
            assert_eq!(bits(&dx), bits(&expected), "dx {shape:?}");
            let mut dw = vec![f32::NAN; inputs * outputs];
            linear_grad_weight(shape, &x, &dy, &mut dw);
            let turned = LinearShape { rows: inputs, inputs: rows, ..shape };
            let expected = reference(turned, &transpose(&x, rows, inputs), &dy, None);
            assert_eq!(bits(&dw), bits(&expected), "dw {shape:?}");
        }
    }

    #[test]
    fn levels_and_threads_agree() {
        let mut numbers = Numbers::new(2);
        for (factors, [rows, inputs, outputs]) in cases() {
            let shape = LinearShape { rows, inputs, outputs, factors };
            let x = numbers.uniform(rows * inputs);
            let w = numbers.uniform(inputs * outputs);
            let bias = numbers.uniform(outputs);
            let dy = numbers.uniform(rows * outputs);
            assert_same_bits("linear", || {
                let mut y = vec![0.0; rows * outputs];
                linear(shape, &x, &w, Some(&bias), &mut y);
                let mut dx = vec![0.0; rows * inputs];
                linear_grad_input(shape, &dy, &w, &mut dx);
                let mut dw = vec![0.0; inputs * outputs];
                linear_grad_weight(shape, &x, &dy, &mut dw);
                let mut db = vec![0.0; outputs];
                linear_grad_bias(rows, outputs, &dy, &mut db);
                [y, dx, dw, db].concat()
            });
        }
    }

    #[test]
    fn a_row_alone_has_the_bits_it_has_among_many() {
        let mut numbers = Numbers::new(3);
        for factors in FACTORS {
            let shape = LinearShape { rows: 100, inputs: 200, outputs: 70, factors };
            let x = numbers.uniform(shape.rows * shape.inputs);
            let w = numbers.uniform(shape.inputs * shape.outputs);
            let mut all = vec![0.0; shape.rows * shape.outputs];
            linear(shape, &x, &w, None, &mut all);
            for (x, y) in x.chunks(shape.inputs).zip(all.chunks(shape.outputs)) {
                let mut alone = vec![0.0; shape.outputs];
                linear(LinearShape { rows: 1, ..shape }, x, &w, None, &mut alone);
                assert_eq!(bits(&alone), bits(y));
            }
        }
    }

    #[test]
    fn fused_forms_are_the_separate_ones() {
        let mut numbers = Numbers::new(4);
        let shape = LinearShape { rows: 50, inputs: 33, outputs: 100, factors: Factors::Bfloat };
        let x = numbers.uniform(shape.rows * shape.inputs);
        let w = numbers.uniform(shape.inputs * shape.outputs);
        let residual = numbers.uniform(shape.rows * shape.outputs);
        let mut plain = vec![0.0; shape.rows * shape.outputs];
        linear(shape, &x, &w, None, &mut plain);
        let mut fused = plain.clone();
        linear_add(shape, &x, &w, None, &residual, &mut fused);
        let sum: Vec<f32> = plain.iter().zip(&residual).map(|(a, b)| a + b).collect();
        assert_eq!(bits(&fused), bits(&sum));
        for activation in [Activation::ReluSquared, Activation::Gelu] {
            let mut before = vec![0.0; plain.len()];
            linear_activate(shape, &x, &w, None, activation, Some(&mut before), &mut fused);
            let mut separate = vec![0.0; plain.len()];
            super::super::activation::activate(activation, &plain, &mut separate);
            assert_eq!(bits(&before), bits(&plain));
            assert_eq!(bits(&fused), bits(&separate));
            let (mut dx, before) = (vec![0.0; x.len()], numbers.scaled(x.len(), 3.0));
            linear_grad_input(shape, &plain, &w, &mut dx);
            let mut expected = vec![0.0; x.len()];
            super::super::activation::activate_backward(
                activation,
                Kept::Before(&before),
                &dx,
                &mut expected,
            );
            linear_grad_input_activate(
                shape,
                &plain,
                &w,
                activation,
                Kept::Before(&before),
                &mut dx,
            );
            assert_eq!(bits(&dx), bits(&expected));
        }
    }

    #[test]
    fn the_chain_is_close_to_exact() {
        for (factors, tolerance) in FACTORS.into_iter().zip([1e-6, 1e-2]) {
            is_close(LinearShape { rows: 4, inputs: 500, outputs: 20, factors }, tolerance);
        }
    }

    fn is_close(shape: LinearShape, tolerance: f64) {
        let mut numbers = Numbers::new(5);
        let x = numbers.uniform(shape.rows * shape.inputs);
        let w = numbers.uniform(shape.inputs * shape.outputs);
        let mut y = vec![0.0; shape.rows * shape.outputs];
        linear(shape, &x, &w, None, &mut y);
        let (x, w) = (wide(&x), wide(&w));
        let exact: Vec<f64> = (0..y.len())
            .map(|i| {
                let (row, output) = (i / shape.outputs, i % shape.outputs);
                let inputs = 0..shape.inputs;
                inputs.map(|k| x[row * shape.inputs + k] * w[k * shape.outputs + output]).sum()
            })
            .collect();
        assert_close("y", &y, &exact, tolerance);
    }
}
