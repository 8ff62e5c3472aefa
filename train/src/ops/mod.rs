//! The operations that a network is made of, as a backend extension: [`Ops`] is what networks call,
//! [`Kernels`] what a device provides, forward and backward. `Autodiff<B>` turns the kernels of `B`
//! into nodes of the graph (`autodiff.rs`); the processor has kernels of its own (`cpu.rs`); any
//! other backend has burn's operations (`reference.rs`), which are also what tests compare with.

mod autodiff;
mod cpu;
pub mod reference;

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};
use lmtrain_runs::recipe::Activation;

/// Base of the rotary positions' wavelengths (RoPE, arXiv 2104.09864).
pub const ROPE_BASE: f64 = 10_000.0;

/// The head: hidden states to logits.
#[derive(Clone, Debug)]
pub struct Head<B: Backend> {
    /// [width, vocabulary].
    pub weights: Tensor<B, 2>,
    /// [vocabulary].
    pub bias: Option<Tensor<B, 1>>,
    /// Logits become c · tanh(logit / c).
    pub soft_cap: Option<f64>,
}

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

    /// x [rows, inputs] · weights [inputs, outputs].
    fn project(x: Tensor<Self, 2>, weights: Tensor<Self, 2>) -> Tensor<Self, 2>;

    /// Adds `bias` [width] to each row.
    fn add_bias(x: Tensor<Self, 2>, bias: Tensor<Self, 1>) -> Tensor<Self, 2>;

    /// The activation of each element.
    fn activate(activation: Activation, x: Tensor<Self, 2>) -> Tensor<Self, 2>;

    /// Causal self-attention of `qkv` [batch, time, 3 · width] (queries, keys, values, each heads ×
    /// head dimension) → [batch, time, width]. Queries and keys are turned by RoPE in half-split
    /// pairs (i, i + d/2); with `gain` [heads] they are RMS-normalised first, and the queries
    /// multiplied by their head's gain. Scores are scaled by 1/√d.
    fn attend(heads: usize, qkv: Tensor<Self, 3>, gain: Option<Tensor<Self, 1>>)
    -> Tensor<Self, 3>;

    /// −ln p(target) of each row: `hidden` [rows, width], `targets` [rows] → [rows].
    fn head_loss(
        head: Head<Self>,
        hidden: Tensor<Self, 2>,
        targets: Tensor<Self, 1, Int>,
    ) -> Tensor<Self, 1>;
}

/// Settings of an AdamW step (Loshchilov & Hutter, arXiv 1711.05101), without weight decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamSettings {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Steps done, this one included.
    pub step: u64,
}

/// Settings of a Muon step (K. Jordan, "Muon", 2024).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuonSettings {
    /// Step size, before the factor √max(1, outputs / inputs).
    pub learning_rate: f64,
    /// Decay of the momentum; the update is Nesterov's.
    pub momentum: f64,
    /// Decoupled weight decay, times the learning rate.
    pub weight_decay: f64,
    /// Matrices that lie side by side in one tensor, each orthogonalised by itself.
    pub column_blocks: usize,
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
        reference::embedding_backward(rows, tokens, scale, gradient)
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

    /// See [`Ops::project`].
    fn project_forward(x: Tensor<Self, 2>, weights: Tensor<Self, 2>) -> Tensor<Self, 2> {
        x.matmul(weights)
    }

    /// Gradient of x: gradient [rows, outputs] · weightsᵀ.
    fn project_input_backward(
        weights: Tensor<Self, 2>,
        gradient: Tensor<Self, 2>,
    ) -> Tensor<Self, 2> {
        gradient.matmul(weights.transpose())
    }

    /// Gradient of the weights: xᵀ · gradient.
    fn project_weight_backward(x: Tensor<Self, 2>, gradient: Tensor<Self, 2>) -> Tensor<Self, 2> {
        x.transpose().matmul(gradient)
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

    /// See [`Ops::attend`]; besides the output, what the backward pass needs of the soft-max:
    /// the logarithm of each row's sum, in the device's own form, [batch, heads, time].
    fn attend_forward(
        heads: usize,
        qkv: Tensor<Self, 3>,
        gain: Option<Tensor<Self, 1>>,
    ) -> (Tensor<Self, 3>, Tensor<Self, 3>) {
        reference::attention(heads, qkv, gain)
    }

    /// Gradients of qkv and gain.
    fn attend_backward(
        heads: usize,
        qkv: Tensor<Self, 3>,
        gain: Option<Tensor<Self, 1>>,
        output: Tensor<Self, 3>,
        log_sum: Tensor<Self, 3>,
        gradient: Tensor<Self, 3>,
    ) -> (Tensor<Self, 3>, Option<Tensor<Self, 1>>) {
        reference::attention_backward(heads, qkv, gain, output, log_sum, gradient)
    }

    /// See [`Ops::head_loss`].
    fn head_loss_forward(
        head: Head<Self>,
        hidden: Tensor<Self, 2>,
        targets: Tensor<Self, 1, Int>,
    ) -> Tensor<Self, 1> {
        reference::head_loss(head, hidden, targets)
    }

    /// Gradients of hidden states, weights and bias, for a gradient [rows] of the loss.
    fn head_loss_backward(
        head: Head<Self>,
        hidden: Tensor<Self, 2>,
        targets: Tensor<Self, 1, Int>,
        gradient: Tensor<Self, 1>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>, Option<Tensor<Self, 1>>) {
        reference::head_loss_backward(head, hidden, targets, gradient)
    }

    /// Σ x², one number that stays on the device.
    fn squared_norm(x: Tensor<Self, 1>) -> Tensor<Self, 1> {
        (x.clone() * x).sum()
    }

    /// One AdamW step: weights, first and second moment → the same, updated.
    fn adam_step(
        settings: AdamSettings,
        gradient: Tensor<Self, 1>,
        state: [Tensor<Self, 1>; 3],
    ) -> [Tensor<Self, 1>; 3] {
        reference::adam_step(settings, gradient, state)
    }

    /// One Muon step: weights [inputs, outputs] and momentum → the same, updated.
    fn muon_step(
        settings: MuonSettings,
        gradient: Tensor<Self, 2>,
        state: [Tensor<Self, 2>; 2],
    ) -> [Tensor<Self, 2>; 2] {
        reference::muon_step(settings, gradient, state)
    }
}
