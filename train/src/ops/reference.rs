//! Each operation by burn's own, forward and backward: what a device without kernels of its own
//! runs, and what the kernels are tested against. Formulas are written out, so that a backward
//! pass keeps only its inputs. Attention is in `blocked_attention.rs`, and what meets the vocabulary
//! in `blocked_rows.rs`: neither ever stores what grows with the square of its input.
//!
//! Matrices of weights in bf16 ask for mixed precision: products take bf16 and sum in f32 (so do
//! the tensor cores); what is not a product is f32.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor, TensorData};
use lmtrain_engine::levels::Levels;
use lmtrain_runs::Precision;
use lmtrain_runs::plan::CONVOLUTION_TAPS;
use lmtrain_runs::recipe::Activation;

use super::{AdamSettings, MuonSettings, Rounding};

const RMS_EPSILON: f64 = 1e-6;
const LAYER_EPSILON: f64 = 1e-5;
/// √(2/π), of GELU's tanh form.
const GELU_SCALE: f64 = 0.797_884_560_802_865_4;
const GELU_CUBIC: f64 = 0.044_715;
/// Newton–Schulz coefficients of Muon.
pub(crate) const NEWTON_SCHULZ: (f64, f64, f64) = (3.4445, -4.7750, 2.0315);
pub(crate) const NEWTON_SCHULZ_STEPS: usize = 5;

/// Rows of one part of a weight gradient's sum, at least, and the most parts.
const ROWS_A_PART: usize = 1024;
const MOST_PARTS: usize = 32;

/// The same in f32.
pub(crate) fn single<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    x.cast(DType::F32)
}

/// Weights rounded to levels and back, by the processor: the very levels that are saved.
pub(crate) fn round<B: Backend>(rounding: Rounding, weights: Tensor<B, 2>) -> Tensor<B, 2> {
    let (shape, device) = (weights.dims(), weights.device());
    let values: Vec<f32> = weights.into_data().iter::<f32>().collect();
    let levels = Levels::round(&values, shape, rounding.scaled, rounding.bits);
    Tensor::from_data(TensorData::new(levels.weights(), shape), &device)
}

/// x · weights in the weights' type.
pub(crate) fn product<B: Backend>(x: Tensor<B, 2>, weights: Tensor<B, 2>) -> Tensor<B, 2> {
    x.cast(weights.dtype()).matmul(weights)
}

/// xᵀ · gradient in the type of x, summed in f32: [rows, inputs], [rows, outputs] → [inputs,
/// outputs]. There are many more rows than inputs or outputs, so that a GPU is busy only if parts
/// of the rows are summed side by side.
pub(crate) fn weight_gradient<B: Backend>(x: Tensor<B, 2>, gradient: Tensor<B, 2>) -> Tensor<B, 2> {
    let ([rows, inputs], [_, outputs]) = (x.dims(), gradient.dims());
    let gradient = gradient.cast(x.dtype());
    let divides = |parts: &usize| rows.is_multiple_of(*parts) && rows / parts >= ROWS_A_PART;
    match (2..=MOST_PARTS).rev().find(divides) {
        None => single(x.transpose().matmul(gradient)),
        Some(parts) => {
            let x = x.reshape([parts, rows / parts, inputs]).swap_dims(1, 2);
            let gradient = gradient.reshape([parts, rows / parts, outputs]);
            single(x.matmul(gradient)).sum_dim(0).squeeze_dim(0)
        }
    }
}

pub(crate) fn embedding<B: Backend>(
    table: Tensor<B, 2>,
    tokens: Tensor<B, 1, Int>,
    scale: f64,
) -> Tensor<B, 2> {
    table.select(0, tokens) * scale
}

pub(crate) fn rms_norm<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let inverse = inverse_rms(x.clone());
    x * inverse
}

pub(crate) fn rms_norm_backward<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    gradient: Tensor<B, D>,
) -> Tensor<B, D> {
    let inverse = inverse_rms(x.clone());
    let y = x * inverse.clone();
    let along = (y.clone() * gradient.clone()).mean_dim(D - 1);
    (gradient - y * along) * inverse
}

fn inverse_rms<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    ((x.clone() * x).mean_dim(D - 1) + RMS_EPSILON).sqrt().recip()
}

pub(crate) fn layer_norm<B: Backend>(
    x: Tensor<B, 2>,
    scale: Tensor<B, 1>,
    offset: Tensor<B, 1>,
) -> Tensor<B, 2> {
    let (normal, _) = layer_normal(x);
    normal * scale.unsqueeze() + offset.unsqueeze()
}

pub(crate) fn layer_norm_backward<B: Backend>(
    x: Tensor<B, 2>,
    scale: Tensor<B, 1>,
    gradient: Tensor<B, 2>,
) -> (Tensor<B, 2>, Tensor<B, 1>, Tensor<B, 1>) {
    let (normal, inverse) = layer_normal(x);
    let offset_gradient = gradient.clone().sum_dim(0).squeeze_dim(0);
    let scale_gradient = (gradient.clone() * normal.clone()).sum_dim(0).squeeze_dim(0);
    let scaled = gradient * scale.unsqueeze();
    let along = (scaled.clone() * normal.clone()).mean_dim(1);
    let x_gradient = (scaled.clone() - scaled.mean_dim(1) - normal * along) * inverse;
    (x_gradient, scale_gradient, offset_gradient)
}

/// (x − mean) / σ and 1/σ of each row.
fn layer_normal<B: Backend>(x: Tensor<B, 2>) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let inverse = (variance + LAYER_EPSILON).sqrt().recip();
    (centred * inverse.clone(), inverse)
}

pub(crate) fn mix<B: Backend>(
    x: Tensor<B, 2>,
    other: Tensor<B, 2>,
    weights: Tensor<B, 1>,
) -> Tensor<B, 2> {
    let [a, b] = scalars(weights);
    x * a + other * b
}

pub(crate) fn mix_backward<B: Backend>(
    x: Tensor<B, 2>,
    other: Tensor<B, 2>,
    weights: Tensor<B, 1>,
    gradient: Tensor<B, 2>,
) -> (Tensor<B, 2>, Tensor<B, 2>, Tensor<B, 1>) {
    let [a, b] = scalars(weights);
    let sums = [x, other].map(|stream| (stream * gradient.clone()).sum());
    (gradient.clone() * a, gradient * b, Tensor::cat(sums.to_vec(), 0))
}

/// [a, b] as two of [1, 1].
fn scalars<B: Backend>(weights: Tensor<B, 1>) -> [Tensor<B, 2>; 2] {
    [0, 1].map(|index| weights.clone().narrow(0, index, 1).unsqueeze())
}

pub(crate) fn convolve<B: Backend>(
    time: usize,
    x: Tensor<B, 2>,
    weights: Tensor<B, 1>,
) -> Tensor<B, 2> {
    let shape = x.shape();
    let x = sequences(time, x);
    let sum = taps(&weights, time).map(|(k, tap)| later(x.clone(), k) * tap);
    sum.reduce(|sum, more| sum + more).unwrap_or(x).reshape(shape)
}

pub(crate) fn convolve_backward<B: Backend>(
    time: usize,
    x: Tensor<B, 2>,
    weights: Tensor<B, 1>,
    gradient: Tensor<B, 2>,
) -> (Tensor<B, 2>, Tensor<B, 1>) {
    let (shape, [_, width]) = (x.shape(), x.dims());
    let (x, gradient) = (sequences(time, x), sequences(time, gradient));
    let back = taps(&weights, time).map(|(k, tap)| earlier(gradient.clone(), k) * tap);
    let back = back.reduce(|sum, more| sum + more).unwrap_or(x.clone()).reshape(shape);
    let of_tap = |k: usize| match k < time {
        true => (later(x.clone(), k) * gradient.clone()).sum_dim(0).sum_dim(1).reshape([width]),
        false => Tensor::zeros([width], &gradient.device()),
    };
    (back, Tensor::cat((0..CONVOLUTION_TAPS).map(of_tap).collect(), 0))
}

/// [rows, width] → [sequences, time, width].
fn sequences<B: Backend>(time: usize, x: Tensor<B, 2>) -> Tensor<B, 3> {
    let [rows, width] = x.dims();
    x.reshape([rows / time, time, width])
}

/// The taps that meet anything in sequences of this length, each [1, 1, width].
fn taps<B: Backend>(
    weights: &Tensor<B, 1>,
    time: usize,
) -> impl Iterator<Item = (usize, Tensor<B, 3>)> {
    let width = weights.dims()[0] / CONVOLUTION_TAPS;
    let tap = move |k: usize| (k, weights.clone().narrow(0, k * width, width).unsqueeze());
    (0..CONVOLUTION_TAPS.min(time)).map(tap)
}

/// What was so many tokens before, and zero before the beginning.
fn later<B: Backend>(x: Tensor<B, 3>, by: usize) -> Tensor<B, 3> {
    let [sequences, time, width] = x.dims();
    let nothing = Tensor::zeros([sequences, by, width], &x.device());
    if by == 0 { x } else { Tensor::cat(vec![nothing, x.narrow(1, 0, time - by)], 1) }
}

/// What comes so many tokens after, and zero after the end.
fn earlier<B: Backend>(x: Tensor<B, 3>, by: usize) -> Tensor<B, 3> {
    let [sequences, time, width] = x.dims();
    let nothing = Tensor::zeros([sequences, by, width], &x.device());
    if by == 0 { x } else { Tensor::cat(vec![x.narrow(1, by, time - by), nothing], 1) }
}

pub(crate) fn activate<B: Backend>(activation: Activation, x: Tensor<B, 2>) -> Tensor<B, 2> {
    match activation {
        Activation::SquaredRelu => {
            let positive = x.clamp_min(0.0);
            positive.clone() * positive
        }
        Activation::LeakySquaredRelu => {
            let leaky = x.clone().max_pair(x * 0.5);
            leaky.clone() * leaky
        }
        Activation::Gelu => {
            let tanh = gelu_tanh(x.clone());
            x * (tanh + 1.0) * 0.5
        }
    }
}

pub(crate) fn activate_backward<B: Backend>(
    activation: Activation,
    x: Tensor<B, 2>,
    gradient: Tensor<B, 2>,
) -> Tensor<B, 2> {
    match activation {
        Activation::SquaredRelu => x.clamp_min(0.0) * 2.0 * gradient,
        Activation::LeakySquaredRelu => (x.clone() * 2.0).max_pair(x * 0.5) * gradient,
        Activation::Gelu => {
            let tanh = gelu_tanh(x.clone());
            let slope = (x.clone() * x.clone() * (3.0 * GELU_CUBIC) + 1.0) * GELU_SCALE;
            let inner = x * (-(tanh.clone() * tanh.clone()) + 1.0) * slope;
            (tanh + 1.0 + inner) * 0.5 * gradient
        }
    }
}

fn gelu_tanh<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let cubed = x.clone() * x.clone() * x.clone();
    ((x + cubed * GELU_CUBIC) * GELU_SCALE).tanh()
}

pub(crate) fn adam_step<B: Backend>(
    settings: AdamSettings,
    gradient: Tensor<B, 1>,
    [weights, first, second]: [Tensor<B, 1>; 3],
) -> [Tensor<B, 1>; 3] {
    let AdamSettings { learning_rate, beta1, beta2, epsilon, step } = settings;
    let first = first * beta1 + gradient.clone() * (1.0 - beta1);
    let second = second * beta2 + gradient.clone() * gradient * (1.0 - beta2);
    let power = |beta: f64| 1.0 - beta.powf(step as f64);
    let mean = first.clone() / power(beta1);
    let root = (second.clone() / power(beta2)).sqrt() + epsilon;
    [weights - mean / root * learning_rate, first, second]
}

pub(crate) fn muon_step<B: Backend>(
    settings: MuonSettings,
    gradient: Tensor<B, 2>,
    [weights, momentum]: [Tensor<B, 2>; 2],
) -> [Tensor<B, 2>; 2] {
    let momentum = momentum * settings.momentum + gradient.clone();
    let ahead = momentum.clone() * settings.momentum + gradient;
    let [inputs, columns] = ahead.dims();
    let outputs = columns / settings.column_blocks;
    let parts = ahead.reshape([inputs, settings.column_blocks, outputs]).swap_dims(0, 1);
    let update = orthogonal(parts, settings.precision).swap_dims(0, 1).reshape([inputs, columns]);
    let factor = (outputs as f64 / inputs as f64).max(1.0).sqrt();
    let kept = 1.0 - settings.learning_rate * settings.weight_decay;
    [weights * kept - update * (settings.learning_rate * factor), momentum]
}

/// The nearest semi-orthogonal matrix of each of several, roughly: five Newton–Schulz steps.
fn orthogonal<B: Backend>(matrices: Tensor<B, 3>, precision: Precision) -> Tensor<B, 3> {
    let (a, b, c) = NEWTON_SCHULZ;
    let [_, rows, columns] = matrices.dims();
    let wide = rows <= columns;
    let mut x = if wide { matrices } else { matrices.swap_dims(1, 2) };
    let norm = (x.clone() * x.clone()).sum_dim(2).sum_dim(1).sqrt() + 1e-7;
    x = (x / norm).cast(number_type(precision));
    for _ in 0..NEWTON_SCHULZ_STEPS {
        let square = x.clone().matmul(x.clone().swap_dims(1, 2));
        let polynomial = square.clone() * b + square.clone().matmul(square) * c;
        x = x.clone() * a + polynomial.matmul(x);
    }
    let x = single(x);
    if wide { x } else { x.swap_dims(1, 2) }
}

/// burn's name of a precision.
pub(crate) fn number_type(precision: Precision) -> DType {
    match precision {
        Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
    }
}
