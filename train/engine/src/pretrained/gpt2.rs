//! GPT-2 (Radford et al. 2019), as `GPT2LMHeadModel` saves it.
//!
//! | configuration | what it is |
//! | --- | --- |
//! | `n_embd`, `n_layer`, `n_head`, `n_positions` | width, layers, heads, context |
//! | `n_inner` | width of the MLP; 4·`n_embd` if absent |
//! | `activation_function` | `gelu_new` if absent |
//! | `layer_norm_epsilon` | ε; 1e-5 if absent |
//! | `scale_attn_weights` | scores over √head; true if absent |
//! | `scale_attn_by_inverse_layer_idx` | scores also over the layer's number from 1 |
//! | `tie_word_embeddings` | the head is the embedding; true if absent |
//!
//! | tensor (after `transformer.`) | where it goes |
//! | --- | --- |
//! | `wte.weight`, `wpe.weight` | embedding [tokens, width], learned positions [context, width] |
//! | `h.N.ln_1.*`, `h.N.ln_2.*`, `ln_f.*` | layer norms: scale `weight`, offset `bias` |
//! | `h.N.attn.c_attn.*` | queries, keys, values [width, 3·width] by parts, heads within |
//! | `h.N.attn.c_proj.*` | mixing [width, width] |
//! | `h.N.mlp.c_fc.*`, `h.N.mlp.c_proj.*` | up [width, inner], down [inner, width] |
//! | `lm_head.weight` (no prefix) | head, unless tied |
//!
//! The matrices of layers lie [inputs, outputs] (Conv1D).

use super::catalogue::gate;
use super::config::Config;
use super::error::PretrainedError;
use super::heads::HeadShape;
use super::matrix::{Inputs, Lies};
use super::weights::Weights;
use crate::{Layer, Order, Transformer};
use lmtrain_kernels::{AttentionHeads, Gate, PackedWeights, RowNorm};
use lmtrain_runs::plan::MOST_CONTEXT;

struct Gpt2<'a> {
    config: &'a Config,
    weights: &'a Weights,
    base: &'static str,
    width: usize,
    filled: usize,
    inner: usize,
    shape: HeadShape,
    epsilon: f32,
    activation: Gate,
}

/// Builds the network.
pub(super) fn read(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let (width, heads) = (config.count("n_embd")?, config.count("n_head")?);
    if !width.is_multiple_of(heads) {
        return Err(config.refuse(format!("`n_embd` {width} is no multiple of `n_head` {heads}")));
    }
    config.must_not_be_set("add_cross_attention", &[])?;
    let shape = HeadShape { heads, key_heads: heads, dimension: width / heads, rotated: 0 };
    let gpt2 = Gpt2 {
        config,
        weights,
        base: weights.base("transformer.", "wte.weight"),
        width,
        filled: width.next_multiple_of(16),
        inner: config.count_if_any("n_inner")?.unwrap_or(4 * width),
        shape: shape.checked(config)?,
        epsilon: config.number_or("layer_norm_epsilon", 1e-5)? as f32,
        activation: gate(config, "activation_function", "gelu_new")?,
    };
    gpt2.network()
}

impl Gpt2<'_> {
    fn network(&self) -> Result<Transformer, PretrainedError> {
        let Self { config, weights, base, width, filled, .. } = *self;
        let tied = config.flag_or("tie_word_embeddings", true)?;
        let names = [&*format!("{base}wte.weight"), "lm_head.weight"];
        let (embedding, head) = weights.ends(names, [width, filled], tied)?;
        let table = config.count_or("n_positions", 1024)?;
        let context = table.min(MOST_CONTEXT);
        let mut positions = weights.table(&format!("{base}wpe.weight"), [table, width], filled)?;
        positions.truncate(context * filled);
        let layers = (0..config.count("n_layer")?).map(|index| self.layer(index));
        Ok(Transformer {
            embedding_convolution: None,
            width: filled,
            context,
            embedding,
            embedding_scale: 1.0,
            positions: Some(positions),
            embedding_norm: None,
            rotary: None,
            order: Order::PreNorm,
            layers: layers.collect::<Result<_, _>>()?,
            final_norm: Some(self.norm("ln_f")?),
            head,
            soft_cap: None,
        })
    }

    fn layer(&self, index: usize) -> Result<Layer, PretrainedError> {
        let Self { width, filled, inner, .. } = *self;
        let h = format!("h.{index}");
        let stride = inner.next_multiple_of(16);
        Ok(Layer {
            entry: Default::default(),
            between: Default::default(),
            attention_norm: Some(self.norm(&format!("{h}.ln_1"))?),
            heads: self.heads(index)?,
            qkv: self.qkv(&format!("{h}.attn.c_attn"))?,
            mixing: self.mixing(&format!("{h}.attn.c_proj"))?,
            mlp_norm: Some(self.norm(&format!("{h}.ln_2"))?),
            gate: None,
            up: self.linear(&format!("{h}.mlp.c_fc"), [width, inner], [filled, inner])?,
            activation: self.activation,
            down: self.linear(&format!("{h}.mlp.c_proj"), [inner, width], [stride, filled])?,
        })
    }

    fn norm(&self, name: &str) -> Result<RowNorm, PretrainedError> {
        let vector = |end| self.weights.vector(&format!("{}{name}.{end}", self.base), self.width);
        Ok(RowNorm::Layer {
            scale: vector("weight")?,
            offset: vector("bias")?,
            epsilon: self.epsilon,
        })
    }

    fn heads(&self, index: usize) -> Result<AttentionHeads, PretrainedError> {
        let scaled = self.config.flag_or("scale_attn_weights", true)?;
        let by_layer = self.config.flag_or("scale_attn_by_inverse_layer_idx", false)?;
        let scale = AttentionHeads::score_scale(if scaled { self.shape.dimension } else { 1 });
        let scale = if by_layer { scale / (index + 1) as f32 } else { scale };
        Ok(self.shape.attention(scale, None, None))
    }

    fn linear(
        &self,
        name: &str,
        shape: [usize; 2],
        filled: [usize; 2],
    ) -> Result<PackedWeights, PretrainedError> {
        let name = format!("{}{name}", self.base);
        let packed = self.weights.plain(&format!("{name}.weight"), Lies::Inputs, shape, filled)?;
        let mut bias = self.weights.vector(&format!("{name}.bias"), shape[1])?;
        bias.resize(filled[1], 0.0);
        Ok(packed.with_bias(&bias))
    }

    fn qkv(&self, name: &str) -> Result<PackedWeights, PretrainedError> {
        let (weights, width, shape) = (self.weights, self.width, self.shape);
        let name = format!("{}{name}", self.base);
        let matrix = weights.matrix(&format!("{name}.weight"), Lies::Inputs, [width, 3 * width])?;
        let bias = weights.vector(&format!("{name}.bias"), 3 * width)?;
        let source = |place| {
            let (part, head, number) = shape.source(place)?;
            Some(part as usize * width + head * shape.dimension + number)
        };
        let inputs = Inputs::First(width, self.filled);
        let from = |place| source(place).map(|output| (0, output));
        let packed = weights.pack(&[matrix], &inputs, shape.row(), from);
        let bias: Vec<f32> = (0..shape.row())
            .map(|place| source(place).map_or(0.0, |output| bias[output]))
            .collect();
        Ok(packed.with_bias(&bias))
    }

    fn mixing(&self, name: &str) -> Result<PackedWeights, PretrainedError> {
        let (weights, width) = (self.weights, self.width);
        let name = format!("{}{name}", self.base);
        let matrix = weights.matrix(&format!("{name}.weight"), Lies::Inputs, [width, width])?;
        let mut bias = weights.vector(&format!("{name}.bias"), width)?;
        bias.resize(self.filled, 0.0);
        let inputs = Inputs::Placed(self.shape.mixed(), width);
        let source = |output| (output < width).then_some((0, output));
        Ok(weights.pack(&[matrix], &inputs, self.filled, source).with_bias(&bias))
    }
}
