//! The resolved plan of a run: arguments become one plan, and nothing later reads arguments. It is
//! saved beside the weights, which are never read without it.

mod cost;
mod name;

use serde::{Deserialize, Serialize};

use crate::precision::Precision;
use crate::recipe::{Begin, Choices, Recipe, Row, Setting};
use crate::record::Span;
use crate::size::Size;
use crate::tokenization::Tokenization;
use crate::units::Bytes;

/// The budget of training, as the user gave it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    /// This many tokens.
    Tokens(u64),
    /// This many optimizer steps.
    Steps(u64),
    /// This many minutes on this machine: before the first step, timed trial steps determine the number of steps.
    Minutes(f64),
}

/// Which bytes of the corpus are for training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainOn {
    /// The first 90 %; the next 5 % validate, the last 5 % test.
    #[default]
    Split,
    /// Every byte (the paper's protocol); the last 5 % validate as well, in-sample.
    All,
}

/// Everything that decides a run's weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the run: of its folder, and in records.
    pub name: String,
    /// Shape of the network.
    pub size: Size,
    /// How bytes become tokens.
    pub tokenization: Tokenization,
    /// Name of the row of choices.
    pub recipe: Recipe,
    /// Name of the corpus it trains on.
    pub corpus: String,
    /// Length of that corpus.
    pub corpus_bytes: Bytes,
    /// SHA-256 of that corpus, hexadecimal.
    pub corpus_sha256: String,
    /// Which of its bytes are for training.
    pub train_on: TrainOn,
    /// The training bytes, if they do not follow from length and `train_on`: a corpus of images or sounds is divided
    /// by whole files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_span: Option<Span>,
    /// The corpora that it is a mixture of, if it is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PlannedPart>,
    /// The amount of training asked for.
    pub budget: Budget,
    /// The number of optimizer steps that the budget amounts to.
    pub steps: u64,
    /// Tokens of a sequence, which is also the longest chunk that the run can code.
    pub context: usize,
    /// Sequences of one forward and backward pass.
    pub batch: usize,
    /// Passes whose gradients make one step.
    pub accumulation: usize,
    /// Seed of the weights and of the data's order.
    pub seed: u64,
    /// Steps between two validations, each of which also saves a checkpoint.
    pub validate_every: u64,
    /// Sequences of one validation.
    pub validation_sequences: usize,
    /// The recipe's choices when the plan was made, with those that were set instead.
    pub choices: Choices,
    /// In what numbers it trains.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
}

/// A corpus of a mixture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedPart {
    /// Its name.
    pub corpus: String,
    /// Its length.
    pub bytes: Bytes,
    /// SHA-256 of it, hexadecimal.
    pub sha256: String,
    /// Its bytes that train.
    pub train: Span,
    /// Its share of the tokens beside the weights of the others; without one, as many as it has bytes that train.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

impl PlannedPart {
    /// Its share of the tokens, in proportion to those of the others.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2^53")]
    pub fn share(&self) -> f64 {
        self.weight.unwrap_or((self.train.end - self.train.start) as f64)
    }
}

impl Plan {
    /// Its row of the table of choices.
    #[must_use]
    pub fn row(&self) -> Row {
        Row { batch: self.batch, accumulation: self.accumulation, choices: self.choices }
    }

    /// The row that its recipe has for a plan like it.
    #[must_use]
    pub fn usual(&self) -> Row {
        self.recipe.row_for(self.size, self.context)
    }

    /// The choices that are not those of its recipe.
    #[must_use]
    pub fn unusual(&self) -> Vec<Setting> {
        self.row().beside(&self.usual())
    }

    /// The same by key, as records hold them.
    #[must_use]
    pub fn unusual_values(&self) -> serde_json::Map<String, serde_json::Value> {
        let pair = |Setting { choice, value }| (choice.key.to_owned(), value);
        self.unusual().into_iter().map(pair).collect()
    }

    /// Attention heads of a block.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.choices.head_size.map_or(self.size.heads, |dimensions| self.size.width / dimensions)
    }

    /// Dimensions of a head.
    #[must_use]
    pub fn head_dimension(&self) -> usize {
        self.size.width / self.heads()
    }

    /// Rows of the embedding table: the vocabulary's, and one for the begin token if it has its own.
    #[must_use]
    pub fn embedding_rows(&self) -> usize {
        self.tokenization.vocabulary() + usize::from(self.choices.begin == Begin::OwnRow)
    }

    /// Token fed before the first of a chunk, never coded.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "vocabularies have at most 2^18 tokens")]
    pub fn begin_token(&self) -> u32 {
        match self.choices.begin {
            Begin::OwnRow => self.tokenization.vocabulary() as u32,
            Begin::TokenZero => 0,
        }
    }

    /// Tokens of one optimizer step.
    #[must_use]
    pub fn tokens_per_step(&self) -> u64 {
        (self.context as u64)
            .saturating_mul(self.batch as u64)
            .saturating_mul(self.accumulation as u64)
    }

    /// Tokens of the whole training.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.steps.saturating_mul(self.tokens_per_step())
    }
}

/// Tokens that a convolution sees: one and the three before it.
pub const CONVOLUTION_TAPS: usize = 4;
/// Letters of a mixture's parts in a run's name.
const LONGEST_MIXTURE: usize = 40;

/// Corpus that a run trains on if none is named.
pub const DEFAULT_CORPUS: &str = "enwik8";

/// The longest context: attention's time grows with its square, and tables of positions with it.
pub const MOST_CONTEXT: usize = 65_536;

/// Tokens that a size trains on if nothing is said: 20 for each non-embedding parameter
/// (Hoffmann et al., arXiv 2203.15556).
#[must_use]
pub fn default_tokens(size: Size) -> u64 {
    20 * size.core_parameters()
}

/// A name made suitable for a folder's name: letters, digits, `.`, `_`, `=` and `-`.
#[must_use]
pub fn file_safe(name: &str) -> String {
    let stem = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let safe = |letter: char| {
        if letter.is_ascii_alphanumeric() || "._=-".contains(letter) { letter } else { '-' }
    };
    stem.chars().map(safe).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> Plan {
        let size: Size = "200K".parse().expect("in the ladder");
        let mut plan = Plan {
            name: String::new(),
            size,
            tokenization: Tokenization::Bytes,
            recipe: Recipe::Modern,
            corpus: "enwik8".into(),
            corpus_bytes: Bytes(100_000_000),
            corpus_sha256: "00".repeat(32),
            train_on: TrainOn::Split,
            train_span: None,
            parts: Vec::new(),
            budget: Budget::Tokens(default_tokens(size)),
            steps: 480,
            context: 2048,
            batch: 2,
            accumulation: 1,
            seed: 0,
            validate_every: 100,
            validation_sequences: 16,
            choices: Recipe::Modern.row_for(size, 2048).choices,
            precision: Precision::F32,
        };
        plan.name = plan.name_of();
        plan
    }

    #[test]
    fn a_name_says_what_is_unusual() {
        let mut plan = example();
        assert_eq!(plan.name_of(), "200K-bytes-modern-s0");
        plan.tokenization = Tokenization::Bpe(5000);
        plan.corpus = "texts/my file.txt".into();
        plan.budget = Budget::Minutes(10.0);
        plan.context = 512;
        plan.accumulation = 4;
        plan.precision = Precision::Bf16;
        plan.seed = 3;
        assert_eq!(plan.name_of(), "200K-bpe-5000-modern-my-file.txt-c512-b8-10min-bf16-s3");
        plan = Plan { batch: 4, ..example() };
        plan.choices.matrix_learning_rate = 0.01;
        plan.choices.soft_cap = None;
        plan.choices.epsilon = 1e-8;
        assert_eq!(plan.name_of(), "200K-bytes-modern-b4-sc=off-mlr=0.01-eps=1e-8-s0");
    }

    fn part(corpus: &str, weight: Option<f64>) -> PlannedPart {
        PlannedPart {
            corpus: corpus.to_owned(),
            bytes: Bytes(100),
            sha256: "00".repeat(32),
            train: Span { start: 0, end: 90 },
            weight,
        }
    }

    #[test]
    fn mixtures_have_short_names_and_survive_toml() {
        let mut plan = example();
        plan.corpus = "wiki15-8+images/kodak:grey=luma".into();
        plan.parts = vec![part("wiki15-8", None), part("images/kodak:grey=luma", None)];
        assert_eq!(plan.name_of(), "200K-bytes-modern-mix-wiki15-8-kodak-grey=luma-s0");
        assert_eq!(plan.parts[0].share(), 90.0);
        plan.parts = vec![part("wiki15-8", Some(8.0)), part("kodak", Some(0.5))];
        assert_eq!(plan.name_of(), "200K-bytes-modern-mix-wiki15-8=8-kodak=0.5-s0");
        assert_eq!(plan.parts[1].share(), 0.5);
        plan.corpus_sha256 = "abcdef01".into();
        plan.parts = vec![part(&"long".repeat(20), None), part("kodak", None)];
        let expected = format!("200K-bytes-modern-mix-{}-abcdef-s0", "long".repeat(10));
        assert_eq!(plan.name_of(), expected);
        plan.train_span = Some(Span { start: 0, end: 2048 });
        let text = toml::to_string(&plan).expect("a plan serialises");
        assert_eq!(toml::from_str::<Plan>(&text).expect("and reads back"), plan);
    }

    #[test]
    fn a_command_says_what_is_unusual() {
        let mut plan = example();
        assert_eq!(plan.command(), "lmtrain fit --size 200K");
        plan.tokenization = Tokenization::Bpe(5000);
        plan.corpus = "wiki15-8".into();
        plan.budget = Budget::Tokens(1_700_000);
        plan.batch = 4;
        plan.train_on = TrainOn::All;
        assert_eq!(
            plan.command(),
            "lmtrain fit --size 200K --tokenizer bpe-5000 --corpus wiki15-8 --set batch=4 \
             --tokens 1700000 --train-on all --name 200K-bytes-modern-s0"
        );
    }

    #[test]
    fn parameters_are_counted() {
        let mut plan = example();
        assert_eq!(plan.parameters(), 196_608 + (257 + 256) * 64 + 4 * (2 + 4 * 64));
        plan.choices.head_size = Some(64);
        plan.choices.block_convolution = false;
        assert_eq!(plan.parameters(), 196_608 + (257 + 256) * 64 + 4, "one head, one gain a layer");
        plan.recipe = Recipe::Paper;
        plan.choices = Recipe::Paper.row().choices;
        assert_eq!(plan.parameters(), 196_608 + 512 * 64 + 256 + 4 * (4 * 64 + 5 * 64));
    }

    #[test]
    fn a_plan_survives_toml() {
        let plan = example();
        let text = toml::to_string(&plan).expect("a plan serialises");
        assert_eq!(toml::from_str::<Plan>(&text).expect("and reads back"), plan);
    }
}
