//! Recipes: each is a row of choices in one table, about the network and about how it is trained.
//! To add a recipe, add a variant and its row in [`Recipe::row`]; nothing else asks which recipe a
//! run follows, only what was chosen. To add a choice, see `table.rs`.
//!
//! `paper` is Delétang et al. (arXiv 2309.10668, section 3.1, with the authors' released training
//! script and their later statement on positions); `modern` is what small-model practice has added
//! since: RMSNorm (arXiv 1910.07467), QK-norm (2010.04245), ReLU² (2109.08668), logit soft-caps
//! (Gemma 2, 2408.00118), Muon (K. Jordan, 2024), warm-up–stable–decay (2405.18392).

mod choices;
mod schedule;
mod table;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::size::Size;

/// Base of the rotary positions' wavelengths (RoPE, arXiv 2104.09864).
pub const ROPE_BASE: f64 = 10_000.0;
/// Tokens of a sequence if nothing is said: the paper's.
pub const DEFAULT_CONTEXT: usize = 2048;

pub use choices::{
    Activation, Begin, Choices, DecayForm, DecaySchedule, Norm, Optimizer, ValueEmbeddings, Weights,
};
pub use table::{CHOICES, Choice, Kind, Row, Setting, choice, text};

/// A named row of choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// The best that small-LM practice knows; the default.
    Modern,
    /// What the authors of the paper published.
    Paper,
}

impl Recipe {
    /// Every recipe, the default first.
    pub const ALL: [Self; 2] = [Self::Modern, Self::Paper];

    /// The row for a network of this size and sequences of this many tokens: rules of width, of length and of vocabulary
    /// belong here. A row's head size is the least that a named size gets, if its width is a multiple of it; a shape that
    /// is written out says its heads itself. Sequences longer than [`DEFAULT_CONTEXT`] come fewer at a time, so that steps
    /// of `modern` do not grow more than they must: twice as many tokens a step cost 1.2 % at 200K and five million bytes
    /// (`runs/LOG.md`).
    #[must_use]
    pub fn row_for(self, size: Size, context: usize) -> Row {
        let mut row = self.row();
        let raises = |least: usize| {
            size.is_named() && size.width / size.heads < least && size.width.is_multiple_of(least)
        };
        row.choices.head_size = row.choices.head_size.filter(|least| raises(*least));
        if self == Self::Modern {
            row.batch = (row.batch * DEFAULT_CONTEXT / context.max(1)).clamp(1, row.batch);
        }
        row
    }

    /// The table. The batches are the paper's, and what learned fastest of a few million tokens.
    #[must_use]
    pub fn row(self) -> Row {
        match self {
            Self::Modern => Row {
                batch: 2,
                accumulation: 1,
                choices: Choices {
                    norm: Norm::PreRms,
                    activation: Activation::SquaredRelu,
                    qk_norm: true,
                    initial_gain: 1.5,
                    biases: false,
                    scale_embeddings: false,
                    zero_outputs: true,
                    embedding_deviation: 1.0,
                    matrix_scale: 1.0,
                    soft_cap: Some(15.0),
                    begin: Begin::OwnRow,
                    head_size: Some(32),
                    rotary_dimensions: None,
                    depth_scale: false,
                    residual_scalars: false,
                    skips: false,
                    embedding_convolution: false,
                    block_convolution: true,
                    qkv_convolution: false,
                    value_embeddings: ValueEmbeddings::None,
                    weights: Weights::F16,
                    rounding_start: None,
                    optimizer: Optimizer::Muon,
                    matrix_learning_rate: 0.02,
                    embedding_learning_rate: 0.02,
                    head_learning_rate: 0.01,
                    scalar_learning_rate: 0.02,
                    momentum: 0.95,
                    momentum_start: None,
                    momentum_warmup: 0.1,
                    momentum_end: None,
                    momentum_cooldown: 0.1,
                    beta1: 0.8,
                    beta2: 0.95,
                    epsilon: 1e-10,
                    weight_decay: 0.0,
                    weight_decay_schedule: DecaySchedule::Constant,
                    cautious_decay: false,
                    clip_norm: Some(1.0),
                    warmup: 0.02,
                    decay: 0.4,
                    decay_form: DecayForm::Linear,
                    decay_floor: 0.0,
                    average: None,
                },
            },
            Self::Paper => Row {
                batch: 32,
                accumulation: 1,
                choices: Choices {
                    norm: Norm::PostLayer,
                    activation: Activation::Gelu,
                    qk_norm: false,
                    biases: true,
                    scale_embeddings: true,
                    zero_outputs: false,
                    embedding_deviation: 0.02,
                    soft_cap: None,
                    begin: Begin::TokenZero,
                    head_size: None,
                    block_convolution: false,
                    optimizer: Optimizer::Adam,
                    matrix_learning_rate: 1e-4,
                    embedding_learning_rate: 1e-4,
                    head_learning_rate: 1e-4,
                    scalar_learning_rate: 0.005,
                    beta1: 0.9,
                    beta2: 0.999,
                    epsilon: 1e-8,
                    clip_norm: None,
                    warmup: 0.0,
                    decay: 0.0,
                    ..Self::Modern.row().choices
                },
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
        found.ok_or_else(|| format!("`{text}` is not a recipe: write `modern` or `paper`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_follows_size_and_context() {
        let of = |recipe: Recipe, size: &str, context| {
            let row = recipe.row_for(size.parse().expect("a size"), context);
            (row.batch, row.choices.head_size)
        };
        assert_eq!(of(Recipe::Modern, "200K", 2048), (2, Some(32)));
        assert_eq!(of(Recipe::Modern, "12M", 64), (2, None), "its heads have 48 dimensions");
        assert_eq!(of(Recipe::Modern, "w96l4h6", 4096), (1, None));
        assert_eq!(of(Recipe::Modern, "50K", 8192), (1, Some(32)));
        assert_eq!(of(Recipe::Paper, "200K", 8192), (32, None));
    }

    #[test]
    fn names_parse() {
        for recipe in Recipe::ALL {
            assert_eq!(recipe.to_string().parse(), Ok(recipe));
        }
        assert!("moderne".parse::<Recipe>().is_err());
    }
}
