//! The architectures that can be read. To add one: a file that says which key of the configuration and which
//! tensor goes where, and a row here.

use super::config::Config;
use super::error::PretrainedError;
use super::weights::Weights;
use super::{gpt2, llama, mistral, neox, qwen};
use crate::Transformer;
use lmtrain_kernels::Gate;

/// An architecture of language models.
pub struct Architecture {
    /// As people call it.
    pub name: &'static str,
    /// `model_type` in the configuration.
    pub model_type: &'static str,
    /// The class of `transformers` whose weights these are, in `architectures`.
    pub class: &'static str,
    /// Ends of the names of tensors that files may hold and the network does not need: tables that follow from the
    /// configuration.
    pub(super) beside: &'static [&'static str],
    /// `bos_token_id` and `eos_token_id` of configurations that do not name them.
    pub(super) ends: [Option<u32>; 2],
    /// Builds the network.
    pub(super) read: fn(&Config, &Weights) -> Result<Transformer, PretrainedError>,
}

const INVERSE_FREQUENCIES: &str = ".rotary_emb.inv_freq";

/// Every architecture.
pub const ARCHITECTURES: [Architecture; 6] = [
    Architecture {
        name: "GPT-2",
        model_type: "gpt2",
        class: "GPT2LMHeadModel",
        beside: &[".attn.bias", ".attn.masked_bias"],
        ends: [Some(50_256), Some(50_256)],
        read: gpt2::read,
    },
    Architecture {
        name: "GPT-NeoX",
        model_type: "gpt_neox",
        class: "GPTNeoXForCausalLM",
        beside: &[".attention.bias", ".attention.masked_bias", INVERSE_FREQUENCIES],
        ends: [Some(0), Some(2)],
        read: neox::read,
    },
    Architecture {
        name: "Llama",
        model_type: "llama",
        class: "LlamaForCausalLM",
        beside: &[INVERSE_FREQUENCIES],
        ends: [Some(1), Some(2)],
        read: llama::read,
    },
    Architecture {
        name: "Mistral",
        model_type: "mistral",
        class: "MistralForCausalLM",
        beside: &[INVERSE_FREQUENCIES],
        ends: [Some(1), Some(2)],
        read: mistral::read,
    },
    Architecture {
        name: "Qwen2",
        model_type: "qwen2",
        class: "Qwen2ForCausalLM",
        beside: &[INVERSE_FREQUENCIES],
        ends: [None, None],
        read: qwen::read_2,
    },
    Architecture {
        name: "Qwen3",
        model_type: "qwen3",
        class: "Qwen3ForCausalLM",
        beside: &[INVERSE_FREQUENCIES],
        ends: [None, None],
        read: qwen::read_3,
    },
];

/// The architecture of a configuration.
pub(super) fn find(config: &Config) -> Result<&'static Architecture, PretrainedError> {
    static ALL: [Architecture; ARCHITECTURES.len()] = ARCHITECTURES;
    let kind = config.text("model_type")?;
    let kind = kind.ok_or_else(|| config.refuse("`model_type` is missing"))?;
    let Some(found) = ALL.iter().find(|row| row.model_type == kind) else {
        let known = ALL.each_ref().map(|row| row.model_type).join(", ");
        return Err(
            config.refuse(format!("the architecture `{kind}` is not known; known are {known}"))
        );
    };
    let classes = config.texts("architectures")?.unwrap_or_default();
    // Weights of the bare network, and of networks with another head, have no head to predict with; the former
    // miss nothing where it is tied.
    let bare = |class: &&str| class.ends_with("Model");
    if let Some(other) = classes.iter().find(|class| **class != found.class && !bare(class)) {
        return Err(config.refuse(format!("`{other}` is no language model; {} is", found.class)));
    }
    if let Some((key, _)) = config.keys().find(|(key, _)| *key == "quantization_config") {
        return Err(config.refuse(format!(
            "`{key}`: quantized weights cannot be read; weights in F32, F16 or BF16 can"
        )));
    }
    config.must_not_be_set("pruned_heads", &[])?;
    Ok(found)
}

/// The activation of a name; `default` where none is given.
pub(super) fn gate(config: &Config, key: &str, default: &str) -> Result<Gate, PretrainedError> {
    let name = config.text(key)?.unwrap_or(default);
    Ok(match name {
        "silu" | "swish" => Gate::Silu,
        "gelu" => Gate::GeluErf,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Gate::GeluTanh,
        "relu2" => Gate::ReluSquared,
        other => {
            let known = "silu, swish, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast and relu2 are";
            return Err(config.refuse(format!("the activation `{other}` is not known; {known}")));
        }
    })
}
