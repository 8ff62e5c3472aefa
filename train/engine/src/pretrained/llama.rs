//! Llama 2 and 3 (Touvron et al. 2023), as `LlamaForCausalLM` saves it; most other architectures are the same but for
//! the choices of `choices.rs`, and name theirs in files of their own.
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
//! | `layers.N.self_attn.{q,k}_norm.weight` | scales of the norms of queries and keys (Qwen3, Gemma 3, OLMo 2) |
//! | `layers.N.self_attn.o_proj.*` | mixing |
//! | `layers.N.mlp.{gate,up,down}_proj.*` | gate, up, down |
//! | `lm_head.weight` (no prefix) | head, unless tied |

use super::choices::Choices;
use super::config::Config;
use super::error::PretrainedError;
use super::heads::{HeadPart, HeadShape, QueryKeyNorm, Scores};
use super::matrix::Lies;
use super::parts::{Parts, Source};
use super::rope::Rope;
use super::weights::Weights;
use crate::{Layer, Order, Transformer};
use lmtrain_kernels::{AttentionHeads, NormOf, PackedWeights, RotaryTable, RowNorm};
use lmtrain_runs::plan::MOST_CONTEXT;

/// Builds the network.
pub(super) fn read(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let attention_bias = config.flag_or("attention_bias", false)?;
    let mlp_bias = config.flag_or("mlp_bias", false)?;
    let choices = Choices {
        qkv_bias: attention_bias,
        mixing_bias: attention_bias,
        mlp_bias,
        ..Choices::read(config)?
    };
    read_with(config, weights, choices)
}

struct Llama<'a> {
    config: &'a Config,
    choices: Choices,
    parts: Parts<'a>,
}

/// Builds a network of this form.
pub(super) fn read_with(
    config: &Config,
    weights: &Weights,
    choices: Choices,
) -> Result<Transformer, PretrainedError> {
    let shape = shape(config, &choices)?;
    let parts = Parts {
        weights,
        base: weights.base("model.", "embed_tokens.weight"),
        width: config.count("hidden_size")?,
        inner: config.count("intermediate_size")?,
        shape,
        lies: Lies::Outputs,
    };
    Llama { config, choices, parts }.network()
}

fn shape(config: &Config, choices: &Choices) -> Result<HeadShape, PretrainedError> {
    let (width, heads) = (config.count("hidden_size")?, config.count("num_attention_heads")?);
    let dimension = match (config.count_if_any("head_dim")?, choices.dimension) {
        (Some(dimension), _) | (None, Some(dimension)) => dimension,
        (None, None) if width.is_multiple_of(heads) => width / heads,
        (None, None) => {
            let why =
                format!("`hidden_size` {width} is not a multiple of `num_attention_heads` {heads}");
            return Err(config.refuse(why));
        }
    };
    let key_heads = config.count_or("num_key_value_heads", choices.key_heads.unwrap_or(heads))?;
    let part = choices.ropes.first().and_then(|rope| rope.partial).unwrap_or(1.0);
    if part != 1.0 && !choices.partial {
        return Err(config.refuse("`partial_rotary_factor` is not supported for this architecture"));
    }
    // As transformers' cut.
    let rotated = (dimension as f64 * part) as usize;
    HeadShape { heads, key_heads, dimension, rotated }.checked(config)
}

impl Llama<'_> {
    fn network(&self) -> Result<Transformer, PretrainedError> {
        let Self { config, choices, parts, .. } = self;
        let HeadShape { dimension, rotated, .. } = parts.shape;
        let tied = config.flag_or("tie_word_embeddings", choices.tied)?;
        let context = config.count_or("max_position_embeddings", choices.context)?;
        let limits = choices.ropes.iter().filter_map(Rope::limit);
        let context = limits.fold(context.min(MOST_CONTEXT), usize::min);
        let tables = choices.ropes.iter().map(|rope| rope.frequencies(config, dimension, rotated));
        let tables = tables.collect::<Result<Vec<_>, _>>()?;
        let names = [&*parts.name("embed_tokens.weight"), "lm_head.weight"];
        let ends = parts.weights.ends(names, [parts.width, parts.filled()], tied);
        let layers = parts.weights.layers(config.count("num_hidden_layers")?, |it| self.layer(it));
        let final_norm = self.final_norm();
        let (embedding, head) = ends?;
        Ok(Transformer {
            embedding_convolution: None,
            width: parts.filled(),
            context,
            embedding,
            embedding_scale: choices.embedding_scale,
            positions: None,
            embedding_norm: None,
            rotary: tables.iter().map(|table| RotaryTable::new(table, context)).collect(),
            residual_scale: choices.residual_scale,
            order: if choices.parallel { Order::Parallel } else { Order::PreNorm },
            layers: layers?,
            final_norm: Some(final_norm?),
            head,
            soft_cap: choices.soft_cap,
        })
    }

    /// The last norm, by which logits are divided too.
    fn final_norm(&self) -> Result<RowNorm, PretrainedError> {
        let divided = |numbers: &mut Vec<f32>| {
            numbers.iter_mut().for_each(|number| *number /= self.choices.logits_scaling);
        };
        let mut norm = self.norm("norm")?;
        match &mut norm {
            RowNorm::Rms { scale, .. } => scale.iter_mut().for_each(divided),
            RowNorm::Layer { scale, offset, .. } => [scale, offset].into_iter().for_each(divided),
        }
        Ok(norm)
    }

    fn layer(&self, index: usize) -> Result<Layer, PretrainedError> {
        let Self { choices, parts, .. } = self;
        let layer = format!("layers.{index}");
        let norm =
            |name: Option<&str>| name.map(|name| self.norm(&format!("{layer}.{name}"))).transpose();
        let attention_norm = norm(choices.norms.attention);
        let heads = self.heads(index, &layer);
        let qkv = self.qkv(&format!("{layer}.self_attn"));
        let mixing = parts.mixing(&format!("{layer}.self_attn.o_proj"), choices.mixing_bias);
        let attention_after = norm(choices.norms.attention_after);
        let mlp_norm = norm(choices.norms.mlp);
        let mlp = |name: &str| parts.up(&format!("{layer}.mlp.{name}"), choices.mlp_bias);
        let fused = |second| parts.half_of_up(&format!("{layer}.mlp.gate_up_proj"), second);
        let (gate, up) = match choices.fused {
            true => (fused(false), fused(true)),
            false => (mlp("gate_proj"), mlp("up_proj")),
        };
        let down = parts.down(&format!("{layer}.mlp.down_proj"), choices.mlp_bias);
        let mlp_after = norm(choices.norms.mlp_after);
        Ok(Layer {
            entry: Default::default(),
            between: Default::default(),
            attention_norm: attention_norm?,
            attention_after: attention_after?,
            heads: heads?,
            rotary: self.rope_of(index),
            qkv: qkv?,
            mixing: mixing?,
            mlp_norm: mlp_norm?,
            mlp_after: mlp_after?,
            gate: Some(gate?),
            up: up?,
            activation: choices.activation,
            down: down?,
        })
    }

    /// Which rotation is a layer's.
    fn rope_of(&self, index: usize) -> Option<usize> {
        self.choices.rope_of.get(index).copied().unwrap_or(Some(0))
    }

    fn norm(&self, name: &str) -> Result<RowNorm, PretrainedError> {
        match self.choices.norms.offset {
            Some(offset) => self.parts.rms_norm(name, self.choices.epsilon, offset),
            None => self.parts.layer_norm(name, self.choices.epsilon),
        }
    }

    fn heads(&self, index: usize, layer: &str) -> Result<AttentionHeads, PretrainedError> {
        let Self { choices, parts, .. } = self;
        let dimension = parts.shape.dimension;
        let multiplier = |scale: f64| (std::f64::consts::LOG2_E * scale) as f32;
        let rope = self.rope_of(index).map(|rope| &choices.ropes[rope]);
        let scale = choices.score_scale;
        Ok(parts.shape.attention(&Scores {
            scale: scale.map_or_else(|| AttentionHeads::score_scale(dimension), multiplier),
            rotary_factor: rope.map_or(1.0, |rope| rope.factor() as f32),
            norms: choices.normed.map(|of| self.head_norms(of, layer)).transpose()?,
            window: choices.windows.get(index).copied().flatten(),
            soft_cap: choices.score_cap,
        }))
    }

    /// Scales of the norms of queries and keys, each of one head, or of all.
    fn head_norms(&self, of: NormOf, layer: &str) -> Result<QueryKeyNorm, PretrainedError> {
        let HeadShape { heads, key_heads, dimension, .. } = self.parts.shape;
        let vector = |name: &str, count: usize| match of {
            NormOf::Head => {
                self.vector(&format!("{layer}.self_attn.{name}_norm.weight"), dimension)
            }
            NormOf::AllHeads => {
                let name = format!("{layer}.self_attn.{name}_norm.weight");
                self.vector(&name, count * dimension)
            }
            NormOf::CentredHead => {
                let name = format!("{layer}.self_attn.{name}_layernorm.norms");
                let one = |head| self.vector(&format!("{name}.{head}.weight"), dimension);
                (0..count).map(one).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
            }
        };
        let (query, key) = (vector("q", heads), vector("k", key_heads));
        Ok(QueryKeyNorm { of, query: query?, key: key?, epsilon: self.choices.epsilon })
    }

    fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, PretrainedError> {
        let mut numbers = self.parts.weights.vector(&self.parts.name(name), length)?;
        if let Some(offset) = self.choices.norms.offset.filter(|offset| *offset != 0.0) {
            numbers.iter_mut().for_each(|number| *number += offset);
        }
        Ok(numbers)
    }

    fn qkv(&self, name: &str) -> Result<PackedWeights, PretrainedError> {
        let HeadShape { heads, key_heads, dimension, .. } = self.parts.shape;
        let counts = [heads, key_heads, key_heads];
        if self.choices.fused {
            let all = [(format!("{name}.qkv_proj"), counts.iter().sum::<usize>() * dimension)];
            let source = |part: HeadPart, head, number| {
                let before: usize = counts[..part as usize].iter().sum();
                (0, (before + head) * dimension + number)
            };
            return self.parts.qkv(&all, source, self.choices.qkv_bias);
        }
        let part = |(part, heads): (&str, usize)| (format!("{name}.{part}"), heads * dimension);
        let parts: Vec<Source> =
            ["q_proj", "k_proj", "v_proj"].into_iter().zip(counts).map(part).collect();
        let source = |part: HeadPart, head, number| (part as usize, head * dimension + number);
        self.parts.qkv(&parts, source, self.choices.qkv_bias)
    }
}
