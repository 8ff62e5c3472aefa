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

use super::config::Config;
use super::error::PretrainedError;
use super::gate::gate;
use super::heads::{HeadPart, HeadShape, Scores};
use super::matrix::Lies;
use super::parts::Parts;
use super::rope::Rope;
use super::weights::Weights;
use crate::{Layer, Order, Transformer};
use lmtrain_kernels::{AttentionHeads, Gate, PackedWeights, RotaryTable, RowNorm};
use lmtrain_runs::plan::MOST_CONTEXT;

struct NeoX<'a> {
    config: &'a Config,
    parts: Parts<'a>,
    rope: Rope,
    epsilon: f32,
    activation: Gate,
    attention_bias: bool,
}

/// Builds the network.
pub(super) fn read(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let (width, heads) = (config.count("hidden_size")?, config.count("num_attention_heads")?);
    if !width.is_multiple_of(heads) {
        let why =
            format!("`hidden_size` {width} is not a multiple of `num_attention_heads` {heads}");
        return Err(config.refuse(why));
    }
    let dimension = width / heads;
    let rope = Rope::read(config, "rotary_emb_base", 10_000.0)?;
    let part = match rope.partial {
        Some(part) => part,
        None => config.number_or("rotary_pct", 0.25)?,
    };
    // As transformers' cut.
    let rotated = (dimension as f64 * part) as usize;
    let shape = HeadShape { heads, key_heads: heads, dimension, rotated };
    let parts = Parts {
        weights,
        base: weights.base("gpt_neox.", "embed_in.weight"),
        width,
        inner: config.count("intermediate_size")?,
        shape: shape.checked(config)?,
        lies: Lies::Outputs,
    };
    let neox = NeoX {
        config,
        parts,
        rope,
        epsilon: config.number_or("layer_norm_eps", 1e-5)? as f32,
        activation: gate(config, "hidden_act", "gelu")?,
        attention_bias: config.flag_or("attention_bias", true)?,
    };
    neox.network()
}

impl NeoX<'_> {
    fn network(&self) -> Result<Transformer, PretrainedError> {
        let Self { config, parts, .. } = self;
        let HeadShape { dimension, rotated, .. } = parts.shape;
        let tied = config.flag_or("tie_word_embeddings", false)?;
        let context = config.count_or("max_position_embeddings", 2048)?.min(MOST_CONTEXT);
        let context = self.rope.limit().map_or(context, |limit| limit.min(context));
        let frequencies = self.rope.frequencies(config, dimension, rotated)?;
        let parallel = config.flag_or("use_parallel_residual", true)?;
        let names = [&*parts.name("embed_in.weight"), "embed_out.weight"];
        let ends = parts.weights.ends(names, [parts.width, parts.filled()], tied);
        let layers = parts.weights.layers(config.count("num_hidden_layers")?, |it| self.layer(it));
        let final_norm = self.norm("final_layer_norm");
        let (embedding, head) = ends?;
        Ok(Transformer {
            embedding_convolution: None,
            width: parts.filled(),
            context,
            embedding,
            embedding_scale: 1.0,
            positions: None,
            embedding_norm: None,
            rotary: vec![RotaryTable::new(&frequencies, context)],
            residual_scale: 1.0,
            order: if parallel { Order::Parallel } else { Order::PreNorm },
            layers: layers?,
            final_norm: final_norm?,
            head,
            soft_cap: None,
        })
    }

    fn layer(&self, index: usize) -> Result<Layer, PretrainedError> {
        let parts = &self.parts;
        let layer = format!("layers.{index}");
        let scale = AttentionHeads::score_scale(parts.shape.dimension);
        let rotary_factor = self.rope.factor() as f32;
        let attention_norm = self.norm(&format!("{layer}.input_layernorm"));
        let qkv = self.qkv(&format!("{layer}.attention.query_key_value"));
        let mixing = parts.mixing(&format!("{layer}.attention.dense"), self.attention_bias);
        let mlp_norm = self.norm(&format!("{layer}.post_attention_layernorm"));
        let up = parts.up(&format!("{layer}.mlp.dense_h_to_4h"), true);
        let down = parts.down(&format!("{layer}.mlp.dense_4h_to_h"), true);
        Ok(Layer {
            entry: Default::default(),
            between: Default::default(),
            attention_norm: attention_norm?,
            attention_after: None,
            heads: parts.shape.attention(&Scores { rotary_factor, ..Scores::scaled(scale) }),
            rotary: Some(0),
            qkv: qkv?,
            mixing: mixing?,
            mlp_norm: mlp_norm?,
            mlp_after: None,
            gate: None,
            up: up?,
            activation: self.activation,
            down: down?,
        })
    }

    fn norm(&self, name: &str) -> Result<Option<RowNorm>, PretrainedError> {
        self.parts.layer_norm(name, self.epsilon).map(Some)
    }

    fn qkv(&self, name: &str) -> Result<PackedWeights, PretrainedError> {
        let dimension = self.parts.shape.dimension;
        let source =
            |part: HeadPart, head, number| (0, (3 * head + part as usize) * dimension + number);
        self.parts.qkv(&[(name.to_owned(), 3 * self.parts.width)], source, self.attention_bias)
    }
}
