//! Phi-3, 3.5 and 4 with their small kin (Abdin et al. 2024), as `Phi3ForCausalLM` saves them: Llama (see `llama.rs` for
//! keys and tensors), and
//! - one matrix holds queries, keys and values one after the other (`self_attn.qkv_proj`), and one gate and up
//!   (`mlp.gate_up_proj`);
//! - `partial_rotary_factor` of a head turns, all if absent;
//! - positions of type `longrope` turn by `short_factor`, so the context is `original_max_position_embeddings`;
//! - every layer sees a `sliding_window`, if there is one.

use super::choices::Choices;
use super::config::Config;
use super::error::PretrainedError;
use super::gate::gate;
use super::llama::read_with;
use super::rope::Rope;
use super::weights::Weights;
use super::windows;
use crate::Transformer;

/// Builds the network.
pub(super) fn read(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let activation = gate(config, "hidden_act", "silu")?;
    let epsilon = config.number_or("rms_norm_eps", 1e-5)?;
    let mut rope = Rope::read(config, "rope_theta", 10_000.0)?;
    if rope.partial.is_none() {
        rope.partial = config.number_if_any("partial_rotary_factor")?;
    }
    let window = config.count_if_any("sliding_window")?;
    let choices = Choices {
        fused: true,
        partial: true,
        context: 4096,
        windows: vec![window; windows::layers(config)?],
        ..Choices::plain(activation, epsilon, rope)
    };
    read_with(config, weights, choices)
}
