//! How many tokens each layer sees: `layer_types` in the configuration, or a pattern where it is absent.

use super::config::Config;
use super::error::PretrainedError;

/// Most layers that a pattern is spelled out for.
const MOST_LAYERS: usize = 1 << 16;

/// Layers of a configuration.
pub(super) fn layers(config: &Config) -> Result<usize, PretrainedError> {
    Ok(config.count("num_hidden_layers")?.min(MOST_LAYERS))
}

/// What each layer sees, if not all: those of `sliding_attention` the window. Where the configuration has no
/// `layer_types`, `usual` says whether a layer is one of these.
pub(super) fn windows(
    config: &Config,
    window: Option<usize>,
    unset: &str,
    usual: impl Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>, PretrainedError> {
    let sliding = sliding(config, usual)?;
    if window.is_none() && sliding.contains(&true) {
        let why = format!("`layer_types` has `sliding_attention`, but {unset} is not set");
        return Err(config.fault(why));
    }
    Ok(sliding.into_iter().map(|slides| window.filter(|_| slides)).collect())
}

/// Which layers see a window only.
pub(super) fn sliding(
    config: &Config,
    usual: impl Fn(usize) -> bool,
) -> Result<Vec<bool>, PretrainedError> {
    let layers = layers(config)?;
    let Some(kinds) = config.texts("layer_types")? else {
        return Ok((0..layers).map(usual).collect());
    };
    if kinds.len() < layers {
        let why =
            format!("`layer_types` has {} entries, but there are {layers} layers", kinds.len());
        return Err(config.fault(why));
    }
    let slides = |kind: &str| match kind {
        "full_attention" => Ok(false),
        "sliding_attention" => Ok(true),
        other => Err(config.fault(format!("`layer_types` has `{other}`, which is not supported"))),
    };
    kinds.into_iter().map(slides).collect()
}
