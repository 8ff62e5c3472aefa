//! The norms compared with `f64` and with central differences, and across SIMD levels and threads.

use super::super::testing::{Numbers, assert_close, assert_same_bits, differences, wide};
use super::*;

const SHAPES: [[usize; 2]; 6] = [[1, 1], [3, 7], [5, 16], [9, 40], [4, 64], [300, 100]];

fn exact_rms(x: &[f64], width: usize) -> Vec<f64> {
    let rows = x.chunks(width).flat_map(|row| {
        let square = row.iter().map(|x| x * x).sum::<f64>() / width as f64;
        row.iter().map(move |x| x / (square + 1e-6).sqrt())
    });
    rows.collect()
}

fn exact_layer(x: &[f64], scale: &[f64], offset: &[f64]) -> Vec<f64> {
    let width = scale.len();
    let rows = x.chunks(width).flat_map(|row| {
        let mean = row.iter().sum::<f64>() / width as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        let units = row.iter().map(move |x| (x - mean) / (variance + 1e-5).sqrt());
        units.zip(scale.iter().zip(offset)).map(|(unit, (s, o))| unit * s + o)
    });
    rows.collect()
}

fn weighed(y: &[f64], dy: &[f64]) -> f64 {
    y.iter().zip(dy).map(|(y, dy)| y * dy).sum()
}

#[test]
fn rms_norm_and_its_gradient_are_exact_to_rounding() {
    let mut numbers = Numbers::new(1);
    for [rows, width] in SHAPES {
        let rows = rows.min(5);
        let (x, delta) = (numbers.scaled(rows * width, 3.0), numbers.uniform(rows * width));
        let dy = numbers.uniform(rows * width);
        let mut y = vec![0.0; x.len()];
        rms_norm(rows, width, &x, &mut y);
        assert_close("y", &y, &exact_rms(&wide(&x), width), 1e-6);
        let mut dx = vec![0.0; x.len()];
        rms_norm_backward(rows, width, &x, &dy, Some(&delta), &mut dx);
        let loss = |x: &[f64]| weighed(&exact_rms(x, width), &wide(&dy));
        let gradient = differences(&wide(&x), loss);
        let expected: Vec<f64> =
            gradient.iter().zip(&delta).map(|(g, d)| g + f64::from(*d)).collect();
        assert_close("dx", &dx, &expected, 2e-6);
    }
}

#[test]
fn layer_norm_and_its_gradients_are_exact_to_rounding() {
    let mut numbers = Numbers::new(2);
    for [rows, width] in SHAPES.map(|[rows, width]| [rows.min(5), width.max(7)]) {
        let x = numbers.scaled(rows * width, 3.0);
        let (scale, offset) = (numbers.uniform(width), numbers.uniform(width));
        let dy = numbers.uniform(rows * width);
        let mut y = vec![0.0; x.len()];
        layer_norm(rows, width, &x, &scale, &offset, &mut y);
        let (wide_x, wide_s, wide_o) = (wide(&x), wide(&scale), wide(&offset));
        assert_close("y", &y, &exact_layer(&wide_x, &wide_s, &wide_o), 3e-6);
        let (mut dx, mut ds, mut d_o) = (vec![0.0; x.len()], vec![0.0; width], vec![0.0; width]);
        layer_norm_backward(rows, width, &x, &scale, &dy, None, &mut dx, &mut ds, &mut d_o);
        let dy = wide(&dy);
        let by_x = differences(&wide_x, |x| weighed(&exact_layer(x, &wide_s, &wide_o), &dy));
        assert_close("dx", &dx, &by_x, 1e-5);
        let by_s = differences(&wide_s, |s| weighed(&exact_layer(&wide_x, s, &wide_o), &dy));
        assert_close("dscale", &ds, &by_s, 2e-6);
        let by_o = differences(&wide_o, |o| weighed(&exact_layer(&wide_x, &wide_s, o), &dy));
        assert_close("doffset", &d_o, &by_o, 2e-6);
    }
}

#[test]
fn levels_and_threads_agree() {
    let mut numbers = Numbers::new(3);
    for [rows, width] in SHAPES {
        let x = numbers.scaled(rows * width, 3.0);
        let (dy, delta) = (numbers.uniform(rows * width), numbers.uniform(rows * width));
        let (scale, offset) = (numbers.uniform(width), numbers.uniform(width));
        assert_same_bits("norm", || {
            let mut r = vec![vec![0.0; rows * width]; 6];
            rms_norm(rows, width, &x, &mut r[0]);
            rms_norm_backward(rows, width, &x, &dy, None, &mut r[1]);
            rms_norm_backward(rows, width, &x, &dy, Some(&delta), &mut r[2]);
            layer_norm(rows, width, &x, &scale, &offset, &mut r[3]);
            let (mut ds, mut d_o) = (vec![0.0; width], vec![0.0; width]);
            let residual = Some(&delta[..]);
            layer_norm_backward(
                rows, width, &x, &scale, &dy, residual, &mut r[4], &mut ds, &mut d_o,
            );
            r.extend([ds, d_o]);
            r.concat()
        });
    }
}
