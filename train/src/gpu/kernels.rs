//! The operations of networks by our own kernels: products, attention and the head's loss where the matrices of weights
//! are bf16; embeddings, norms and convolutions, which are f32 always, where our kernels know the width; and the
//! optimizers' steps. The rest is burn's.

use burn::tensor::{DType, Int, Tensor};

use super::Cuda;
use super::attention::{Attended, Attention};
use super::head::HalfHead;
use super::launch::{Held, halves, held, held_tokens, tensor};
use super::products::Product;
use super::{optimizer, rows};
use crate::ops::{
    AttentionHalf, AttentionKept, Head, HeadGradients, Heads, Kernels, MlpHalf, MuonStep,
    blocked_attention, blocked_rows, half_blocks, reference,
};

type Matrix = Tensor<Cuda, 2>;

/// Whether products of these weights are ours.
fn is_half<const D: usize>(weights: &Tensor<Cuda, D>) -> bool {
    weights.dtype() == DType::BF16
}

/// A matrix whose width our kernels of rows know.
fn is_wide(x: &Matrix) -> bool {
    x.dtype() == DType::F32 && x.dims()[1].is_multiple_of(8)
}

impl Kernels for Cuda {
    fn embed_forward(table: Matrix, tokens: Tensor<Self, 1, Int>, scale: f64) -> Matrix {
        match is_wide(&table) {
            true => tensor(rows::embed(&held(table), &held_tokens(tokens), scale)),
            false => reference::embedding(table, tokens, scale),
        }
    }

    fn embed_backward(
        rows: usize,
        tokens: Tensor<Self, 1, Int>,
        scale: f64,
        gradient: Matrix,
    ) -> Matrix {
        if !is_wide(&gradient) {
            return blocked_rows::embedding_backward(None, rows, tokens, scale, gradient);
        }
        tensor(rows::table_gradient(rows, &held_tokens(tokens), &held(gradient), scale))
    }

    fn normalize_rms_forward(x: Matrix) -> Matrix {
        match is_wide(&x) {
            true => tensor(rows::normalize(&held(x), DType::F32)),
            false => reference::rms_norm(x),
        }
    }

    fn normalize_rms_backward(x: Matrix, gradient: Matrix) -> Matrix {
        match is_wide(&x) && is_wide(&gradient) {
            true => tensor(rows::normalize_single_backward(&held(x), &held(gradient))),
            false => reference::rms_norm_backward(x, gradient),
        }
    }

    fn project_forward(x: Matrix, weights: Matrix) -> Matrix {
        match is_half(&weights) {
            true => tensor(Product::of(&rows::half(&held(x)), &held(weights)).single()),
            false => reference::single(reference::product(x, weights)),
        }
    }

    fn project_input_backward(weights: Matrix, gradient: Matrix) -> Matrix {
        match is_half(&weights) {
            true => tensor(Product::back(&rows::half(&held(gradient)), &held(weights)).single()),
            false => reference::single(reference::product(gradient, weights.transpose())),
        }
    }

    fn project_weight_backward(x: Matrix, gradient: Matrix, numbers: DType) -> Matrix {
        match numbers == DType::BF16 {
            true => tensor(
                Product::of_gradient(&rows::half(&held(x)), &rows::half(&held(gradient))).single(),
            ),
            false => reference::weight_gradient(x, gradient),
        }
    }

    fn convolve_forward(time: usize, x: Matrix, weights: Tensor<Self, 1>) -> Matrix {
        match is_wide(&x) {
            true => tensor(rows::convolve(time, &held(x), &held(weights))),
            false => reference::convolve(time, x, weights),
        }
    }

    fn convolve_backward(
        time: usize,
        x: Matrix,
        weights: Tensor<Self, 1>,
        gradient: Matrix,
    ) -> (Matrix, Tensor<Self, 1>) {
        if !is_wide(&x) || !is_wide(&gradient) {
            return reference::convolve_backward(time, x, weights, gradient);
        }
        let (x, taps) = rows::convolve_backward(time, &held(x), &held(weights), &held(gradient));
        (tensor(x), tensor(taps))
    }

    fn attend_forward(
        heads: Heads,
        qkv: Tensor<Self, 3>,
        gain: Option<Tensor<Self, 1>>,
    ) -> (Tensor<Self, 3>, Tensor<Self, 3>) {
        let [batch, time, triple] = qkv.dims();
        let Some(attention) = of_half(heads, &qkv, gain.is_some()) else {
            return blocked_attention::attention(None, heads, qkv, gain);
        };
        let (qkv, gain) = (held(qkv), gain.map(held));
        let turned = attention.prepare(&qkv, gain.as_ref());
        let Attended { mixed, log_sum } = attention.attend(&turned, &qkv);
        (tensor::<2>(mixed).reshape([batch, time, triple / 3]), tensor(log_sum))
    }

    fn attend_backward(
        heads: Heads,
        qkv: Tensor<Self, 3>,
        gain: Option<Tensor<Self, 1>>,
        output: Tensor<Self, 3>,
        log_sum: Tensor<Self, 3>,
        gradient: Tensor<Self, 3>,
    ) -> (Tensor<Self, 3>, Option<Tensor<Self, 1>>) {
        let shape = qkv.dims();
        let Some(attention) = of_half(heads, &qkv, gain.is_some()) else {
            let kept = AttentionKept { qkv, mixed: output, log_sum };
            return blocked_attention::attention_backward(None, heads, kept, gain, gradient);
        };
        let attended = Attended { mixed: held(output), log_sum: held(log_sum) };
        let (qkv, gain, upstream) = (held(qkv), gain.map(held), rows::half(&held(gradient)));
        let (gradients, gain) = attention.backward(&qkv, gain.as_ref(), &attended, &upstream);
        (tensor::<2>(gradients).reshape(shape), gain.map(tensor))
    }

    fn attention_half_forward(
        half: &AttentionHalf<Self>,
        x: Matrix,
    ) -> (Matrix, AttentionKept<Self>) {
        let ([rows, width], time) = (x.dims(), half.time);
        let shape = [rows / time, time, 3 * width];
        let known = Attention::of(half.heads, shape, half.gain.is_some());
        let Some(attention) = known.filter(|_| is_half(&half.qkv) && is_wide(&x)) else {
            return half_blocks::attention(half, x);
        };
        let (x, gain) = (held(x), half.gain.clone().map(held));
        let normed = rows::normalize(&x, DType::BF16);
        let qkv = Product::of(&normed, &held(half.qkv.clone())).half();
        let turned = attention.prepare(&qkv, gain.as_ref());
        let Attended { mixed, log_sum } = attention.attend(&turned, &qkv);
        let output = Product::of(&mixed, &held(half.proj.clone())).plus(&x);
        let kept = AttentionKept {
            qkv: tensor::<2>(qkv).reshape(shape),
            mixed: tensor::<2>(mixed).reshape([rows / time, time, width]),
            log_sum: tensor(log_sum),
        };
        (tensor(output), kept)
    }

    fn attention_half_backward(
        half: AttentionHalf<Self>,
        x: Matrix,
        kept: AttentionKept<Self>,
        gradient: Matrix,
    ) -> ([Matrix; 3], Option<Tensor<Self, 1>>) {
        let [rows, width] = x.dims();
        let known = Attention::of(half.heads, kept.qkv.dims(), half.gain.is_some());
        let Some(attention) = known.filter(|_| is_half(&half.qkv) && is_wide(&x)) else {
            return half_blocks::attention_backward(half, x, kept, gradient);
        };
        let (x, gradient) = (held(x), held(gradient));
        let (weights, proj) = (held(half.qkv), held(half.proj));
        let mixed = held(kept.mixed.reshape([rows, width]));
        let attended = Attended { mixed, log_sum: held(kept.log_sum) };
        let qkv = held(kept.qkv.reshape([rows, 3 * width]));
        let upstream = rows::round(&gradient);
        let proj_gradient = Product::of_gradient(&attended.mixed, &upstream).single();
        let upstream = Product::back(&upstream, &proj).half();
        let gain = half.gain.map(held);
        let (gradients, gain) = attention.backward(&qkv, gain.as_ref(), &attended, &upstream);
        let normed = rows::normalize(&x, DType::BF16);
        let qkv_gradient = Product::of_gradient(&normed, &gradients).single();
        let upstream = Product::back(&gradients, &weights).half();
        let x = rows::normalize_backward(&x, &upstream, &gradient);
        ([x, qkv_gradient, proj_gradient].map(tensor), gain.map(tensor))
    }

    /// Keeps what goes into the activation and what comes out of it, one after the other.
    fn mlp_half_forward(half: &MlpHalf<Self>, x: Matrix) -> (Matrix, Matrix) {
        if !is_half(&half.up) || !is_wide(&x) {
            return half_blocks::mlp(half, x);
        }
        let x = held(x);
        let normed = rows::normalize(&x, DType::BF16);
        let both = Product::of(&normed, &held(half.up.clone())).activated(half.activation);
        let [_, after] = halves(&both);
        let output = Product::of(&after, &held(half.down.clone())).plus(&x);
        (tensor(output), tensor(both))
    }

    fn mlp_half_backward(
        half: MlpHalf<Self>,
        x: Matrix,
        kept: Matrix,
        gradient: Matrix,
    ) -> [Matrix; 3] {
        if !is_half(&half.up) || !is_wide(&x) {
            return half_blocks::mlp_backward(half, x, kept, gradient);
        }
        let (x, gradient) = (held(x), held(gradient));
        let (up, down) = (held(half.up), held(half.down));
        let [before, after] = halves(&held(kept));
        let upstream = rows::round(&gradient);
        let down_gradient = Product::of_gradient(&after, &upstream).single();
        let upstream = Product::back(&upstream, &down).through_activation(half.activation, &before);
        let normed = rows::normalize(&x, DType::BF16);
        let up_gradient = Product::of_gradient(&normed, &upstream).single();
        let upstream = Product::back(&upstream, &up).half();
        let x = rows::normalize_backward(&x, &upstream, &gradient);
        [x, up_gradient, down_gradient].map(tensor)
    }

    fn mean_head_loss_with_gradients(
        head: Head<Self>,
        hidden: Matrix,
        targets: Tensor<Self, 1, Int>,
    ) -> (Tensor<Self, 1>, HeadGradients<Self>) {
        match is_half(&head.weights) {
            true => HalfHead::new(head, hidden, targets).mean_with_gradients(),
            false => blocked_rows::mean_head_loss_and_gradients(head, hidden, targets),
        }
    }

    fn head_loss_forward(
        head: Head<Self>,
        hidden: Matrix,
        targets: Tensor<Self, 1, Int>,
    ) -> Tensor<Self, 1> {
        match is_half(&head.weights) {
            true => HalfHead::new(head, hidden, targets).losses(),
            false => blocked_rows::head_loss(None, &head, hidden, targets),
        }
    }

    fn squared_norm(x: Tensor<Self, 1>) -> Tensor<Self, 1> {
        tensor(optimizer::squared_norms(&[held(x)]))
    }

    fn squared_norms(all: Vec<Tensor<Self, 1>>) -> Option<Tensor<Self, 1>> {
        let all: Vec<Held> = all.into_iter().map(held).collect();
        (!all.is_empty()).then(|| tensor(optimizer::squared_norms(&all)))
    }

    fn adam_step(
        settings: crate::ops::AdamSettings,
        gradient: Tensor<Self, 1>,
        scale: &Option<Tensor<Self, 1>>,
        state: [Tensor<Self, 1>; 3],
    ) -> [Tensor<Self, 1>; 3] {
        let gradient = held(gradient);
        let scale = optimizer::scale(scale, &gradient.device);
        optimizer::adam_step(settings, &gradient, &scale, state.map(held)).map(tensor)
    }

    fn muon_steps(steps: Vec<MuonStep<Self>>) -> Vec<[Matrix; 2]> {
        optimizer::muon_steps(steps)
    }
}

/// The attention of qkv in bf16, if the kernels know such heads.
fn of_half(heads: Heads, qkv: &Tensor<Cuda, 3>, has_gain: bool) -> Option<Attention> {
    Attention::of(heads, qkv.dims(), has_gain).filter(|_| is_half(qkv))
}
