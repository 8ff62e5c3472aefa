//! The activations of MLPs, by their names in configurations.

use lmtrain_kernels::Gate;

use super::config::Config;
use super::error::PretrainedError;

/// The activation of a name; `default` where none is given.
pub(super) fn gate(config: &Config, key: &str, default: &str) -> Result<Gate, PretrainedError> {
    let name = config.text(key)?.unwrap_or(default);
    Ok(match name {
        "silu" | "swish" => Gate::Silu,
        "gelu" | "gelu_python" => Gate::GeluErf,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_fast" | "gelu_accurate" => {
            Gate::GeluTanh
        }
        "quick_gelu" => Gate::QuickGelu,
        "relu" => Gate::Relu,
        "relu2" => Gate::ReluSquared,
        other => {
            let known = "supported are silu, swish, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, \
                quick_gelu, relu and relu2";
            config.fault(format!("the activation `{other}` is not supported; {known}"));
            // In its place, so that whatever else is wrong is found too.
            Gate::Silu
        }
    })
}
