//! Mistral (Jiang et al. 2023), as `MistralForCausalLM` saves it: Llama (see `llama.rs` for keys and tensors) with
//! `sliding_window`, the tokens that each one sees, itself included; 4096 if absent, all if `null`. Without biases;
//! `num_key_value_heads` is 8 if absent.

use super::choices::Choices;
use super::config::Config;
use super::error::PretrainedError;
use super::llama::read_with;
use super::weights::Weights;
use super::windows;
use crate::Transformer;

/// The window of configurations that do not name one.
const WINDOW: usize = 4096;

/// Builds the network.
pub(super) fn read(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let named = config.keys().any(|(key, _)| key == "sliding_window");
    let window = if named { config.count_if_any("sliding_window")? } else { Some(WINDOW) };
    let choices = Choices {
        key_heads: Some(8),
        context: 4096 * 32,
        windows: vec![window; windows::layers(config)?],
        ..Choices::read(config)?
    };
    read_with(config, weights, choices)
}
