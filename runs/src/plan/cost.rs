//! What a run costs: parameters, operations, memory.

use super::{CONVOLUTION_TAPS, Plan};
use crate::recipe::{Norm, ValueEmbeddings};
use crate::size::Size;
use crate::units::Bytes;

impl Plan {
    /// Parameters of embedding table and head.
    #[must_use]
    pub fn embedding_parameters(&self) -> u64 {
        let vocabulary = self.tokenization.vocabulary();
        let head_bias = if self.choices.biases { vocabulary } else { 0 };
        ((self.embedding_rows() + vocabulary) * self.size.width + head_bias) as u64
    }

    /// Every parameter: what the adjusted rate counts.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let (Size { width, layers, .. }, heads) = (self.size, self.heads());
        let choices = &self.choices;
        let norms = if choices.norm == Norm::PostLayer { 4 * width } else { 0 };
        let biases = if choices.biases { 5 * width } else { 0 };
        let gains = if choices.qk_norm { heads } else { 0 };
        let scalars = if choices.residual_scalars { 2 } else { 0 };
        let widths =
            usize::from(choices.block_convolution) + 3 * usize::from(choices.qkv_convolution);
        let each = norms + biases + gains + scalars + CONVOLUTION_TAPS * widths * width;
        let blocks = 0..layers;
        let skips = blocks.clone().filter(|block| choices.skip_from(*block, layers).is_some());
        let values = blocks.filter(|block| choices.has_values(*block, layers));
        let embedded = CONVOLUTION_TAPS * usize::from(choices.embedding_convolution) * width;
        let tables = values.count() * self.embedding_rows() * width;
        let extras = (layers * each + 2 * skips.count() + tables + embedded) as u64;
        self.size.core_parameters() + self.embedding_parameters() + extras
    }

    /// Floating-point operations to train on one token: three times the forward pass, which
    /// multiplies and adds once a weight outside the embedding table, and in causal attention
    /// meets half the context twice (scores and values).
    #[must_use]
    pub fn flops_per_token(&self) -> u64 {
        let weights =
            self.size.core_parameters() + (self.tokenization.vocabulary() * self.size.width) as u64;
        let attention = (2 * self.context * self.size.width * self.size.layers) as u64;
        3 * (2 * weights + attention)
    }

    /// Floating-point operations of the whole training.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn flops(&self) -> f64 {
        self.flops_per_token() as f64 * self.tokens() as f64
    }

    /// Numbers a token that a block keeps for its backward pass where these are chosen, in widths.
    fn chosen_widths(&self) -> usize {
        let choices = &self.choices;
        let values = choices.value_embeddings != ValueEmbeddings::None;
        let apart = choices.qkv_convolution || values;
        2 * usize::from(choices.residual_scalars)
            + 2 * usize::from(choices.block_convolution)
            + 3 * usize::from(choices.qkv_convolution)
            + 8 * usize::from(apart)
    }

    /// Memory that training takes, estimated: weights, gradients and two moments; of every token,
    /// what the backward pass keeps, in units of width: 10 numbers a layer and 26 once, or 34 a
    /// layer where the blocks are not fused, and a few for what else is chosen; all f32. (Measured at 200K, 3.2M and
    /// 38M: up to 20 % less.)
    #[must_use]
    pub fn memory_estimate(&self) -> Bytes {
        let state = 4 * self.parameters();
        let tokens = (self.batch as u64).saturating_mul(self.context as u64);
        let widths = match self.choices.norm {
            Norm::PreRms => (10 + self.chosen_widths()) * self.size.layers + 26,
            Norm::PostLayer => 34 * self.size.layers,
        };
        let a_token = widths * self.size.width + self.tokenization.vocabulary();
        Bytes(tokens.saturating_mul(a_token as u64).saturating_add(state).saturating_mul(4))
    }
}
