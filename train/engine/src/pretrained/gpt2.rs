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

use super::config::Config;
use super::error::PretrainedError;
use super::gate::gate;
use super::heads::{HeadPart, HeadShape, Scores};
use super::matrix::Lies;
use super::parts::Parts;
use super::weights::Weights;
use crate::{Layer, Order, Transformer};
use lmtrain_kernels::{AttentionHeads, Gate, PackedWeights, RowNorm};
use lmtrain_runs::plan::MOST_CONTEXT;

struct Gpt2<'a> {
    config: &'a Config,
    parts: Parts<'a>,
    epsilon: f32,
    activation: Gate,
}

/// Builds the network.
pub(super) fn read(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let (width, heads) = (config.count("n_embd")?, config.count("n_head")?);
    if !width.is_multiple_of(heads) {
        return Err(
            config.refuse(format!("`n_embd` {width} is not a multiple of `n_head` {heads}"))
        );
    }
    config.must_not_be_set("add_cross_attention", &[])?;
    let shape = HeadShape { heads, key_heads: heads, dimension: width / heads, rotated: 0 };
    let parts = Parts {
        weights,
        base: weights.base("transformer.", "wte.weight"),
        width,
        inner: config.count_if_any("n_inner")?.unwrap_or(4 * width),
        shape: shape.checked(config)?,
        lies: Lies::Inputs,
    };
    let gpt2 = Gpt2 {
        config,
        parts,
        epsilon: config.number_or("layer_norm_epsilon", 1e-5)? as f32,
        activation: gate(config, "activation_function", "gelu_new")?,
    };
    gpt2.network()
}

impl Gpt2<'_> {
    fn network(&self) -> Result<Transformer, PretrainedError> {
        let Self { config, parts, .. } = self;
        let (width, filled) = (parts.width, parts.filled());
        let tied = config.flag_or("tie_word_embeddings", true)?;
        let table = config.count_or("n_positions", 1024)?;
        let context = table.min(MOST_CONTEXT);
        let names = [&*parts.name("wte.weight"), "lm_head.weight"];
        let ends = parts.weights.ends(names, [width, filled], tied);
        let positions = parts.weights.table(&parts.name("wpe.weight"), [table, width], filled);
        let layers = parts.weights.layers(config.count("n_layer")?, |index| self.layer(index));
        let final_norm = self.norm("ln_f");
        let (embedding, head) = ends?;
        let mut positions = positions?;
        positions.truncate(context * filled);
        Ok(Transformer {
            embedding_convolution: None,
            width: filled,
            context,
            embedding,
            embedding_scale: 1.0,
            positions: Some(positions),
            embedding_norm: None,
            rotary: Vec::new(),
            residual_scale: 1.0,
            order: Order::PreNorm,
            layers: layers?,
            final_norm: final_norm?,
            head,
            soft_cap: None,
        })
    }

    fn layer(&self, index: usize) -> Result<Layer, PretrainedError> {
        let (parts, h) = (&self.parts, format!("h.{index}"));
        let attention_norm = self.norm(&format!("{h}.ln_1"));
        let qkv = self.qkv(&format!("{h}.attn.c_attn"));
        let mixing = parts.mixing(&format!("{h}.attn.c_proj"), true);
        let mlp_norm = self.norm(&format!("{h}.ln_2"));
        let up = parts.up(&format!("{h}.mlp.c_fc"), true);
        let down = parts.down(&format!("{h}.mlp.c_proj"), true);
        Ok(Layer {
            entry: Default::default(),
            between: Default::default(),
            attention_norm: attention_norm?,
            attention_after: None,
            heads: self.heads(index)?,
            rotary: None,
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

    fn heads(&self, index: usize) -> Result<AttentionHeads, PretrainedError> {
        let scaled = self.config.flag_or("scale_attn_weights", true)?;
        let by_layer = self.config.flag_or("scale_attn_by_inverse_layer_idx", false)?;
        let shape = self.parts.shape;
        let scale = AttentionHeads::score_scale(if scaled { shape.dimension } else { 1 });
        let scale = if by_layer { scale / (index + 1) as f32 } else { scale };
        Ok(shape.attention(&Scores::scaled(scale)))
    }

    fn qkv(&self, name: &str) -> Result<PackedWeights, PretrainedError> {
        let (width, dimension) = (self.parts.width, self.parts.shape.dimension);
        let source =
            |part: HeadPart, head, number| (0, part as usize * width + head * dimension + number);
        self.parts.qkv(&[(name.to_owned(), 3 * width)], source, true)
    }
}
