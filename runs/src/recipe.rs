//! Recipes: each is a row of choices in one table, about the network and about how it is trained.
//! To add a recipe, add a variant and its row in [`Recipe::choices`]; nothing else asks which
//! recipe a run follows, only what was chosen.
//!
//! `paper` is Delétang et al. (arXiv 2309.10668, section 3.1, with the authors' released training
//! script and their later statement on positions); `modern` is what small-model practice has added
//! since: RMSNorm (arXiv 1910.07467), QK-norm (2010.04245), ReLU² (2109.08668), logit soft-caps
//! (Gemma 2, 2408.00118), Muon (K. Jordan, 2024), warm-up–stable–decay (2405.18392).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Base of the rotary positions' wavelengths (RoPE, arXiv 2104.09864).
pub const ROPE_BASE: f64 = 10_000.0;

/// A named row of choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// The best that small-LM practice knows; the default.
    Modern,
    /// What the authors of the paper published.
    Paper,
}

/// Which normalisation, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Root-mean-square norm without scale, before each sub-layer and before the head.
    PreRms,
    /// Layer norm with scale and offset, after each residual sum.
    PostLayer,
}

/// The MLP's activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// max(x, 0)².
    SquaredRelu,
    /// GELU in its tanh form.
    Gelu,
}

/// What is fed before the first token of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Begin {
    /// A row of its own in the embedding table, after the vocabulary's.
    OwnRow,
    /// Token 0, which the vocabulary has too (the paper's shift to the right).
    TokenZero,
}

/// How weights follow gradients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Optimizer {
    /// Muon on the blocks' matrices, AdamW (β 0.8, 0.95) on embedding, head and gains.
    Muon {
        /// Step size of Muon's orthogonal updates.
        matrix_learning_rate: f64,
        /// AdamW's for the embedding table.
        embedding_learning_rate: f64,
        /// AdamW's for head and gains.
        head_learning_rate: f64,
        /// Decoupled weight decay of the matrices, times their learning rate.
        weight_decay: f64,
    },
    /// Adam (β 0.9, 0.999) on everything.
    Adam {
        /// Its step size.
        learning_rate: f64,
    },
}

/// How the learning rates go over the steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Schedule {
    /// The same at every step.
    Constant,
    /// Linear from 0, then level, then linear to 0.
    WarmupStableDecay {
        /// Share of the steps that warm up.
        warmup: f64,
        /// Share of the steps that decay.
        decay: f64,
    },
}

/// Everything that a recipe decides. Saved with the plan, so that weights are read by the choices
/// they were trained with, even when the table has moved on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// Normalisation and its place.
    pub norm: Norm,
    /// The MLP's activation.
    pub activation: Activation,
    /// Normalise queries and keys, with one learned gain a head.
    pub qk_norm: bool,
    /// Biases in the MLP and the head.
    pub biases: bool,
    /// Scale embeddings by √width.
    pub scale_embeddings: bool,
    /// Start the matrices that write to the residual stream, and the head, at zero.
    pub zero_outputs: bool,
    /// Logits become c · tanh(logit / c).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_cap: Option<f64>,
    /// What precedes a chunk.
    pub begin: Begin,
    /// Clip the gradient to this global norm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Optimizer and its step sizes.
    pub optimizer: Optimizer,
    /// Learning-rate schedule.
    pub schedule: Schedule,
}

impl Recipe {
    /// Every recipe, the default first.
    pub const ALL: [Self; 2] = [Self::Modern, Self::Paper];

    /// Sequences of a step if nothing is said: the paper's, and what learned fastest of a few
    /// million tokens.
    #[must_use]
    pub fn default_batch(self) -> usize {
        match self {
            Self::Modern => 2,
            Self::Paper => 32,
        }
    }

    /// The table.
    #[must_use]
    pub fn choices(self) -> Choices {
        match self {
            Self::Modern => Choices {
                norm: Norm::PreRms,
                activation: Activation::SquaredRelu,
                qk_norm: true,
                biases: false,
                scale_embeddings: false,
                zero_outputs: true,
                soft_cap: Some(15.0),
                begin: Begin::OwnRow,
                clip_norm: Some(1.0),
                optimizer: Optimizer::Muon {
                    matrix_learning_rate: 0.02,
                    embedding_learning_rate: 0.02,
                    head_learning_rate: 0.005,
                    weight_decay: 0.0,
                },
                schedule: Schedule::WarmupStableDecay { warmup: 0.02, decay: 0.4 },
            },
            Self::Paper => Choices {
                norm: Norm::PostLayer,
                activation: Activation::Gelu,
                qk_norm: false,
                biases: true,
                scale_embeddings: true,
                zero_outputs: false,
                soft_cap: None,
                begin: Begin::TokenZero,
                clip_norm: None,
                optimizer: Optimizer::Adam { learning_rate: 1e-4 },
                schedule: Schedule::Constant,
            },
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Modern => "modern",
            Self::Paper => "paper",
        })
    }
}

impl FromStr for Recipe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|recipe| recipe.to_string() == text);
        found.ok_or_else(|| format!("`{text}` is no recipe: write `modern` or `paper`"))
    }
}

impl Schedule {
    /// The factor on every learning rate at `step` (counted from 0) of `steps`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "steps stay far below 2^53")]
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::WarmupStableDecay { warmup, decay } => {
                let (step, steps) = (step as f64, steps.max(1) as f64);
                let rising = (step + 1.0) / (warmup * steps).max(1.0);
                let falling = (steps - step) / (decay * steps).max(1.0);
                rising.min(falling).min(1.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse() {
        for recipe in Recipe::ALL {
            assert_eq!(recipe.to_string().parse(), Ok(recipe));
        }
        assert!("moderne".parse::<Recipe>().is_err());
    }

    #[test]
    fn choices_survive_toml() {
        for recipe in Recipe::ALL {
            let text = toml::to_string(&recipe.choices()).expect("choices serialise");
            assert_eq!(toml::from_str::<Choices>(&text).expect("and read back"), recipe.choices());
        }
    }

    #[test]
    fn the_schedule_rises_holds_and_falls() {
        let schedule = Schedule::WarmupStableDecay { warmup: 0.1, decay: 0.4 };
        let factors: Vec<f64> = (0..100).map(|step| schedule.factor(step, 100)).collect();
        assert!((factors[0] - 0.1).abs() < 1e-12);
        assert!(factors[9..=60].iter().all(|factor| (factor - 1.0).abs() < 1e-12));
        assert!((factors[99] - 0.025).abs() < 1e-12);
        assert!(factors[60..].is_sorted_by(|left, right| left >= right));
        assert_eq!(Schedule::Constant.factor(7, 9), 1.0);
    }
}
