//! Each operation by burn's own, forward and backward: what a device without kernels of its own
//! runs, and what the kernels are tested against. Formulas are written out, so that a backward
//! pass keeps only its inputs.

use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use lmtrain_runs::recipe::Activation;

use super::{AdamSettings, Head, MuonSettings, ROPE_BASE};

const RMS_EPSILON: f64 = 1e-6;
const LAYER_EPSILON: f64 = 1e-5;
/// √(2/π), of GELU's tanh form.
const GELU_SCALE: f64 = 0.797_884_560_802_865_4;
const GELU_CUBIC: f64 = 0.044_715;
/// Newton–Schulz coefficients of Muon.
const NEWTON_SCHULZ: (f64, f64, f64) = (3.4445, -4.7750, 2.0315);
const NEWTON_SCHULZ_STEPS: usize = 5;

pub(super) fn embedding<B: Backend>(
    table: Tensor<B, 2>,
    tokens: Tensor<B, 1, Int>,
    scale: f64,
) -> Tensor<B, 2> {
    table.select(0, tokens) * scale
}

pub(super) fn embedding_backward<B: Backend>(
    rows: usize,
    tokens: Tensor<B, 1, Int>,
    scale: f64,
    gradient: Tensor<B, 2>,
) -> Tensor<B, 2> {
    let zeros = Tensor::zeros([rows, gradient.dims()[1]], &gradient.device());
    zeros.select_assign(0, tokens, gradient * scale, burn::tensor::IndexingUpdateOp::Add)
}

pub(super) fn rms_norm<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let inverse = inverse_rms(x.clone());
    x * inverse
}

pub(super) fn rms_norm_backward<B: Backend, const D: usize>(
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

pub(super) fn layer_norm<B: Backend>(
    x: Tensor<B, 2>,
    scale: Tensor<B, 1>,
    offset: Tensor<B, 1>,
) -> Tensor<B, 2> {
    let (normal, _) = layer_normal(x);
    normal * scale.unsqueeze() + offset.unsqueeze()
}

pub(super) fn layer_norm_backward<B: Backend>(
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

pub(super) fn activate<B: Backend>(activation: Activation, x: Tensor<B, 2>) -> Tensor<B, 2> {
    match activation {
        Activation::SquaredRelu => {
            let positive = x.clamp_min(0.0);
            positive.clone() * positive
        }
        Activation::Gelu => {
            let tanh = gelu_tanh(x.clone());
            x * (tanh + 1.0) * 0.5
        }
    }
}

pub(super) fn activate_backward<B: Backend>(
    activation: Activation,
    x: Tensor<B, 2>,
    gradient: Tensor<B, 2>,
) -> Tensor<B, 2> {
    match activation {
        Activation::SquaredRelu => x.clamp_min(0.0) * 2.0 * gradient,
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

/// Queries, keys and values as attention uses them, each [batch, heads, time, d], and the RMS norms
/// of queries and keys before gain and rotation.
struct Prepared<B: Backend> {
    query: Tensor<B, 4>,
    key: Tensor<B, 4>,
    value: Tensor<B, 4>,
    raw: [Tensor<B, 4>; 2],
}

fn prepare<B: Backend>(heads: usize, qkv: Tensor<B, 3>, gain: Option<Tensor<B, 1>>) -> Prepared<B> {
    let [raw_query, raw_key, value] = split_heads(heads, qkv);
    let raw = [raw_query.clone(), raw_key.clone()];
    let (query, key) = match gain {
        None => (raw_query, raw_key),
        Some(gain) => (rms_norm(raw_query) * per_head(gain), rms_norm(raw_key)),
    };
    let [_, _, time, dimension] = query.dims();
    let turn = rotation::<B>(time, dimension, &query.device());
    let (query, key) = (rotate(query, &turn, 1.0), rotate(key, &turn, 1.0));
    Prepared { query, key, value, raw }
}

/// [heads] → [1, heads, 1, 1].
fn per_head<B: Backend>(gain: Tensor<B, 1>) -> Tensor<B, 4> {
    let heads = gain.dims()[0];
    gain.reshape([1, heads, 1, 1])
}

fn split_heads<B: Backend>(heads: usize, qkv: Tensor<B, 3>) -> [Tensor<B, 4>; 3] {
    let [batch, time, triple] = qkv.dims();
    let dimension = triple / 3 / heads;
    let parts = qkv.reshape([batch, time, 3 * heads, dimension]).swap_dims(1, 2);
    [0, 1, 2].map(|part| parts.clone().narrow(1, part * heads, heads)) // [batch, heads, time, d]
}

/// Cosines and sines of the rotary angles, each [1, 1, time, d/2], computed in f64.
fn rotation<B: Backend>(time: usize, dimension: usize, device: &B::Device) -> [Tensor<B, 4>; 2] {
    let half = dimension / 2;
    let angle = |index: usize| {
        let (position, pair) = (index / half, index % half);
        position as f64 * ROPE_BASE.powf(-2.0 * pair as f64 / dimension as f64)
    };
    let table = |function: fn(f64) -> f64| {
        let values: Vec<f32> =
            (0..time * half).map(|index| function(angle(index)) as f32).collect();
        Tensor::from_data(TensorData::new(values, [1, 1, time, half]), device)
    };
    [table(f64::cos), table(f64::sin)]
}

/// Turns the pairs (i, i + d/2) by their position's angle, or back for `direction` −1.
fn rotate<B: Backend>(
    x: Tensor<B, 4>,
    [cosine, sine]: &[Tensor<B, 4>; 2],
    direction: f64,
) -> Tensor<B, 4> {
    let half = x.dims()[3] / 2;
    let (first, second) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
    let sine = sine.clone() * direction;
    let turned_first = first.clone() * cosine.clone() - second.clone() * sine.clone();
    let turned_second = second * cosine.clone() + first * sine;
    Tensor::cat(vec![turned_first, turned_second], 3)
}

/// Masked, scaled scores [batch, heads, time, time].
fn scores<B: Backend>(query: Tensor<B, 4>, key: Tensor<B, 4>) -> Tensor<B, 4> {
    let [_, _, time, dimension] = query.dims();
    let future = Tensor::<B, 2, burn::tensor::Bool>::tril_mask([time, time], 0, &query.device());
    let scores = query.matmul(key.swap_dims(2, 3)) / (dimension as f64).sqrt();
    scores.mask_fill(future.unsqueeze(), f32::NEG_INFINITY)
}

pub(super) fn attention<B: Backend>(
    heads: usize,
    qkv: Tensor<B, 3>,
    gain: Option<Tensor<B, 1>>,
) -> (Tensor<B, 3>, Tensor<B, 3>) {
    let prepared = prepare(heads, qkv, gain);
    let scores = scores(prepared.query, prepared.key);
    let top = scores.clone().max_dim(3);
    let exponentials = (scores - top.clone()).exp();
    let sums = exponentials.clone().sum_dim(3);
    let output = (exponentials / sums.clone()).matmul(prepared.value);
    (join_heads(output), (sums.log() + top).squeeze_dim(3))
}

/// [batch, heads, time, d] → [batch, time, heads · d].
fn join_heads<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 3> {
    let [batch, heads, time, dimension] = x.dims();
    x.swap_dims(1, 2).reshape([batch, time, heads * dimension])
}

/// The gradient through the soft-max as in FlashAttention (Dao et al., arXiv 2205.14135, B.4):
/// dS = P ∘ (dP − rowsum(dO ∘ O)).
pub(super) fn attention_backward<B: Backend>(
    heads: usize,
    qkv: Tensor<B, 3>,
    gain: Option<Tensor<B, 1>>,
    output: Tensor<B, 3>,
    log_sum: Tensor<B, 3>,
    gradient: Tensor<B, 3>,
) -> (Tensor<B, 3>, Option<Tensor<B, 1>>) {
    let Prepared { query, key, value, raw } = prepare(heads, qkv, gain.clone());
    let [batch, _, time, dimension] = query.dims();
    let by_head = |x: Tensor<B, 3>| x.reshape([batch, time, heads, dimension]).swap_dims(1, 2);
    let (output, gradient) = (by_head(output), by_head(gradient));
    let shares = (scores(query.clone(), key.clone()) - log_sum.unsqueeze_dim(3)).exp();
    let value_gradient = shares.clone().swap_dims(2, 3).matmul(gradient.clone());
    let along = (output * gradient.clone()).sum_dim(3);
    let share_gradient = gradient.matmul(value.swap_dims(2, 3));
    let score_gradient = shares * (share_gradient - along) / (dimension as f64).sqrt();
    let query_gradient = score_gradient.clone().matmul(key);
    let key_gradient = score_gradient.swap_dims(2, 3).matmul(query);

    let turn = rotation::<B>(time, dimension, &query_gradient.device());
    let query_gradient = rotate(query_gradient, &turn, -1.0);
    let key_gradient = rotate(key_gradient, &turn, -1.0);
    let [raw_query, raw_key] = raw;
    let (query_gradient, key_gradient, gain_gradient) = match gain {
        None => (query_gradient, key_gradient, None),
        Some(gain) => {
            let each = rms_norm(raw_query.clone()) * query_gradient.clone();
            let gain_gradient = each.swap_dims(0, 1).reshape([heads as i32, -1]).sum_dim(1);
            let query_gradient = rms_norm_backward(raw_query, query_gradient * per_head(gain));
            let key_gradient = rms_norm_backward(raw_key, key_gradient);
            (query_gradient, key_gradient, Some(gain_gradient.squeeze_dim(1)))
        }
    };
    let parts = [query_gradient, key_gradient, value_gradient].map(join_heads);
    (Tensor::cat(parts.to_vec(), 2), gain_gradient)
}

fn logits<B: Backend>(head: &Head<B>, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
    let mut logits = hidden.matmul(head.weights.clone());
    if let Some(bias) = &head.bias {
        logits = logits + bias.clone().unsqueeze();
    }
    match head.soft_cap {
        Some(cap) => (logits / cap).tanh() * cap,
        None => logits,
    }
}

pub(super) fn head_loss<B: Backend>(
    head: Head<B>,
    hidden: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    let logits = logits(&head, hidden);
    let top = logits.clone().max_dim(1);
    let log_sum = (logits.clone() - top.clone()).exp().sum_dim(1).log() + top;
    let chosen = logits.gather(1, targets.unsqueeze_dim(1));
    (log_sum - chosen).squeeze_dim(1)
}

pub(super) fn head_loss_backward<B: Backend>(
    head: Head<B>,
    hidden: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
    gradient: Tensor<B, 1>,
) -> (Tensor<B, 2>, Tensor<B, 2>, Option<Tensor<B, 1>>) {
    let logits = logits(&head, hidden.clone());
    let [rows, vocabulary] = logits.dims();
    let hit = Tensor::<B, 2>::zeros([rows, vocabulary], &logits.device()).scatter(
        1,
        targets.unsqueeze_dim(1),
        Tensor::ones([rows, 1], &logits.device()),
        burn::tensor::IndexingUpdateOp::Add,
    );
    let mut slope = (softmax(logits.clone(), 1) - hit) * gradient.unsqueeze_dim(1);
    if let Some(cap) = head.soft_cap {
        let tanh = logits / cap;
        slope = slope * (-(tanh.clone() * tanh) + 1.0);
    }
    let bias_gradient = head.bias.map(|_| slope.clone().sum_dim(0).squeeze_dim(0));
    let weight_gradient = hidden.transpose().matmul(slope.clone());
    (slope.matmul(head.weights.transpose()), weight_gradient, bias_gradient)
}

pub(super) fn adam_step<B: Backend>(
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

pub(super) fn muon_step<B: Backend>(
    settings: MuonSettings,
    gradient: Tensor<B, 2>,
    [weights, momentum]: [Tensor<B, 2>; 2],
) -> [Tensor<B, 2>; 2] {
    let momentum = momentum * settings.momentum + gradient.clone();
    let ahead = momentum.clone() * settings.momentum + gradient;
    let parts = ahead.chunk(settings.column_blocks, 1);
    let [inputs, outputs] = parts[0].dims();
    let update = Tensor::cat(parts.into_iter().map(orthogonal).collect(), 1);
    let factor = (outputs as f64 / inputs as f64).max(1.0).sqrt();
    let kept = 1.0 - settings.learning_rate * settings.weight_decay;
    [weights * kept - update * (settings.learning_rate * factor), momentum]
}

/// The nearest semi-orthogonal matrix, roughly: five Newton–Schulz steps.
fn orthogonal<B: Backend>(matrix: Tensor<B, 2>) -> Tensor<B, 2> {
    let (a, b, c) = NEWTON_SCHULZ;
    let [rows, columns] = matrix.dims();
    let wide = rows <= columns;
    let mut x = if wide { matrix } else { matrix.transpose() };
    let norm = (x.clone() * x.clone()).sum().sqrt() + 1e-7;
    x = x / norm.unsqueeze();
    for _ in 0..NEWTON_SCHULZ_STEPS {
        let square = x.clone().matmul(x.clone().transpose());
        let polynomial = square.clone() * b + square.clone().matmul(square) * c;
        x = x.clone() * a + polynomial.matmul(x);
    }
    if wide { x } else { x.transpose() }
}
