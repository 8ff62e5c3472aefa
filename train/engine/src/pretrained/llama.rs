//! Llama 2 and 3 (Touvron et al. 2023), as `LlamaForCausalLM` saves it; Mistral and Qwen are the same but for the
//! choices of [`Choices`].
//!
//! | configuration | what it is |
//! | --- | --- |
//! | `hidden_size`, `num_hidden_layers`, `intermediate_size`, `max_position_embeddings` | width, layers, width of the MLP, context |
//! | `num_attention_heads`, `num_key_value_heads`, `head_dim` | heads of queries; of keys and values, as many if absent; numbers of a head, width / heads if absent |
//! | `rope_theta`, `rope_scaling`, else `rope_parameters` | how positions turn |
//! | `rms_norm_eps`, `hidden_act` | ε, 1e-6 if absent; `silu` if absent |
//! | `attention_bias`, `mlp_bias` | biases of the attention's and the MLP's layers; false if absent |
//! | `tie_word_embeddings` | the head is the embedding; false if absent |
//!
//! | tensor (after `model.`) | where it goes |
//! | --- | --- |
//! | `embed_tokens.weight` | embedding [tokens, width] |
//! | `layers.N.input_layernorm.weight`, `layers.N.post_attention_layernorm.weight`, `norm.weight` | RMS norms |
//! | `layers.N.self_attn.{q,k,v}_proj.*` | queries, keys, values, by heads |
//! | `layers.N.self_attn.{q,k}_norm.weight` | scales of the norms of queries and keys (Qwen3) |
//! | `layers.N.self_attn.o_proj.*` | mixing |
//! | `layers.N.mlp.{gate,up,down}_proj.*` | gate, up, down |
//! | `lm_head.weight` (no prefix) | head, unless tied |

use super::catalogue::gate;
use super::config::Config;
use super::error::PretrainedError;
use super::heads::{HeadShape, QueryKeyNorm};
use super::matrix::{Inputs, Lies};
use super::rope::Rope;
use super::weights::Weights;
use crate::{Layer, Order, Transformer};
use lmtrain_kernels::{AttentionHeads, Gate, PackedWeights, RotaryTable, RowNorm};
use lmtrain_runs::plan::MOST_CONTEXT;

/// In what the architectures of this form differ.
pub(super) struct Choices {
    /// Biases of queries, keys and values.
    pub(super) qkv_bias: bool,
    /// Bias of what the heads give back.
    pub(super) mixing_bias: bool,
    /// Biases of the MLP.
    pub(super) mlp_bias: bool,
    /// Whether queries and keys are normed, with a learned scale.
    pub(super) normed: bool,
    /// The numbers of a head where the configuration does not say; width / heads if absent.
    pub(super) dimension: Option<usize>,
    /// The heads of keys where the configuration does not say; as many as of queries if absent.
    pub(super) key_heads: Option<usize>,
    /// The most tokens where the configuration does not say.
    pub(super) context: usize,
    /// How many tokens each layer sees, if not all.
    pub(super) windows: Vec<Option<usize>>,
}

struct Llama<'a> {
    config: &'a Config,
    weights: &'a Weights,
    choices: Choices,
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
    let attention_bias = config.flag_or("attention_bias", false)?;
    let choices = Choices {
        qkv_bias: attention_bias,
        mixing_bias: attention_bias,
        mlp_bias: config.flag_or("mlp_bias", false)?,
        normed: false,
        dimension: None,
        key_heads: None,
        context: 2048,
        windows: Vec::new(),
    };
    read_with(config, weights, choices)
}

/// Builds a network of this form.
pub(super) fn read_with(
    config: &Config,
    weights: &Weights,
    choices: Choices,
) -> Result<Transformer, PretrainedError> {
    let (width, heads) = (config.count("hidden_size")?, config.count("num_attention_heads")?);
    let dimension = match (config.count_if_any("head_dim")?, choices.dimension) {
        (Some(dimension), _) | (None, Some(dimension)) => dimension,
        (None, None) if width.is_multiple_of(heads) => width / heads,
        (None, None) => {
            let why =
                format!("`hidden_size` {width} is no multiple of `num_attention_heads` {heads}");
            return Err(config.refuse(why));
        }
    };
    let key_heads = config.count_or("num_key_value_heads", choices.key_heads.unwrap_or(heads))?;
    let shape = HeadShape { heads, key_heads, dimension, rotated: dimension };
    let llama = Llama {
        config,
        weights,
        choices,
        base: weights.base("model.", "embed_tokens.weight"),
        width,
        filled: width.next_multiple_of(16),
        inner: config.count("intermediate_size")?,
        shape: shape.checked(config)?,
        epsilon: config.number_or("rms_norm_eps", 1e-6)? as f32,
        activation: gate(config, "hidden_act", "silu")?,
    };
    llama.network()
}

impl Llama<'_> {
    fn network(&self) -> Result<Transformer, PretrainedError> {
        let Self { config, weights, base, width, filled, .. } = *self;
        let rope = Rope::read(config, "rope_theta")?;
        if rope.partial.is_some_and(|part| part != 1.0) {
            return Err(config.refuse("`partial_rotary_factor` is not known of this architecture"));
        }
        let tied = config.flag_or("tie_word_embeddings", false)?;
        let names = [&*format!("{base}embed_tokens.weight"), "lm_head.weight"];
        let (embedding, head) = weights.ends(names, [width, filled], tied)?;
        let context = config.count_or("max_position_embeddings", self.choices.context)?;
        let context = context.min(MOST_CONTEXT);
        let layers = (0..config.count("num_hidden_layers")?).map(|index| self.layer(index));
        let layers = layers.collect::<Result<_, _>>()?;
        let HeadShape { dimension, rotated, .. } = self.shape;
        Ok(Transformer {
            embedding_convolution: None,
            width: filled,
            context,
            embedding,
            embedding_scale: 1.0,
            positions: None,
            embedding_norm: None,
            rotary: Some(RotaryTable::new(&rope.frequencies(dimension, rotated), context)),
            order: Order::PreNorm,
            layers,
            final_norm: Some(self.norm("norm")?),
            head,
            soft_cap: None,
        })
    }

    fn layer(&self, index: usize) -> Result<Layer, PretrainedError> {
        let Self { width, filled, inner, .. } = *self;
        let layer = format!("layers.{index}");
        let stride = inner.next_multiple_of(16);
        let mlp = |name: &str, shape, filled| {
            self.linear(&format!("{layer}.mlp.{name}"), shape, filled, self.choices.mlp_bias)
        };
        Ok(Layer {
            entry: Default::default(),
            between: Default::default(),
            attention_norm: Some(self.norm(&format!("{layer}.input_layernorm"))?),
            heads: self.heads(index, &layer)?,
            qkv: self.qkv(&format!("{layer}.self_attn"))?,
            mixing: self.mixing(&format!("{layer}.self_attn.o_proj"))?,
            mlp_norm: Some(self.norm(&format!("{layer}.post_attention_layernorm"))?),
            gate: Some(mlp("gate_proj", [width, inner], [filled, inner])?),
            up: mlp("up_proj", [width, inner], [filled, inner])?,
            activation: self.activation,
            down: mlp("down_proj", [inner, width], [stride, filled])?,
        })
    }

    fn norm(&self, name: &str) -> Result<RowNorm, PretrainedError> {
        let scale = self.weights.vector(&format!("{}{name}.weight", self.base), self.width)?;
        Ok(RowNorm::Rms { scale: Some(scale), epsilon: self.epsilon })
    }

    fn heads(&self, index: usize, layer: &str) -> Result<AttentionHeads, PretrainedError> {
        let shape = self.shape;
        let vector = |name: &str| {
            let name = format!("{}{layer}.self_attn.{name}.weight", self.base);
            self.weights.vector(&name, shape.dimension)
        };
        let norms = match self.choices.normed {
            false => None,
            true => {
                let (query, key) = (vector("q_norm")?, vector("k_norm")?);
                Some(QueryKeyNorm { query, key, epsilon: self.epsilon })
            }
        };
        let scale = AttentionHeads::score_scale(shape.dimension);
        let window = self.choices.windows.get(index).copied().flatten();
        Ok(shape.attention(scale, norms.as_ref(), window))
    }

    fn linear(
        &self,
        name: &str,
        shape: [usize; 2],
        filled: [usize; 2],
        biased: bool,
    ) -> Result<PackedWeights, PretrainedError> {
        let name = format!("{}{name}", self.base);
        let packed = self.weights.plain(&format!("{name}.weight"), Lies::Outputs, shape, filled)?;
        if !biased {
            return Ok(packed);
        }
        let mut bias = self.weights.vector(&format!("{name}.bias"), shape[1])?;
        bias.resize(filled[1], 0.0);
        Ok(packed.with_bias(&bias))
    }

    fn qkv(&self, name: &str) -> Result<PackedWeights, PretrainedError> {
        let (weights, width, shape) = (self.weights, self.width, self.shape);
        let parts =
            [("q_proj", shape.heads), ("k_proj", shape.key_heads), ("v_proj", shape.key_heads)];
        let parts = parts
            .map(|(part, heads)| (format!("{}{name}.{part}", self.base), heads * shape.dimension));
        let matrix = |(part, outputs): &(String, usize)| {
            weights.matrix(&format!("{part}.weight"), Lies::Outputs, [width, *outputs])
        };
        let matrices = parts.iter().map(matrix).collect::<Result<Vec<_>, _>>()?;
        let source = |place| {
            let (part, head, number) = shape.source(place)?;
            Some((part as usize, head * shape.dimension + number))
        };
        let packed =
            weights.pack(&matrices, &Inputs::First(width, self.filled), shape.row(), source);
        if !self.choices.qkv_bias {
            return Ok(packed);
        }
        let bias =
            |(part, outputs): &(String, usize)| weights.vector(&format!("{part}.bias"), *outputs);
        let biases = parts.iter().map(bias).collect::<Result<Vec<_>, _>>()?;
        let placed = |place| source(place).map_or(0.0, |(part, output)| biases[part][output]);
        Ok(packed.with_bias(&(0..shape.row()).map(placed).collect::<Vec<f32>>()))
    }

    fn mixing(&self, name: &str) -> Result<PackedWeights, PretrainedError> {
        let (weights, width) = (self.weights, self.width);
        let name = format!("{}{name}", self.base);
        let inner = self.shape.heads * self.shape.dimension;
        let matrix = weights.matrix(&format!("{name}.weight"), Lies::Outputs, [inner, width])?;
        let inputs = Inputs::Placed(self.shape.mixed(), inner);
        let source = |output| (output < width).then_some((0, output));
        let packed = weights.pack(&[matrix], &inputs, self.filled, source);
        if !self.choices.mixing_bias {
            return Ok(packed);
        }
        let mut bias = weights.vector(&format!("{name}.bias"), width)?;
        bias.resize(self.filled, 0.0);
        Ok(packed.with_bias(&bias))
    }
}
