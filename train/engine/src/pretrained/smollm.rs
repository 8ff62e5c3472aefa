//! SmolLM3 (Bakouch et al. 2025), as `SmolLM3ForCausalLM` saves it: Llama (see `llama.rs` for keys and tensors), and
//! - layers where `no_rope_layers` has a 0 do not turn queries and keys; if it is absent, every
//!   `no_rope_layer_interval`th, 4 if absent;
//! - with `use_sliding_window`, layers of `layer_types` see a `sliding_window`; if it is absent, those that do not turn.

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
    let epsilon = config.number_or("rms_norm_eps", 1e-6)?;
    let rope = Rope::read(config, "rope_theta", 2_000_000.0)?;
    let biased = config.flag_or("attention_bias", false)?;
    let mlp_bias = config.flag_or("mlp_bias", false)?;
    let turns = turns(config)?;
    let used = config.flag_or("use_sliding_window", false)?;
    let window = if used { config.count_if_any("sliding_window")? } else { None };
    let usual = |layer: usize| window.is_some() && !turns[layer];
    let choices = Choices {
        qkv_bias: biased,
        mixing_bias: biased,
        mlp_bias,
        key_heads: Some(4),
        context: 32_768,
        windows: windows::windows(config, window, "`use_sliding_window`", usual)?,
        rope_of: turns.iter().map(|turns| turns.then_some(0)).collect(),
        tied: true,
        ..Choices::plain(activation, epsilon, rope)
    };
    read_with(config, weights, choices)
}

/// Which layers turn queries and keys.
fn turns(config: &Config) -> Result<Vec<bool>, PretrainedError> {
    let (layers, key) = (windows::layers(config)?, "no_rope_layers");
    match config.flags(key)? {
        Some(turns) if turns.len() < layers => Err(config
            .fault(format!("`{key}` has {} entries, but there are {layers} layers", turns.len()))),
        Some(turns) => Ok(turns),
        None => {
            let interval = config.count_or("no_rope_layer_interval", 4)?;
            Ok((1..=layers).map(|layer| !layer.is_multiple_of(interval)).collect())
        }
    }
}
