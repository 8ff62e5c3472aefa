//! What is known about the thing that was measured: a compressor, a run or a pretrained model. In JSON, the key `kind`
//! distinguishes these, and their keys are beside the record's own.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::WeightCode;
use crate::recipe::Recipe;
use crate::size::Size;
use crate::tokenization::Tokenization;
use crate::units::Bytes;

/// What kind of thing compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A network that `fit` trained.
    Run,
    /// A general or media compressor.
    Compressor,
    /// A language model from elsewhere.
    Pretrained,
}

/// What a rate says of what compressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Facts {
    /// Of a network that `fit` trained.
    Run(RunFacts),
    /// Of a general or media compressor.
    Compressor(CompressorFacts),
    /// Of a language model from elsewhere.
    Pretrained(ModelFacts),
}

/// What was measured or sampled from, as given in records of curves and of samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Maker {
    /// A network that `fit` trained.
    Run(WeightsOf),
    /// A general or media compressor.
    Compressor(CompressorFacts),
    /// A language model from elsewhere.
    Pretrained(WeightsOf),
}

/// Which weights a network has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsOf {
    /// Their identity, a SHA-256, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
}

/// What is known of a compressor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompressorFacts {
    /// Its preset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Its library and version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
}

/// What is known of any network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkFacts {
    /// Its tokenization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenization: Option<Tokenization>,
    /// All of its parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Bytes that each parameter is stored in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_parameter: Option<f64>,
    /// The code of the weights, from which they were decoded before predicting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_code: Option<WeightCode>,
    /// Bytes of the weights in that code; where absent, parameters · bytes of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_bytes: Option<Bytes>,
    /// Compressed bytes of the tokenizer's vocabulary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer_bytes: Option<Bytes>,
    /// Identity of the weights, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Version of the arithmetic that it predicted by: see [`ARITHMETIC`](crate::ARITHMETIC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arithmetic: Option<u16>,
}

/// What is known of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// As of any network.
    #[serde(flatten)]
    pub network: NetworkFacts,
    /// Shape of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Its recipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
    /// The choices in which it differs from its recipe's row, by their keys.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub choices: Map<String, Value>,
    /// Corpus it was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<String>,
    /// Tokens it was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_trained: Option<u64>,
    /// Seed it was trained with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl RunFacts {
    /// The code that the weights were trained for and saved in.
    #[must_use]
    pub fn saved_code(&self) -> WeightCode {
        let chosen = self.choices.get("weights").and_then(Value::as_str);
        chosen.and_then(|code| code.parse().ok()).unwrap_or(WeightCode::F16)
    }
}

/// What is known of a pretrained model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// As of any network; a parameter has 2 bytes, as in the paper.
    #[serde(flatten)]
    pub network: NetworkFacts,
    /// Its architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Bytes of its weights in its own files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<Bytes>,
}

impl Facts {
    /// The kind that they are of.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Run(_) => Kind::Run,
            Self::Compressor(_) => Kind::Compressor,
            Self::Pretrained(_) => Kind::Pretrained,
        }
    }

    /// What is known of a network; nothing of a compressor.
    #[must_use]
    pub fn network(&self) -> Option<&NetworkFacts> {
        match self {
            Self::Run(run) => Some(&run.network),
            Self::Compressor(_) => None,
            Self::Pretrained(model) => Some(&model.network),
        }
    }

    /// The same, to be changed.
    pub fn network_mut(&mut self) -> Option<&mut NetworkFacts> {
        match self {
            Self::Run(run) => Some(&mut run.network),
            Self::Compressor(_) => None,
            Self::Pretrained(model) => Some(&mut model.network),
        }
    }

    /// What is known of a run.
    #[must_use]
    pub fn run(&self) -> Option<&RunFacts> {
        if let Self::Run(run) = self { Some(run) } else { None }
    }

    /// What is known of a compressor.
    #[must_use]
    pub fn compressor(&self) -> Option<&CompressorFacts> {
        if let Self::Compressor(compressor) = self { Some(compressor) } else { None }
    }

    /// What is known of a pretrained model.
    #[must_use]
    pub fn model(&self) -> Option<&ModelFacts> {
        if let Self::Pretrained(model) = self { Some(model) } else { None }
    }

    /// The part of them that identifies what made the record.
    #[must_use]
    pub fn maker(&self) -> Maker {
        let weights = |network: &NetworkFacts| WeightsOf { weights: network.weights.clone() };
        match self {
            Self::Run(run) => Maker::Run(weights(&run.network)),
            Self::Compressor(compressor) => Maker::Compressor(compressor.clone()),
            Self::Pretrained(model) => Maker::Pretrained(weights(&model.network)),
        }
    }
}

impl Maker {
    /// A compressor's preset.
    #[must_use]
    pub fn preset(&self) -> Option<&str> {
        if let Self::Compressor(facts) = self { facts.preset.as_deref() } else { None }
    }

    /// Identity of a network's weights.
    #[must_use]
    pub fn weights(&self) -> Option<&str> {
        match self {
            Self::Run(of) | Self::Pretrained(of) => of.weights.as_deref(),
            Self::Compressor(_) => None,
        }
    }

    /// The kind that it is of.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Run(_) => Kind::Run,
            Self::Compressor(_) => Kind::Compressor,
            Self::Pretrained(_) => Kind::Pretrained,
        }
    }
}
