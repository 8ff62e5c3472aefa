//! What operations are given besides their rows, and what they keep.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use lmtrain_engine::levels::{Bits, Scaled};
use lmtrain_runs::Precision;
use lmtrain_runs::recipe::Activation;

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

/// The heads of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// How many there are.
    pub count: usize,
    /// Dimensions of each that turn with the position, if not all: pairs (i, i + d/2) for i below half of it.
    pub rotated: Option<usize>,
}

impl Heads {
    /// Dimensions that turn, of so many.
    pub fn turning(self, dimensions: usize) -> usize {
        self.rotated.unwrap_or(dimensions)
    }

    /// So many heads, all of whose dimensions turn.
    #[cfg(test)]
    pub fn of(count: usize) -> Self {
        Self { count, rotated: None }
    }
}

/// The weights of a pre-norm block's attention half.
#[derive(Clone, Debug)]
pub struct AttentionHalf<B: Backend> {
    /// The heads.
    pub heads: Heads,
    /// Tokens of a sequence.
    pub time: usize,
    /// [width, 3 · width].
    pub qkv: Tensor<B, 2>,
    /// [heads].
    pub gain: Option<Tensor<B, 1>>,
    /// [width, width].
    pub proj: Tensor<B, 2>,
}

/// The weights of a pre-norm block's MLP half.
#[derive(Clone, Debug)]
pub struct MlpHalf<B: Backend> {
    /// Between the two matrices.
    pub activation: Activation,
    /// [width, 4 · width].
    pub up: Tensor<B, 2>,
    /// [4 · width, width].
    pub down: Tensor<B, 2>,
}

/// What attention's half of a block keeps for its backward pass.
#[derive(Clone, Debug)]
pub struct AttentionKept<B: Backend> {
    /// [batch, time, 3 · width].
    pub qkv: Tensor<B, 3>,
    /// Attention's output, before the projection: [batch, time, width].
    pub mixed: Tensor<B, 3>,
    /// See [`Kernels::attend_forward`]: [batch, heads, time].
    pub log_sum: Tensor<B, 3>,
}

/// Gradients of hidden states [rows, width], weights [width, vocabulary] and bias [vocabulary].
pub type HeadGradients<B> = (Tensor<B, 2>, Tensor<B, 2>, Option<Tensor<B, 1>>);

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
    /// Numbers to orthogonalise in.
    pub precision: Precision,
}

/// A matrix [inputs, outputs] that Muon steps on.
#[derive(Clone, Debug)]
pub struct MuonStep<B: Backend> {
    /// The settings.
    pub settings: MuonSettings,
    /// The gradient, before the scale.
    pub gradient: Tensor<B, 2>,
    /// What the gradient is multiplied by, [1].
    pub scale: Option<Tensor<B, 1>>,
    /// The weights.
    pub weights: Tensor<B, 2>,
    /// The momentum.
    pub momentum: Tensor<B, 2>,
}

/// How a matrix is rounded to levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounding {
    /// What shares a scale.
    pub scaled: Scaled,
    /// How many levels there are.
    pub bits: Bits,
}
