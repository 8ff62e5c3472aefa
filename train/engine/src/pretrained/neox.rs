//! GPT-NeoX (Black et al. 2022), which Pythia is, as `GPTNeoXForCausalLM` saves it.
//!
//! | configuration | what it is |
//! | --- | --- |
//! | `hidden_size`, `num_hidden_layers`, `num_attention_heads`, `intermediate_size`, `max_position_embeddings` | width, layers, heads, width of the MLP, context |
//! | `rotary_pct`, else `rope_parameters.partial_rotary_factor` | the part of a head that turns; 0.25 if absent |
//! | `rotary_emb_base`, `rope_scaling`, else `rope_parameters` | how it turns |
//! | `use_parallel_residual` | attention and MLP of the same x; true if absent |
//! | `hidden_act` | `gelu` if absent |
//! | `layer_norm_eps`, `attention_bias` | ε, 1e-5 if absent; biases of the attention, true if absent |
//! | `tie_word_embeddings` | the head is the embedding; false if absent |
//!
//! | tensor (after `gpt_neox.`) | where it goes |
//! | --- | --- |
//! | `embed_in.weight` | embedding [tokens, width] |
//! | `layers.N.input_layernorm.*`, `layers.N.post_attention_layernorm.*`, `final_layer_norm.*` | layer norms |
//! | `layers.N.attention.query_key_value.*` | [3·width, width] by heads, the three parts within each |
//! | `layers.N.attention.dense.*` | mixing |
//! | `layers.N.mlp.dense_h_to_4h.*`, `layers.N.mlp.dense_4h_to_h.*` | up, down |
//! | `embed_out.weight` (no prefix) | head, unless tied |

use super::catalogue::gate;
use super::config::Config;
use super::error::PretrainedError;
use super::heads::HeadShape;
use super::matrix::{Inputs, Lies};
use super::rope::Rope;
use super::weights::Weights;
use crate::{Layer, Order, Transformer};
use lmtrain_kernels::{AttentionHeads, Gate, PackedWeights, RotaryTable, RowNorm};
use lmtrain_runs::plan::MOST_CONTEXT;

struct NeoX<'a> {
    config: &'a Config,
    weights: &'a Weights,
    base: &'static str,
    width: usize,
    filled: usize,
    inner: usize,
    shape: HeadShape,
    rope: Rope,
    epsilon: f32,
    activation: Gate,
    attention_bias: bool,
}

/// Builds the network.
pub(super) fn read(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let (width, heads) = (config.count("hidden_size")?, config.count("num_attention_heads")?);
    if !width.is_multiple_of(heads) {
        let why = format!("`hidden_size` {width} is no multiple of `num_attention_heads` {heads}");
        return Err(config.refuse(why));
    }
    let dimension = width / heads;
    let rope = Rope::read(config, "rotary_emb_base")?;
    let part = match rope.partial {
        Some(part) => part,
        None => config.number_or("rotary_pct", 0.25)?,
    };
    // As transformers' cut.
    let rotated = (dimension as f64 * part) as usize;
    let shape = HeadShape { heads, key_heads: heads, dimension, rotated };
    let neox = NeoX {
        config,
        weights,
        base: weights.base("gpt_neox.", "embed_in.weight"),
        width,
        filled: width.next_multiple_of(16),
        inner: config.count("intermediate_size")?,
        shape: shape.checked(config)?,
        rope,
        epsilon: config.number_or("layer_norm_eps", 1e-5)? as f32,
        activation: gate(config, "hidden_act", "gelu")?,
        attention_bias: config.flag_or("attention_bias", true)?,
    };
    neox.network()
}

impl NeoX<'_> {
    fn network(&self) -> Result<Transformer, PretrainedError> {
        let Self { config, weights, base, width, filled, .. } = *self;
        let tied = config.flag_or("tie_word_embeddings", false)?;
        let names = [&*format!("{base}embed_in.weight"), "embed_out.weight"];
        let (embedding, head) = weights.ends(names, [width, filled], tied)?;
        let context = config.count_or("max_position_embeddings", 2048)?.min(MOST_CONTEXT);
        let layers = (0..config.count("num_hidden_layers")?).map(|index| self.layer(index));
        let layers = layers.collect::<Result<_, _>>()?;
        let parallel = config.flag_or("use_parallel_residual", true)?;
        let HeadShape { dimension, rotated, .. } = self.shape;
        Ok(Transformer {
            embedding_convolution: None,
            width: filled,
            context,
            embedding,
            embedding_scale: 1.0,
            positions: None,
            embedding_norm: None,
            rotary: Some(RotaryTable::new(&self.rope.frequencies(dimension, rotated), context)),
            order: if parallel { Order::Parallel } else { Order::PreNorm },
            layers,
            final_norm: Some(self.norm("final_layer_norm")?),
            head,
            soft_cap: None,
        })
    }

    fn layer(&self, index: usize) -> Result<Layer, PretrainedError> {
        let Self { width, filled, inner, shape, .. } = *self;
        let layer = format!("layers.{index}");
        let scale = AttentionHeads::score_scale(shape.dimension);
        let stride = inner.next_multiple_of(16);
        let up = format!("{layer}.mlp.dense_h_to_4h");
        let down = format!("{layer}.mlp.dense_4h_to_h");
        Ok(Layer {
            entry: Default::default(),
            between: Default::default(),
            attention_norm: Some(self.norm(&format!("{layer}.input_layernorm"))?),
            heads: shape.attention(scale, None, None),
            qkv: self.qkv(&format!("{layer}.attention.query_key_value"))?,
            mixing: self.mixing(&format!("{layer}.attention.dense"))?,
            mlp_norm: Some(self.norm(&format!("{layer}.post_attention_layernorm"))?),
            gate: None,
            up: self.linear(&up, [width, inner], [filled, inner])?,
            activation: self.activation,
            down: self.linear(&down, [inner, width], [stride, filled])?,
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

    fn linear(
        &self,
        name: &str,
        shape: [usize; 2],
        filled: [usize; 2],
    ) -> Result<PackedWeights, PretrainedError> {
        let name = format!("{}{name}", self.base);
        let packed = self.weights.plain(&format!("{name}.weight"), Lies::Outputs, shape, filled)?;
        let mut bias = self.weights.vector(&format!("{name}.bias"), shape[1])?;
        bias.resize(filled[1], 0.0);
        Ok(packed.with_bias(&bias))
    }

    fn qkv(&self, name: &str) -> Result<PackedWeights, PretrainedError> {
        let (weights, width, shape) = (self.weights, self.width, self.shape);
        let name = format!("{}{name}", self.base);
        let matrix =
            weights.matrix(&format!("{name}.weight"), Lies::Outputs, [width, 3 * width])?;
        let source = |place| {
            let (part, head, number) = shape.source(place)?;
            Some((3 * head + part as usize) * shape.dimension + number)
        };
        let inputs = Inputs::First(width, self.filled);
        let from = |place| source(place).map(|output| (0, output));
        let packed = weights.pack(&[matrix], &inputs, shape.row(), from);
        if !self.attention_bias {
            return Ok(packed);
        }
        let bias = weights.vector(&format!("{name}.bias"), 3 * width)?;
        let bias: Vec<f32> = (0..shape.row())
            .map(|place| source(place).map_or(0.0, |output| bias[output]))
            .collect();
        Ok(packed.with_bias(&bias))
    }

    fn mixing(&self, name: &str) -> Result<PackedWeights, PretrainedError> {
        let (weights, width) = (self.weights, self.width);
        let name = format!("{}{name}", self.base);
        let matrix = weights.matrix(&format!("{name}.weight"), Lies::Outputs, [width, width])?;
        let inputs = Inputs::Placed(self.shape.mixed(), width);
        let source = |output| (output < width).then_some((0, output));
        let packed = weights.pack(&[matrix], &inputs, self.filled, source);
        if !self.attention_bias {
            return Ok(packed);
        }
        let mut bias = weights.vector(&format!("{name}.bias"), width)?;
        bias.resize(self.filled, 0.0);
        Ok(packed.with_bias(&bias))
    }
}
