//! OLMo 2 (OLMo Team 2024), as `Olmo2ForCausalLM` saves it: Llama (see `llama.rs` for keys and tensors), and
//! - attention and MLP read the stream as it is; what they give is normed (`post_attention_layernorm`,
//!   `post_feedforward_layernorm`);
//! - all heads of queries are normed together, and all heads of keys: `self_attn.{q,k}_norm.weight` are as long.

use super::choices::{Choices, Norms};
use super::config::Config;
use super::error::PretrainedError;
use super::gate::gate;
use super::llama::read_with;
use super::rope::Rope;
use super::weights::Weights;
use crate::Transformer;
use lmtrain_kernels::NormOf;

/// Norms of what attention and MLP give.
const AFTER: Norms = Norms {
    attention: None,
    attention_after: Some("post_attention_layernorm"),
    mlp: None,
    mlp_after: Some("post_feedforward_layernorm"),
    offset: Some(0.0),
};

/// Builds the network.
pub(super) fn read(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let activation = gate(config, "hidden_act", "silu")?;
    let epsilon = config.number_or("rms_norm_eps", 1e-5)?;
    let rope = Rope::read(config, "rope_theta", 10_000.0)?;
    let biased = config.flag_or("attention_bias", false)?;
    let choices = Choices {
        qkv_bias: biased,
        mixing_bias: biased,
        normed: Some(NormOf::AllHeads),
        norms: AFTER,
        ..Choices::plain(activation, epsilon, rope)
    };
    read_with(config, weights, choices)
}
