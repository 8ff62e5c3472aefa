//! Attention compared with `f64` and with central differences, and across SIMD levels, threads and batches.

use super::super::testing::{Numbers, assert_close, assert_same_bits, bits, differences, wide};
use super::*;

fn shape(batch: usize, time: usize, heads: usize, head_dim: usize) -> AttentionShape {
    let factors = Factors::Single;
    AttentionShape { batch, time, heads, head_dim, rotated: head_dim, factors }
}

/// One head's output in `f64`, the plain way.
fn exact_head(shape: &AttentionShape, qkv: &[f64], gain: Option<f64>, head: usize) -> Vec<f64> {
    let (d, width) = (shape.head_dim, shape.width());
    let row = |token: usize, part: usize| {
        let x = qkv[token * 3 * width + part * width + head * d..][..d].to_vec();
        if part == 2 {
            return x;
        }
        let square = x.iter().map(|x| x * x).sum::<f64>() / d as f64;
        let factor = if gain.is_some() { 1.0 / (square + 1e-6).sqrt() } else { 1.0 };
        let factor = factor * if part == 0 { gain.unwrap_or(1.0) } else { 1.0 };
        let mut y = vec![0.0; d];
        for i in 0..d / 2 {
            let angle = token as f64 * 10_000_f64.powf(-2.0 * i as f64 / d as f64);
            let (low, high) = (x[i] * factor, x[i + d / 2] * factor);
            y[i] = low * angle.cos() - high * angle.sin();
            y[i + d / 2] = low * angle.sin() + high * angle.cos();
        }
        y
    };
    let rows = |part: usize| (0..shape.time).map(|token| row(token, part)).collect::<Vec<_>>();
    let (q, k, v) = (rows(0), rows(1), rows(2));
    let mut out = Vec::new();
    for t in 0..shape.time {
        let score = |s: usize| q[t].iter().zip(&k[s]).map(|(q, k)| q * k).sum::<f64>();
        let scores: Vec<f64> = (0..=t).map(|s| score(s) / (d as f64).sqrt()).collect();
        let top = scores.iter().copied().fold(f64::MIN, f64::max);
        let total: f64 = scores.iter().map(|score| (score - top).exp()).sum();
        for i in 0..d {
            let sum: f64 = (0..=t).map(|s| (scores[s] - top).exp() * v[s][i]).sum();
            out.push(sum / total);
        }
    }
    out
}

/// The output in `f64`: [batch, time, width].
fn exact(shape: &AttentionShape, qkv: &[f64], gain: Option<&[f64]>) -> Vec<f64> {
    let (d, width) = (shape.head_dim, shape.width());
    let mut out = vec![0.0; shape.batch * shape.time * width];
    for (qkv, out) in qkv.chunks(shape.time * 3 * width).zip(out.chunks_mut(shape.time * width)) {
        for head in 0..shape.heads {
            let values = exact_head(shape, qkv, gain.map(|gain| gain[head]), head);
            for (token, row) in values.chunks(d).enumerate() {
                out[token * width + head * d..][..d].copy_from_slice(row);
            }
        }
    }
    out
}

/// Output and log-sums.
fn forward(shape: AttentionShape, qkv: &[f32], gain: Option<&[f32]>) -> [Vec<f32>; 2] {
    let mut out = vec![f32::NAN; shape.batch * shape.time * shape.width()];
    let mut log_sum = vec![f32::NAN; shape.batch * shape.heads * shape.time];
    attention(shape, qkv, gain, &mut out, Some(&mut log_sum));
    [out, log_sum]
}

/// Output, log-sums, dqkv and dgain.
fn both(shape: AttentionShape, qkv: &[f32], gain: Option<&[f32]>, dout: &[f32]) -> [Vec<f32>; 4] {
    let [out, log_sum] = forward(shape, qkv, gain);
    let mut dqkv = vec![f32::NAN; qkv.len()];
    let mut dgain = vec![f32::NAN; shape.heads];
    let place = gain.is_some().then_some(&mut dgain[..]);
    attention_backward(shape, qkv, gain, &out, &log_sum, dout, &mut dqkv, place);
    if gain.is_none() {
        dgain.fill(0.0);
    }
    [out, log_sum, dqkv, dgain]
}

#[test]
fn output_is_exact_to_rounding() {
    let mut numbers = Numbers::new(1);
    for (time, heads, head_dim) in [(1, 1, 16), (5, 2, 16), (70, 2, 32), (130, 1, 48), (33, 1, 128)]
    {
        let shape = shape(2, time, heads, head_dim);
        let qkv = numbers.scaled(2 * time * 3 * shape.width(), 2.0);
        let gain = numbers.scaled(heads, 3.0);
        for gain in [None, Some(&gain[..])] {
            let [out, _] = forward(shape, &qkv, gain);
            let gain = gain.map(wide);
            assert_close("out", &out, &exact(&shape, &wide(&qkv), gain.as_deref()), 3e-6);
        }
    }
}

#[test]
fn gradients_are_exact_to_rounding() {
    let mut numbers = Numbers::new(2);
    for (time, heads, head_dim) in [(1, 1, 16), (3, 2, 16), (35, 1, 16), (4, 1, 32), (3, 1, 48)] {
        let shape = shape(1, time, heads, head_dim);
        let qkv = numbers.scaled(time * 3 * shape.width(), 2.0);
        let dout = numbers.uniform(time * shape.width());
        let gain: Vec<f32> = numbers.uniform(heads).iter().map(|g| 1.5 + g).collect();
        for gain in [None, Some(&gain[..])] {
            let [_, _, dqkv, dgain] = both(shape, &qkv, gain, &dout);
            let (x, dout) = (wide(&qkv), wide(&dout));
            let weigh = |out: Vec<f64>| out.iter().zip(&dout).map(|(o, d)| o * d).sum();
            let gain = gain.map(wide);
            let expected = differences(&x, |x| weigh(exact(&shape, x, gain.as_deref())));
            assert_close("dqkv", &dqkv, &expected, 2e-5);
            if let Some(gain) = gain {
                let expected = differences(&gain, |gain| weigh(exact(&shape, &x, Some(gain))));
                let scale = expected.iter().fold(1.0_f64, |a, b| a.max(b.abs()));
                let error = dgain.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs());
                assert!(error.fold(0.0, f64::max) < 1e-5 * scale, "{dgain:?} {expected:?}");
            }
        }
    }
}

#[test]
fn levels_and_threads_agree() {
    let mut numbers = Numbers::new(3);
    for (batch, time, heads, head_dim) in [
        (1, 1, 1, 16),
        (2, 33, 2, 16),
        (1, 150, 3, 32),
        (2, 65, 1, 48),
        (1, 40, 1, 64),
        (1, 20, 1, 128),
    ] {
        let shape = shape(batch, time, heads, head_dim);
        let qkv = numbers.scaled(batch * time * 3 * shape.width(), 3.0);
        let dout = numbers.uniform(batch * time * shape.width());
        let gain = numbers.scaled(heads, 3.0);
        for gain in [None, Some(&gain[..])] {
            for factors in [Factors::Single, Factors::Bfloat] {
                let shape = AttentionShape { factors, ..shape };
                assert_same_bits("attention", || both(shape, &qkv, gain, &dout).concat());
            }
        }
    }
}

#[test]
fn bfloats_are_near_singles() {
    let mut numbers = Numbers::new(4);
    for (time, heads, head_dim) in [(1, 1, 16), (70, 2, 32), (130, 1, 48), (33, 1, 128)] {
        let exact = shape(2, time, heads, head_dim);
        let rounded = AttentionShape { factors: Factors::Bfloat, ..exact };
        let qkv = numbers.scaled(2 * time * 3 * exact.width(), 2.0);
        let (gain, dout) = (vec![1.5; heads], numbers.uniform(2 * time * exact.width()));
        let expected = both(exact, &qkv, Some(&gain), &dout);
        let found = both(rounded, &qkv, Some(&gain), &dout);
        for (found, expected) in found.iter().zip(&expected).take(3) {
            assert_close("bfloat", found, &wide(expected), 2e-2);
        }
    }
}

#[test]
fn a_sequence_has_the_same_bits_alone_and_among_many() {
    let mut numbers = Numbers::new(5);
    for factors in [Factors::Single, Factors::Bfloat] {
        alone_and_among(factors, &mut numbers);
    }
}

fn alone_and_among(factors: Factors, numbers: &mut Numbers) {
    let many = AttentionShape { factors, ..shape(5, 77, 2, 16) };
    let (size, out_size) = (77 * 3 * 32, 77 * 32);
    let qkv = numbers.scaled(5 * size, 2.0);
    let dout = numbers.uniform(5 * out_size);
    let [out, _, dqkv, _] = both(many, &qkv, None, &dout);
    for lane in 0..5 {
        let (x, d) = (&qkv[lane * size..][..size], &dout[lane * out_size..][..out_size]);
        let one = AttentionShape { batch: 1, ..many };
        let [alone, _, dalone, _] = both(one, x, None, d);
        assert_eq!(bits(&alone), bits(&out[lane * out_size..][..out_size]));
        assert_eq!(bits(&dalone), bits(&dqkv[lane * size..][..size]));
        // The beginning of a sequence does not know its end.
        let [beginning, _] = forward(AttentionShape { time: 40, ..one }, &x[..40 * 96], None);
        assert_eq!(bits(&beginning), bits(&alone[..40 * 32]));
    }
}

#[test]
fn extreme_scores_stay_finite() {
    let scales = [0.0, 1e-20, 300.0, 3000.0];
    let both_factors = |scale| [(Factors::Single, scale), (Factors::Bfloat, scale)];
    for (factors, scale) in scales.into_iter().flat_map(both_factors) {
        let shape = AttentionShape { factors, ..shape(1, 100, 1, 16) };
        let qkv = Numbers::new(8).scaled(100 * 48, scale);
        let dout = Numbers::new(9).uniform(100 * 16);
        assert_same_bits("extreme", || {
            let results = both(shape, &qkv, None, &dout).concat();
            // Scores of millions mean nothing any more, but they are the same nothing everywhere.
            assert!(scale > 300.0 || results.iter().all(|value| value.is_finite()), "{scale}");
            results
        });
    }
}
