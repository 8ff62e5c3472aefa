//! Muon (Jordan et al., 2024): momentum whose matrix is orthogonalised by five Newton–Schulz iterations.

use super::super::factors::Factors;
use super::super::level;
use super::super::linear::{Panels, multiply_panels};
use super::{combine, global_norm, scale};

/// The settings of Muon.
#[derive(Clone, Copy, Debug)]
pub struct Muon {
    /// Step size, before the factor √max(1, outputs/inputs).
    pub learning_rate: f32,
    /// Decay of the momentum; the step looks ahead by it (Nesterov).
    pub momentum: f32,
    /// The weights shrink by learning_rate·weight_decay a step.
    pub weight_decay: f32,
    /// Newton–Schulz iterations: 5.
    pub iterations: usize,
    /// Matrices side by side in the columns, each made orthogonal alone: 3 for a joint q, k, v layer, else 1.
    pub column_blocks: usize,
    /// What the iterations multiply.
    pub factors: Factors,
}

/// The quintic's coefficients: x ↦ ax + bx³ + cx⁵ brings singular values into about 0.7 to 1.2.
const QUINTIC: [f32; 3] = [3.4445, -4.775, 2.0315];

/// One step on weights [inputs, outputs] and their momentum, for the gradient times `gradient_scale`.
pub fn muon_step(
    settings: &Muon,
    inputs: usize,
    outputs: usize,
    gradient_scale: f32,
    gradient: &[f32],
    weights: &mut [f32],
    momentum: &mut [f32],
) {
    let length = inputs * outputs;
    assert!(
        gradient.len() == length && weights.len() == length && momentum.len() == length,
        "[{inputs}, {outputs}]: {} gradients, {} weights, {} momenta",
        gradient.len(),
        weights.len(),
        momentum.len()
    );
    let blocks = settings.column_blocks;
    assert!(blocks > 0 && outputs.is_multiple_of(blocks), "{outputs} outputs in {blocks} blocks");
    combine(momentum, Some(gradient), [settings.momentum, gradient_scale]);
    let mut update = momentum.to_vec();
    combine(&mut update, Some(gradient), [settings.momentum, gradient_scale]);
    let width = outputs / blocks;
    let ratio = (width as f64 / inputs as f64).max(1.0).sqrt();
    let rate = (f64::from(settings.learning_rate) * ratio) as f32;
    for block in 0..blocks {
        let rows = update.chunks_exact(outputs);
        let mut matrix: Vec<f32> =
            rows.flat_map(|row| &row[block * width..][..width]).copied().collect();
        orthogonalize(settings.factors, &mut matrix, inputs, width, settings.iterations);
        for (row, part) in update.chunks_exact_mut(outputs).zip(matrix.chunks_exact(width)) {
            row[block * width..][..width].copy_from_slice(part);
        }
    }
    let keep = 1.0 - settings.learning_rate * settings.weight_decay;
    combine(weights, Some(&update), [keep, -rate]);
}

/// Brings the singular values of a matrix [rows, columns] close to 1, in place.
pub fn orthogonalize(
    factors: Factors,
    matrix: &mut [f32],
    rows: usize,
    columns: usize,
    iterations: usize,
) {
    assert_eq!(matrix.len(), rows * columns, "[{rows}, {columns}]");
    let norm = global_norm(&[matrix]);
    scale(matrix, (1.0 / (norm + 1e-7)) as f32);
    if rows <= columns {
        return iterate(factors, matrix, rows, columns, iterations);
    }
    let mut turned = transpose(matrix, rows, columns);
    iterate(factors, &mut turned, columns, rows, iterations);
    matrix.copy_from_slice(&transpose(&turned, columns, rows));
}

/// The iterations X ← aX + (bA + cA²)X with A = XXᵀ, for a matrix that is at least as wide as high.
fn iterate(factors: Factors, x: &mut [f32], rows: usize, columns: usize, iterations: usize) {
    let level = level::current();
    let [a, b, c] = QUINTIC;
    let (mut gram, mut square) = (vec![0.0; rows * rows], vec![0.0; rows * rows]);
    let mut product = vec![0.0; rows * columns];
    for _ in 0..iterations {
        let turned = Panels::transposed(level, factors, x, columns, rows);
        multiply_panels(level, rows, x, &turned, None, &mut gram);
        let panels = Panels::for_rows(level, factors, &gram, [rows, rows, rows]);
        multiply_panels(level, rows, &gram, &panels, None, &mut square);
        combine(&mut gram, Some(&square), [b, c]);
        let panels = Panels::for_rows(level, factors, x, [rows, rows, columns]);
        multiply_panels(level, rows, &gram, &panels, None, &mut product);
        combine(x, Some(&product), [a, 1.0]);
    }
}

/// The transpose of a matrix [rows, columns].
fn transpose(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut turned = vec![0.0; matrix.len()];
    for (i, row) in matrix.chunks_exact(columns).enumerate() {
        for (j, value) in row.iter().enumerate() {
            turned[j * rows + i] = *value;
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Numbers, assert_close, assert_same_bits, wide};
    use super::*;

    /// The same iterations in `f64`, the plain way.
    fn exact(matrix: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        let product = |a: &[f64], b: &[f64], n: usize, k: usize, m: usize| -> Vec<f64> {
            let entry = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * m + j]).sum();
            (0..n * m).map(|index| entry(index / m, index % m)).collect()
        };
        let norm = matrix.iter().map(|x| x * x).sum::<f64>().sqrt() + 1e-7;
        let mut x: Vec<f64> = matrix.iter().map(|x| x / norm).collect();
        for _ in 0..5 {
            let turned: Vec<f64> = (0..x.len()).map(|i| x[i % rows * columns + i / rows]).collect();
            let gram = product(&x, &turned, rows, columns, rows);
            let square = product(&gram, &gram, rows, rows, rows);
            let mixed: Vec<f64> =
                gram.iter().zip(&square).map(|(a, s)| -4.775 * a + 2.0315 * s).collect();
            let step = product(&mixed, &x, rows, rows, columns);
            x = x.iter().zip(&step).map(|(x, s)| 3.4445 * x + s).collect();
        }
        x
    }

    #[test]
    fn orthogonalizes_as_exact_arithmetic_does() {
        for (rows, columns) in [(5, 9), (9, 5), (16, 16), (20, 70)] {
            let matrix = Numbers::new(7).uniform(rows * columns);
            let mut found = matrix.clone();
            let expected = exact(&wide(&matrix), rows, columns);
            orthogonalize(Factors::Single, &mut found, rows, columns, 5);
            assert_close("matrix", &found, &expected, 2e-3);
            let mut found = matrix.clone();
            orthogonalize(Factors::Bfloat, &mut found, rows, columns, 5);
            assert_close("matrix", &found, &expected, 0.1);
        }
    }

    #[test]
    fn levels_and_threads_agree() {
        let mut numbers = Numbers::new(9);
        let shapes = [(8, 24, 3), (24, 8, 1), (96, 192, 3)];
        let both = |factors| shapes.map(|(i, o, blocks)| (i, o, blocks, factors));
        for (inputs, outputs, column_blocks, factors) in
            [Factors::Single, Factors::Bfloat].into_iter().flat_map(both)
        {
            let settings = Muon {
                learning_rate: 0.02,
                momentum: 0.95,
                weight_decay: 0.01,
                iterations: 5,
                column_blocks,
                factors,
            };
            let length = inputs * outputs;
            let (start, gradient) = (numbers.uniform(length), numbers.uniform(length));
            assert_same_bits("muon", || {
                let (mut weights, mut momentum) = (start.clone(), vec![0.0; length]);
                for _ in 0..3 {
                    muon_step(
                        &settings,
                        inputs,
                        outputs,
                        0.9,
                        &gradient,
                        &mut weights,
                        &mut momentum,
                    );
                }
                [weights, momentum].concat()
            });
        }
    }
}
