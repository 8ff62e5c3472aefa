//! Qwen2 (Yang et al. 2024) and Qwen3 (2025), as `Qwen2ForCausalLM` and `Qwen3ForCausalLM` save them: Llama (see
//! `llama.rs` for keys and tensors), and
//! - Qwen2 has biases of queries, keys and values;
//! - Qwen3 norms queries and keys with scales of its own; its heads have `head_dim` numbers, 128 if absent, and
//!   biases in the attention if `attention_bias` says so;
//! - `layer_types` says which layers see a `sliding_window`; where it is absent, `use_sliding_window` and the
//!   layers from `max_window_layers` on.

use super::choices::Choices;
use super::config::Config;
use super::error::PretrainedError;
use super::llama::read_with;
use super::weights::Weights;
use super::windows;
use crate::Transformer;
use lmtrain_kernels::NormOf;

/// Builds Qwen2.
pub(super) fn read_2(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let windows = windows(config)?;
    let common = common(config)?;
    read_with(config, weights, Choices { qkv_bias: true, windows, ..common })
}

/// Builds Qwen3.
pub(super) fn read_3(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let biases = config.flag_or("attention_bias", false)?;
    let windows = windows(config)?;
    let choices = Choices {
        qkv_bias: biases,
        mixing_bias: biases,
        normed: Some(NormOf::Head),
        dimension: Some(128),
        windows,
        ..common(config)?
    };
    read_with(config, weights, choices)
}

fn common(config: &Config) -> Result<Choices, PretrainedError> {
    Ok(Choices { key_heads: Some(32), context: 32_768, ..Choices::read(config)? })
}

/// What each layer sees, if not all.
fn windows(config: &Config) -> Result<Vec<Option<usize>>, PretrainedError> {
    let used = config.flag_or("use_sliding_window", false)?;
    let window = if used { Some(config.count_or("sliding_window", 4096)?) } else { None };
    if config.keys().any(|(key, value)| key == "layer_types" && !value.is_null()) {
        return windows::windows(config, window, "`use_sliding_window`", |_| false);
    }
    let first = match config.keys().find(|(key, _)| *key == "max_window_layers") {
        Some((_, value)) if value.as_u64() == Some(0) => 0,
        _ => config.count_or("max_window_layers", 28)?,
    };
    let layers = windows::layers(config)?;
    Ok((0..layers).map(|layer| window.filter(|_| layer >= first)).collect())
}
