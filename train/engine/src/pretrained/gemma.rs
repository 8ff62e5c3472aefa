//! Gemma 1 (Mesnard et al. 2024), 2 (2024) and 3 (2025, its models of text), as `GemmaForCausalLM`, `Gemma2ForCausalLM` and
//! `Gemma3ForCausalLM` save them: Llama (see `llama.rs` for keys and tensors), and
//! - embeddings are multiplied by √width, the scales of norms are `weight` + 1, the head is the embedding unless
//!   `tie_word_embeddings` is false, and heads have `head_dim` numbers, 256 if absent;
//! - from 2 on, what attention and MLP give is normed too (`post_attention_layernorm`, `post_feedforward_layernorm`;
//!   the MLP's own norm is `pre_feedforward_layernorm`), and scores are over √`query_pre_attn_scalar`, 256 if absent;
//! - 2 caps scores and logits (`attn_logit_softcapping`, 50 if absent, `final_logit_softcapping`, 30 if absent), 3
//!   logits only, where it says so;
//! - some layers see a `sliding_window`: `layer_types` says which, else every other one from the first (2), or all but
//!   every `sliding_window_pattern`th, 6 if absent (3);
//! - 3 norms queries and keys, and its layers turn by a base of their own where they see a window:
//!   `rope_local_base_freq`, 10,000 if absent, else `rope_theta`, a million if absent, with `rope_scaling`; or
//!   `rope_parameters.sliding_attention` and `.full_attention`.
//!
//! The activation is GELU's tanh form: `hidden_act` (1; its old `gelu` means the same) or `hidden_activation`.

use super::choices::{BEFORE, Choices, Norms};
use super::config::Config;
use super::error::PretrainedError;
use super::gate::gate;
use super::llama::read_with;
use super::rope::Rope;
use super::weights::Weights;
use super::windows;
use crate::Transformer;
use lmtrain_kernels::{Gate, NormOf};

/// The activation where none is named.
const ACTIVATION: &str = "gelu_pytorch_tanh";

/// Norms before and after attention and MLP.
const AROUND: Norms = Norms {
    attention: Some("input_layernorm"),
    attention_after: Some("post_attention_layernorm"),
    mlp: Some("pre_feedforward_layernorm"),
    mlp_after: Some("post_feedforward_layernorm"),
    offset: Some(1.0),
};

/// Builds Gemma 1.
pub(super) fn read_1(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let activation = match gate(config, "hidden_act", ACTIVATION)? {
        Gate::GeluErf => Gate::GeluTanh,
        other => other,
    };
    let rope = Rope::read(config, "rope_theta", 10_000.0)?;
    let norms = Norms { offset: Some(1.0), ..BEFORE };
    let choices =
        Choices { norms, key_heads: Some(16), context: 8192, ..common(config, activation, rope)? };
    read_with(config, weights, choices)
}

/// Builds Gemma 2.
pub(super) fn read_2(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let activation = gate(config, "hidden_activation", ACTIVATION)?;
    let rope = Rope::read(config, "rope_theta", 10_000.0)?;
    let score_cap = config.number_or_none("attn_logit_softcapping", Some(50.0))?;
    let soft_cap = config.number_or_none("final_logit_softcapping", Some(30.0))?;
    let windows = windows::windows(config, window(config)?, WINDOW, |layer| layer % 2 == 0)?;
    let choices = Choices {
        context: 8192,
        windows,
        score_cap: score_cap.map(|cap| cap as f32),
        soft_cap: soft_cap.map(|cap| cap as f32),
        ..normed_around(config, activation, rope)?
    };
    read_with(config, weights, choices)
}

/// Builds Gemma 3.
pub(super) fn read_3(config: &Config, weights: &Weights) -> Result<Transformer, PretrainedError> {
    let activation = gate(config, "hidden_activation", ACTIVATION)?;
    let ropes = ropes(config)?;
    let soft_cap = config.number_or_none("final_logit_softcapping", None)?;
    let pattern = match config.texts("layer_types")? {
        Some(_) => 1,
        None => config.count_or("sliding_window_pattern", 6)?,
    };
    let slides = |layer: usize| !(layer + 1).is_multiple_of(pattern);
    let sliding = windows::sliding(config, slides)?;
    let choices = Choices {
        context: MOST_TOKENS,
        windows: windows::windows(config, window(config)?, WINDOW, slides)?,
        rope_of: sliding.into_iter().map(|slides| Some(usize::from(slides))).collect(),
        soft_cap: soft_cap.map(|cap| cap as f32),
        normed: Some(NormOf::Head),
        ..normed_around(config, activation, ropes[0].clone())?
    };
    read_with(config, weights, Choices { ropes: ropes.into(), ..choices })
}

const WINDOW: &str = "`sliding_window`";
/// The context of Gemma 3 where it is not named.
const MOST_TOKENS: usize = 131_072;

fn common(config: &Config, activation: Gate, rope: Rope) -> Result<Choices, PretrainedError> {
    let epsilon = config.number_or("rms_norm_eps", 1e-6)?;
    let biased = config.flag_or("attention_bias", false)?;
    config.must_not_be_set("use_bidirectional_attention", &[])?;
    let width = config.count("hidden_size")?;
    Ok(Choices {
        qkv_bias: biased,
        mixing_bias: biased,
        dimension: Some(256),
        embedding_scale: (width as f64).sqrt() as f32,
        tied: true,
        ..Choices::plain(activation, epsilon, rope)
    })
}

/// What 2 and 3 share.
fn normed_around(
    config: &Config,
    activation: Gate,
    rope: Rope,
) -> Result<Choices, PretrainedError> {
    let scalar = config.number_or("query_pre_attn_scalar", 256.0)?;
    let score_scale = Some(1.0 / scalar.sqrt());
    Ok(Choices {
        norms: AROUND,
        score_scale,
        key_heads: Some(4),
        ..common(config, activation, rope)?
    })
}

fn window(config: &Config) -> Result<Option<usize>, PretrainedError> {
    let window = config.number_or_none("sliding_window", Some(4096.0))?;
    Ok(window.map(|tokens| tokens as usize))
}

/// How layers turn that see all, and those that see a window.
fn ropes(config: &Config) -> Result<[Rope; 2], PretrainedError> {
    const KEYS: [(&str, &str, f64); 2] = [
        ("full_attention", "rope_theta", 1_000_000.0),
        ("sliding_attention", "rope_local_base_freq", 10_000.0),
    ];
    let outer = config.group("rope_parameters")?;
    let old = if outer.is_none() { config.group("rope_scaling")? } else { None };
    let read = |(name, theta, base): (&str, &str, f64)| {
        let base = config.number_or(theta, base)?;
        let group = match &outer {
            Some(outer) => outer.group(name)?,
            None => None,
        };
        let old = old.as_ref().filter(|_| name == KEYS[0].0);
        let Some(group) = group.as_ref().or(old) else { return Ok(Rope::plain(config, base)) };
        let rope = Rope::of_group(config, [group, outer.as_ref().unwrap_or(group)], base);
        config.note_group(&format!("rope.{name}"), group);
        rope
    };
    let [full, sliding] = KEYS.map(read);
    Ok([full?, sliding?])
}
