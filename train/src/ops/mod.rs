//! The operations that a network is made of, as a backend extension: [`Ops`] is what networks call,
//! [`Kernels`] what a device provides, forward and backward. `Autodiff<B>` turns the kernels of `B`
//! into nodes of the graph (`autodiff.rs`); the processor has kernels of its own (`cpu.rs`); any
//! other backend has burn's operations (`reference.rs`, `blocked_attention.rs`, `blocked_rows.rs`,
//! `half_blocks.rs`), which are also what tests compare with.

mod autodiff;
pub(crate) mod blocked_attention;
pub(crate) mod blocked_rows;
#[cfg(test)]
mod blocked_tests;
mod cpu;
pub(crate) mod half_blocks;
mod parts;
pub mod reference;
#[cfg(test)]
mod stream_tests;

#[cfg(feature = "cuda")]
pub(crate) use blocked_attention::angles;
pub use parts::{
    AdamSettings, AttentionHalf, AttentionKept, Head, HeadGradients, Heads, MlpHalf, MuonSettings,
    MuonStep, Rounding,
};
pub(crate) use reference::number_type;

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor};
use lmtrain_runs::recipe::Activation;

/// What networks call: forward only, differentiable where the backend is. Rows are tokens of all
/// sequences, [batch · time, …].
pub trait Ops: Backend {
    /// Rows of `table` [vocabulary, width] for `tokens` [rows], times `scale` → [rows, width].
    fn embed(table: Tensor<Self, 2>, tokens: Tensor<Self, 1, Int>, scale: f64) -> Tensor<Self, 2>;

    /// x / √(mean(x²) + 1e-6) for each row (Zhang & Sennrich, arXiv 1910.07467), without scale.
    fn normalize_rms(x: Tensor<Self, 2>) -> Tensor<Self, 2>;

    /// Layer norm with ε = 1e-5 (Ba et al., arXiv 1607.06450); `scale`, `offset` [width].
    fn normalize_layer(
        x: Tensor<Self, 2>,
        scale: Tensor<Self, 1>,
        offset: Tensor<Self, 1>,
    ) -> Tensor<Self, 2>;

    /// Weights rounded to levels and back: what a network of whole numbers computes with. Where it is differentiated,
    /// the gradient passes straight through (Bengio et al., arXiv 1308.3432).
    fn round(rounding: Rounding, weights: Tensor<Self, 2>) -> Tensor<Self, 2>;

    /// x [rows, inputs] · weights [inputs, outputs].
    fn project(x: Tensor<Self, 2>, weights: Tensor<Self, 2>) -> Tensor<Self, 2>;

    /// Adds `bias` [width] to each row.
    fn add_bias(x: Tensor<Self, 2>, bias: Tensor<Self, 1>) -> Tensor<Self, 2>;

    /// The activation of each element.
    fn activate(activation: Activation, x: Tensor<Self, 2>) -> Tensor<Self, 2>;

    /// a · x + b · other for `weights` [a, b]; x and other [rows, width].
    fn mix(x: Tensor<Self, 2>, other: Tensor<Self, 2>, weights: Tensor<Self, 1>)
    -> Tensor<Self, 2>;

    /// Σ w_k · x_(t − k) for each column of sequences of `time` rows, k from 0 to 3: x [rows, width], `weights`
    /// [4 · width] → [rows, width].
    fn convolve(time: usize, x: Tensor<Self, 2>, weights: Tensor<Self, 1>) -> Tensor<Self, 2>;

    /// Causal self-attention of `qkv` [batch, time, 3 · width] (queries, keys, values, each heads ×
    /// head dimension) → [batch, time, width]. Queries and keys are turned by RoPE in half-split
    /// pairs (i, i + d/2); with `gain` [heads] they are RMS-normalised first, and the queries
    /// multiplied by their head's gain. Scores are scaled by 1/√d.
    fn attend(heads: Heads, qkv: Tensor<Self, 3>, gain: Option<Tensor<Self, 1>>)
    -> Tensor<Self, 3>;

    /// x + attention(RMS-normed x) · proj: half a pre-norm block; x [rows, width] → the same.
    fn attention_half(half: AttentionHalf<Self>, x: Tensor<Self, 2>) -> Tensor<Self, 2>;

    /// x + activation(RMS-normed x · up) · down: the other half; x [rows, width] → the same.
    fn mlp_half(half: MlpHalf<Self>, x: Tensor<Self, 2>) -> Tensor<Self, 2>;

    /// −ln p(target) of each row: `hidden` [rows, width], `targets` [rows] → [rows].
    fn head_loss(
        head: Head<Self>,
        hidden: Tensor<Self, 2>,
        targets: Tensor<Self, 1, Int>,
    ) -> Tensor<Self, 1>;

    /// The mean of [`Ops::head_loss`] over the rows, one number. Where it is differentiated, its
    /// gradients are made in the same pass.
    fn mean_head_loss(
        head: Head<Self>,
        hidden: Tensor<Self, 2>,
        targets: Tensor<Self, 1, Int>,
    ) -> Tensor<Self, 1>;
}

/// What a device provides: each operation of [`Ops`], its backward pass, and the optimizers' steps.
/// The defaults are burn's operations.
pub trait Kernels: Backend {
    /// See [`Ops::embed`].
    fn embed_forward(
        table: Tensor<Self, 2>,
        tokens: Tensor<Self, 1, Int>,
        scale: f64,
    ) -> Tensor<Self, 2> {
        reference::embedding(table, tokens, scale)
    }

    /// Gradient of the table of `rows` rows.
    fn embed_backward(
        rows: usize,
        tokens: Tensor<Self, 1, Int>,
        scale: f64,
        gradient: Tensor<Self, 2>,
    ) -> Tensor<Self, 2> {
        blocked_rows::embedding_backward(None, rows, tokens, scale, gradient)
    }

    /// See [`Ops::normalize_rms`].
    fn normalize_rms_forward(x: Tensor<Self, 2>) -> Tensor<Self, 2> {
        reference::rms_norm(x)
    }

    /// Gradient of x.
    fn normalize_rms_backward(x: Tensor<Self, 2>, gradient: Tensor<Self, 2>) -> Tensor<Self, 2> {
        reference::rms_norm_backward(x, gradient)
    }

    /// See [`Ops::normalize_layer`].
    fn normalize_layer_forward(
        x: Tensor<Self, 2>,
        scale: Tensor<Self, 1>,
        offset: Tensor<Self, 1>,
    ) -> Tensor<Self, 2> {
        reference::layer_norm(x, scale, offset)
    }

    /// Gradients of x, scale and offset.
    fn normalize_layer_backward(
        x: Tensor<Self, 2>,
        scale: Tensor<Self, 1>,
        gradient: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 1>, Tensor<Self, 1>) {
        reference::layer_norm_backward(x, scale, gradient)
    }

    /// See [`Ops::round`].
    fn round_forward(rounding: Rounding, weights: Tensor<Self, 2>) -> Tensor<Self, 2> {
        reference::round(rounding, weights)
    }

    /// See [`Ops::project`].
    fn project_forward(x: Tensor<Self, 2>, weights: Tensor<Self, 2>) -> Tensor<Self, 2> {
        reference::single(reference::product(x, weights))
    }

    /// Gradient of x: gradient [rows, outputs] · weightsᵀ.
    fn project_input_backward(
        weights: Tensor<Self, 2>,
        gradient: Tensor<Self, 2>,
    ) -> Tensor<Self, 2> {
        reference::single(reference::product(gradient, weights.transpose()))
    }

    /// Gradient of weights in these numbers: xᵀ · gradient. The default multiplies in those of x.
    fn project_weight_backward(
        x: Tensor<Self, 2>,
        gradient: Tensor<Self, 2>,
        _numbers: DType,
    ) -> Tensor<Self, 2> {
        reference::weight_gradient(x, gradient)
    }

    /// See [`Ops::add_bias`].
    fn add_bias_forward(x: Tensor<Self, 2>, bias: Tensor<Self, 1>) -> Tensor<Self, 2> {
        x + bias.unsqueeze()
    }

    /// Gradient of a bias: the sum over rows.
    fn add_bias_backward(gradient: Tensor<Self, 2>) -> Tensor<Self, 1> {
        gradient.sum_dim(0).squeeze_dim(0)
    }

    /// See [`Ops::activate`].
    fn activate_forward(activation: Activation, x: Tensor<Self, 2>) -> Tensor<Self, 2> {
        reference::activate(activation, x)
    }

    /// Gradient of x, the activation's input.
    fn activate_backward(
        activation: Activation,
        x: Tensor<Self, 2>,
        gradient: Tensor<Self, 2>,
    ) -> Tensor<Self, 2> {
        reference::activate_backward(activation, x, gradient)
    }

    /// See [`Ops::mix`].
    fn mix_forward(
        x: Tensor<Self, 2>,
        other: Tensor<Self, 2>,
        weights: Tensor<Self, 1>,
    ) -> Tensor<Self, 2> {
        reference::mix(x, other, weights)
    }

    /// Gradients of x, other and weights.
    fn mix_backward(
        x: Tensor<Self, 2>,
        other: Tensor<Self, 2>,
        weights: Tensor<Self, 1>,
        gradient: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>, Tensor<Self, 1>) {
        reference::mix_backward(x, other, weights, gradient)
    }

    /// See [`Ops::convolve`].
    fn convolve_forward(
        time: usize,
        x: Tensor<Self, 2>,
        weights: Tensor<Self, 1>,
    ) -> Tensor<Self, 2> {
        reference::convolve(time, x, weights)
    }

    /// Gradients of x and weights.
    fn convolve_backward(
        time: usize,
        x: Tensor<Self, 2>,
        weights: Tensor<Self, 1>,
        gradient: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 1>) {
        reference::convolve_backward(time, x, weights, gradient)
    }

    /// See [`Ops::attend`]; besides the output, what the backward pass needs of the soft-max:
    /// the logarithm of each row's sum, in the device's own form, [batch, heads, time].
    fn attend_forward(
        heads: Heads,
        qkv: Tensor<Self, 3>,
        gain: Option<Tensor<Self, 1>>,
    ) -> (Tensor<Self, 3>, Tensor<Self, 3>) {
        blocked_attention::attention(None, heads, qkv, gain)
    }

    /// Gradients of qkv and gain.
    fn attend_backward(
        heads: Heads,
        qkv: Tensor<Self, 3>,
        gain: Option<Tensor<Self, 1>>,
        output: Tensor<Self, 3>,
        log_sum: Tensor<Self, 3>,
        gradient: Tensor<Self, 3>,
    ) -> (Tensor<Self, 3>, Option<Tensor<Self, 1>>) {
        let kept = AttentionKept { qkv, mixed: output, log_sum };
        blocked_attention::attention_backward(None, heads, kept, gain, gradient)
    }

    /// See [`Ops::attention_half`]; besides the output, what the backward pass needs.
    fn attention_half_forward(
        half: &AttentionHalf<Self>,
        x: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, AttentionKept<Self>) {
        half_blocks::attention(half, x)
    }

    /// Gradients of x, qkv, proj and gain.
    fn attention_half_backward(
        half: AttentionHalf<Self>,
        x: Tensor<Self, 2>,
        kept: AttentionKept<Self>,
        gradient: Tensor<Self, 2>,
    ) -> ([Tensor<Self, 2>; 3], Option<Tensor<Self, 1>>) {
        half_blocks::attention_backward(half, x, kept, gradient)
    }

    /// See [`Ops::mlp_half`]; besides the output, what the backward pass needs: the activation's
    /// values, or what they were made of, in the device's own way.
    fn mlp_half_forward(
        half: &MlpHalf<Self>,
        x: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        half_blocks::mlp(half, x)
    }

    /// Gradients of x, up and down.
    fn mlp_half_backward(
        half: MlpHalf<Self>,
        x: Tensor<Self, 2>,
        kept: Tensor<Self, 2>,
        gradient: Tensor<Self, 2>,
    ) -> [Tensor<Self, 2>; 3] {
        half_blocks::mlp_backward(half, x, kept, gradient)
    }

    /// See [`Ops::mean_head_loss`]; besides the loss, its gradients with respect to hidden states,
    /// weights and bias.
    fn mean_head_loss_with_gradients(
        head: Head<Self>,
        hidden: Tensor<Self, 2>,
        targets: Tensor<Self, 1, Int>,
    ) -> (Tensor<Self, 1>, HeadGradients<Self>) {
        blocked_rows::mean_head_loss_and_gradients(head, hidden, targets)
    }

    /// See [`Ops::head_loss`].
    fn head_loss_forward(
        head: Head<Self>,
        hidden: Tensor<Self, 2>,
        targets: Tensor<Self, 1, Int>,
    ) -> Tensor<Self, 1> {
        blocked_rows::head_loss(None, &head, hidden, targets)
    }

    /// Gradients of hidden states, weights and bias, for a gradient [rows] of the loss.
    fn head_loss_backward(
        head: Head<Self>,
        hidden: Tensor<Self, 2>,
        targets: Tensor<Self, 1, Int>,
        gradient: Tensor<Self, 1>,
    ) -> HeadGradients<Self> {
        blocked_rows::head_loss_and_gradients(None, &head, hidden, targets, gradient).1
    }

    /// Σ x², one number that stays on the device.
    fn squared_norm(x: Tensor<Self, 1>) -> Tensor<Self, 1> {
        (x.clone() * x).sum()
    }

    /// Σ x² of several tensors together; none of none.
    fn squared_norms(all: Vec<Tensor<Self, 1>>) -> Option<Tensor<Self, 1>> {
        all.into_iter().map(Self::squared_norm).reduce(|sum, more| sum + more)
    }

    /// One AdamW step for the gradient times `scale` [1]: weights, first and second moment → the same, updated.
    fn adam_step(
        settings: AdamSettings,
        gradient: Tensor<Self, 1>,
        scale: &Option<Tensor<Self, 1>>,
        state: [Tensor<Self, 1>; 3],
    ) -> [Tensor<Self, 1>; 3] {
        reference::adam_step(settings, scaled(gradient, scale), state)
    }

    /// One Muon step: weights [inputs, outputs] and momentum → the same, updated.
    fn muon_step(
        settings: MuonSettings,
        gradient: Tensor<Self, 2>,
        state: [Tensor<Self, 2>; 2],
    ) -> [Tensor<Self, 2>; 2] {
        reference::muon_step(settings, gradient, state)
    }

    /// A Muon step of each, in their order: weights and momentum, updated.
    fn muon_steps(steps: Vec<MuonStep<Self>>) -> Vec<[Tensor<Self, 2>; 2]> {
        steps.into_iter().map(single_muon_step).collect()
    }
}

/// A Muon step of one matrix, by the device's [`Kernels::muon_step`]: weights and momentum, updated.
pub(crate) fn single_muon_step<B: Kernels>(step: MuonStep<B>) -> [Tensor<B, 2>; 2] {
    let MuonStep { settings, gradient, scale, weights, momentum } = step;
    B::muon_step(settings, scaled(gradient, &scale), [weights, momentum])
}

/// Times a number that is on the device, if there is one.
pub(crate) fn scaled<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    scale: &Option<Tensor<B, 1>>,
) -> Tensor<B, D> {
    match scale {
        Some(scale) => x * scale.clone().unsqueeze(),
        None => x,
    }
}
