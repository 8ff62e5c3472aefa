//! The differences between architectures that are like Llama; `llama.rs` builds the network from them.

use super::config::Config;
use super::error::PretrainedError;
use super::gate::gate;
use super::rope::Rope;
use lmtrain_kernels::{Gate, NormOf};

/// In what the architectures of this form differ.
pub(super) struct Choices {
    /// Biases of queries, keys and values.
    pub(super) qkv_bias: bool,
    /// Bias of what the heads give back.
    pub(super) mixing_bias: bool,
    /// Biases of the MLP.
    pub(super) mlp_bias: bool,
    /// Whether one matrix holds queries, keys and values, and one gate and up.
    pub(super) fused: bool,
    /// How queries and keys are normed, with a learned scale.
    pub(super) normed: Option<NormOf>,
    /// The norms of the stream.
    pub(super) norms: Norms,
    /// ε of all norms.
    pub(super) epsilon: f32,
    /// Attention and MLP of the same normed x.
    pub(super) parallel: bool,
    pub(super) activation: Gate,
    /// The numbers of a head where the configuration does not say; width / heads if absent.
    pub(super) dimension: Option<usize>,
    /// The heads of keys where the configuration does not say; as many as of queries if absent.
    pub(super) key_heads: Option<usize>,
    /// The most tokens where the configuration does not say.
    pub(super) context: usize,
    /// How many tokens each layer sees, if not all.
    pub(super) windows: Vec<Option<usize>>,
    /// How positions turn queries and keys, and the part of a head that they turn.
    pub(super) ropes: Vec<Rope>,
    /// Of those, which each layer turns by, if any; all by the first where this is empty.
    pub(super) rope_of: Vec<Option<usize>>,
    /// Whether only a part of a head may turn.
    pub(super) partial: bool,
    /// What scores are multiplied by; 1/√(numbers of a head) if absent.
    pub(super) score_scale: Option<f64>,
    /// The cap of scores.
    pub(super) score_cap: Option<f32>,
    /// What embeddings are multiplied by.
    pub(super) embedding_scale: f32,
    /// What attention and MLP are multiplied by.
    pub(super) residual_scale: f32,
    /// What logits are divided by.
    pub(super) logits_scaling: f32,
    /// The cap of logits.
    pub(super) soft_cap: Option<f32>,
    /// Whether the head is the embedding where the configuration does not say.
    pub(super) tied: bool,
}

/// The norms of the stream: which there are, by their names.
#[derive(Clone, Copy)]
pub(super) struct Norms {
    /// Of what the attention reads.
    pub(super) attention: Option<&'static str>,
    /// Of what it gives.
    pub(super) attention_after: Option<&'static str>,
    /// Of what the MLP reads.
    pub(super) mlp: Option<&'static str>,
    /// Of what it gives.
    pub(super) mlp_after: Option<&'static str>,
    /// Added to the scales of these and of the heads' norms; none if they are layer norms.
    pub(super) offset: Option<f32>,
}

/// Those of Llama.
pub(super) const BEFORE: Norms = Norms {
    attention: Some("input_layernorm"),
    attention_after: None,
    mlp: Some("post_attention_layernorm"),
    mlp_after: None,
    offset: Some(0.0),
};

impl Choices {
    /// Llama without biases.
    pub(super) fn plain(activation: Gate, epsilon: f64, rope: Rope) -> Self {
        Self {
            qkv_bias: false,
            mixing_bias: false,
            mlp_bias: false,
            fused: false,
            normed: None,
            norms: BEFORE,
            epsilon: epsilon as f32,
            parallel: false,
            activation,
            dimension: None,
            key_heads: None,
            context: 2048,
            windows: Vec::new(),
            ropes: vec![rope],
            rope_of: Vec::new(),
            partial: false,
            score_scale: None,
            score_cap: None,
            embedding_scale: 1.0,
            residual_scale: 1.0,
            logits_scaling: 1.0,
            soft_cap: None,
            tied: false,
        }
    }

    /// The same, with activation, ε and rotation by the keys of Llama.
    pub(super) fn read(config: &Config) -> Result<Self, PretrainedError> {
        let activation = gate(config, "hidden_act", "silu");
        let epsilon = config.number_or("rms_norm_eps", 1e-6);
        let rope = Rope::read(config, "rope_theta", 10_000.0);
        Ok(Self::plain(activation?, epsilon?, rope?))
    }
}
