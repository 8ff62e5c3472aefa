//! StableLM 2 and 3B (Bellagente et al. 2024), as `StableLmForCausalLM` saves them: Llama (see `llama.rs` for keys and
//! tensors), and
//! - norms are layer norms (`layer_norm_eps`, 1e-5 if absent);
//! - `partial_rotary_factor` of a head turns, a quarter if absent;
//! - `use_qkv_bias`: biases of queries, keys and values;
//! - `use_parallel_residual`: attention and MLP of the same normed x, by one norm;
//! - `qk_layernorm`: each head of queries and keys has a layer norm of its own, `self_attn.{q,k}_layernorm.norms.H.weight`.

use super::choices::{BEFORE, Choices, Norms};
use super::config::Config;
use super::error::PretrainedError;
use super::gate::gate;
use super::llama::read_with;
use super::rope::Rope;
use super::weights::Weights;
use crate::Transformer;
use lmtrain_kernels::NormOf;

/// Builds the network.
pub(super) fn read(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let activation = gate(config, "hidden_act", "silu")?;
    let epsilon = config.number_or("layer_norm_eps", 1e-5)?;
    let mut rope = Rope::read(config, "rope_theta", 10_000.0)?;
    if rope.partial.is_none() {
        rope.partial = Some(config.number_or("partial_rotary_factor", 0.25)?);
    }
    let parallel = config.flag_or("use_parallel_residual", false)?;
    let mlp = if parallel { BEFORE.attention } else { BEFORE.mlp };
    let normed = config.flag_or("qk_layernorm", false)?;
    let choices = Choices {
        qkv_bias: config.flag_or("use_qkv_bias", false)?,
        normed: normed.then_some(NormOf::CentredHead),
        norms: Norms { mlp, offset: None, ..BEFORE },
        parallel,
        partial: true,
        key_heads: Some(32),
        context: 4096,
        ..Choices::plain(activation, epsilon, rope)
    };
    read_with(config, weights, choices)
}
