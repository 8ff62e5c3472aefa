//! The architectures that can be read. To add one: a file that says which key of the configuration and which
//! tensor goes where, and a row here.

use super::config::Config;
use super::error::PretrainedError;
use super::weights::Weights;
use super::{gemma, gpt2, granite, llama, mistral, neox, olmo, phi, qwen, smollm, stablelm};
use crate::Transformer;

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
pub const ARCHITECTURES: [Architecture; 14] = [
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
    Architecture {
        name: "Gemma",
        model_type: "gemma",
        class: "GemmaForCausalLM",
        beside: &[INVERSE_FREQUENCIES],
        ends: [Some(2), Some(1)],
        read: gemma::read_1,
    },
    Architecture {
        name: "Gemma 2",
        model_type: "gemma2",
        class: "Gemma2ForCausalLM",
        beside: &[INVERSE_FREQUENCIES],
        ends: [Some(2), Some(1)],
        read: gemma::read_2,
    },
    Architecture {
        name: "Gemma 3",
        model_type: "gemma3_text",
        class: "Gemma3ForCausalLM",
        beside: &[INVERSE_FREQUENCIES],
        ends: [Some(2), Some(1)],
        read: gemma::read_3,
    },
    Architecture {
        name: "Phi-3",
        model_type: "phi3",
        class: "Phi3ForCausalLM",
        beside: &[INVERSE_FREQUENCIES],
        ends: [Some(1), Some(32_000)],
        read: phi::read,
    },
    Architecture {
        name: "OLMo 2",
        model_type: "olmo2",
        class: "Olmo2ForCausalLM",
        beside: &[INVERSE_FREQUENCIES],
        ends: [None, Some(50_279)],
        read: olmo::read,
    },
    Architecture {
        name: "SmolLM3",
        model_type: "smollm3",
        class: "SmolLM3ForCausalLM",
        beside: &[INVERSE_FREQUENCIES],
        ends: [Some(128_000), Some(128_001)],
        read: smollm::read,
    },
    Architecture {
        name: "Granite",
        model_type: "granite",
        class: "GraniteForCausalLM",
        beside: &[INVERSE_FREQUENCIES],
        ends: [Some(1), Some(2)],
        read: granite::read,
    },
    Architecture {
        name: "StableLM",
        model_type: "stablelm",
        class: "StableLmForCausalLM",
        beside: &[INVERSE_FREQUENCIES],
        ends: [Some(0), Some(0)],
        read: stablelm::read,
    },
];

/// Keys that say what cannot be read, whatever the architecture; and what to say of them.
const OTHER_KINDS: [(&str, &str); 8] = [
    ("vision_config", VISION),
    ("audio_config", "the model has audio parts; only text models are supported"),
    (
        "quantization_config",
        "quantized weights are not supported; weights must be F32, F16 or BF16",
    ),
    ("num_local_experts", EXPERTS),
    ("num_experts", EXPERTS),
    ("n_routed_experts", EXPERTS),
    ("moe_num_experts", EXPERTS),
    ("num_experts_per_tok", EXPERTS),
];
const EXPERTS: &str = "mixtures of experts are not supported; only dense models are";
const VISION: &str = "the model has vision parts; only text models are supported\n\
    hint: Python's `transformers` can save the text part of some models, for example with \
    `Gemma3ForCausalLM.from_pretrained(NAME).save_pretrained(DIR)`";

/// The architecture of a configuration.
pub(super) fn find(config: &Config) -> Result<&'static Architecture, PretrainedError> {
    static ALL: [Architecture; ARCHITECTURES.len()] = ARCHITECTURES;
    // Where one holds, the names of tensors and classes are other ones too: nothing more is said.
    let other = refuse_other_kinds(config);
    let kind = config.text("model_type")?;
    let kind = kind.ok_or_else(|| config.fault("`model_type` is missing"))?;
    let Some(found) = ALL.iter().find(|row| row.model_type == kind) else {
        let known = ALL.each_ref().map(|row| row.model_type).join(", ");
        let what = format!("the architecture `{kind}` is not supported; supported are {known}");
        return Err(config.fault(what));
    };
    other?;
    let classes = config.texts("architectures")?.unwrap_or_default();
    // Weights of the bare network, and of networks with another head, have no head to predict with; the former
    // miss nothing where it is tied.
    let bare = |class: &&str| class.ends_with("Model");
    if let Some(other) = classes.iter().find(|class| **class != found.class && !bare(class)) {
        return Err(
            config.fault(format!("`{other}` is not a language model; `{}` is", found.class))
        );
    }
    config.must_not_be_set("pruned_heads", &[])?;
    Ok(found)
}

/// Refuses what no architecture here has.
fn refuse_other_kinds(config: &Config) -> Result<(), PretrainedError> {
    let mut set: Vec<_> =
        OTHER_KINDS.iter().filter(|(key, _)| config.is_set(key, &[0.0, 1.0])).collect();
    // One key says it.
    set.dedup_by_key(|(_, why)| *why);
    let faults: Vec<_> =
        set.iter().map(|(key, why)| config.fault(format!("`{key}`: {why}"))).collect();
    faults.into_iter().next().map_or(Ok(()), Err)
}
