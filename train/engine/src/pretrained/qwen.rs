//! Qwen2 (Yang et al. 2024) and Qwen3 (2025), as `Qwen2ForCausalLM` and `Qwen3ForCausalLM` save them: Llama (see
//! `llama.rs` for keys and tensors), and
//! - Qwen2 has biases of queries, keys and values;
//! - Qwen3 norms queries and keys with scales of its own; its heads have `head_dim` numbers, 128 if absent, and
//!   biases in the attention if `attention_bias` says so;
//! - `layer_types` says which layers see a `sliding_window`; where it is absent, `use_sliding_window` and the
//!   layers from `max_window_layers` on.

use super::config::Config;
use super::error::PretrainedError;
use super::llama::{Choices, read_with};
use super::weights::Weights;
use crate::Transformer;

/// Builds Qwen2.
pub(super) fn read_2(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let choices = Choices {
        qkv_bias: true,
        mixing_bias: false,
        mlp_bias: false,
        normed: false,
        dimension: None,
        key_heads: Some(32),
        context: 32_768,
        windows: windows(config)?,
    };
    read_with(config, weights, choices)
}

/// Builds Qwen3.
pub(super) fn read_3(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let biases = config.flag_or("attention_bias", false)?;
    let choices = Choices {
        qkv_bias: biases,
        mixing_bias: biases,
        mlp_bias: false,
        normed: true,
        dimension: Some(128),
        key_heads: Some(32),
        context: 32_768,
        windows: windows(config)?,
    };
    read_with(config, weights, choices)
}

/// What each layer sees, if not all.
fn windows(config: &Config) -> Result<Vec<Option<usize>>, PretrainedError> {
    let layers = config.count("num_hidden_layers")?.min(1 << 16);
    let used = config.flag_or("use_sliding_window", false)?;
    let window = if used { Some(config.count_or("sliding_window", 4096)?) } else { None };
    let Some(kinds) = config.texts("layer_types")? else {
        let first = match config.keys().find(|(key, _)| *key == "max_window_layers") {
            Some((_, value)) if value.as_u64() == Some(0) => 0,
            _ => config.count_or("max_window_layers", 28)?,
        };
        return Ok((0..layers).map(|layer| window.filter(|_| layer >= first)).collect());
    };
    let seen = |kind: &&str| match (*kind, window) {
        ("full_attention", _) => Ok(None),
        ("sliding_attention", Some(window)) => Ok(Some(window)),
        ("sliding_attention", None) => Err(config
            .refuse("`layer_types` has `sliding_attention`, and `use_sliding_window` is not set")),
        (other, _) => {
            Err(config.refuse(format!("`layer_types` has `{other}`, which is not known")))
        }
    };
    kinds.iter().map(seen).collect()
}
