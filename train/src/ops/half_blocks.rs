//! The halves of a pre-norm block by burn's operations. The residual stream and the norms are f32;
//! products, attention's inputs and what is kept for the backward pass have the weights' type.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::reference::{
    activate, activate_backward, product, rms_norm, rms_norm_backward, single, weight_gradient,
};
use super::{AttentionHalf, AttentionKept, MlpHalf, blocked_attention};

pub(crate) fn attention<B: Backend>(
    half: &AttentionHalf<B>,
    x: Tensor<B, 2>,
) -> (Tensor<B, 2>, AttentionKept<B>) {
    let [rows, width] = x.dims();
    let qkv = product(rms_norm(x.clone()), half.qkv.clone()); // [rows, 3 · width]
    let qkv = qkv.reshape([rows / half.time, half.time, 3 * width]);
    let (mixed, log_sum) =
        blocked_attention::attention(None, half.heads, qkv.clone(), half.gain.clone());
    let output = product(mixed.clone().reshape([rows, width]), half.proj.clone());
    (x + single(output), AttentionKept { qkv, mixed, log_sum })
}

pub(crate) fn attention_backward<B: Backend>(
    half: AttentionHalf<B>,
    x: Tensor<B, 2>,
    kept: AttentionKept<B>,
    gradient: Tensor<B, 2>,
) -> ([Tensor<B, 2>; 3], Option<Tensor<B, 1>>) {
    let [rows, width] = x.dims();
    let shape = kept.mixed.shape();
    let proj = weight_gradient(kept.mixed.clone().reshape([rows, width]), gradient.clone());
    let upstream = product(gradient.clone(), half.proj.transpose()).reshape(shape);
    let (qkv, gain) =
        blocked_attention::attention_backward(None, half.heads, kept, half.gain, upstream);
    let qkv = qkv.reshape([rows, 3 * width]);
    let normed = rms_norm(x.clone()).cast(qkv.dtype());
    let weights = weight_gradient(normed, qkv.clone());
    let upstream = single(product(qkv, half.qkv.transpose()));
    ([gradient + rms_norm_backward(x, upstream), weights, proj], gain)
}

/// Keeps what goes into the activation.
pub(crate) fn mlp<B: Backend>(half: &MlpHalf<B>, x: Tensor<B, 2>) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let before = product(rms_norm(x.clone()), half.up.clone()); // [rows, 4 · width]
    let after = activate(half.activation, before.clone());
    (x + single(product(after, half.down.clone())), before)
}

pub(crate) fn mlp_backward<B: Backend>(
    half: MlpHalf<B>,
    x: Tensor<B, 2>,
    before: Tensor<B, 2>,
    gradient: Tensor<B, 2>,
) -> [Tensor<B, 2>; 3] {
    let down = weight_gradient(activate(half.activation, before.clone()), gradient.clone());
    let upstream = product(gradient.clone(), half.down.transpose());
    let upstream = activate_backward(half.activation, before, upstream);
    let normed = rms_norm(x.clone()).cast(upstream.dtype());
    let up = weight_gradient(normed, upstream.clone());
    let upstream = single(product(upstream, half.up.transpose()));
    [gradient + rms_norm_backward(x, upstream), up, down]
}
