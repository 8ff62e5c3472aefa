//! `lmtrain fit`, and `lmtrain quickstart`, which begins with one.

use clap::Args;
use lmtrain_runs::recipe::{self, Recipe};
use lmtrain_runs::units::parse_count;
use lmtrain_runs::{Precision, Setting, Size, Tokenization};

use super::data::TrainOn;
use super::values::{parse_context, parse_minutes, parse_trained};
use crate::device::Device;

#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// Do not try to download enwik8
    #[arg(long)]
    pub(crate) offline: bool,
    /// Minutes of training
    #[arg(long, default_value_t = 2.0, value_parser = parse_minutes)]
    pub(crate) minutes: f64,
    /// Train on this corpus, by name or path [default: enwik8, or another text that is there]
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) corpus: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = after_fit())]
pub(crate) struct Fit {
    /// Sizes: 50K, 200K, 800K, 1.6M, 3.2M, 6.4M, 12M, 19M, 38M, or a shape such as w160l4h5
    #[arg(long, value_delimiter = ',', required_unless_present_all = ["resume", "name"])]
    pub(crate) size: Vec<Size>,
    /// How bytes become tokens: bytes, bpe-5000 [default: bytes]
    #[arg(long, value_delimiter = ',', value_parser = parse_trained)]
    pub(crate) tokenizer: Vec<Tokenization>,
    /// Make the network so much narrower that it has no more parameters in all than with bytes
    #[arg(long)]
    pub(crate) equal_total: bool,
    /// Corpus to train on, by name or path: a text, or a folder of images or sounds. Several joined by `+` are mixed, in
    /// proportion to their lengths, or to weights as in `enwik8:8+kodak:1` [default: enwik8]
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) corpus: Option<String>,
    /// Row of choices: modern practice, or what the paper published [default: modern]
    #[arg(long)]
    pub(crate) recipe: Option<Recipe>,
    /// Choose otherwise than the recipe; the keys are below
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
    #[command(flatten)]
    pub(crate) budget: BudgetArguments,
    /// Tokens of a sequence [default: 2048]
    #[arg(long, value_parser = parse_context)]
    pub(crate) context: Option<usize>,
    /// Sequences of one pass: `--set batch=N` [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = parse_batch)]
    pub(crate) batch: Option<Setting>,
    /// Numbers that weights are trained for, saved in and computed with: `--set weights=…` [default: the recipe's, f16]
    #[arg(long, value_name = "f16|int8|int4", value_parser = parse_weights)]
    pub(crate) weights: Option<Setting>,
    /// Passes whose gradients make one step; more, with a smaller batch, saves memory:
    /// `--set accumulation=N` [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = parse_accumulation)]
    pub(crate) accumulate: Option<Setting>,
    /// Which bytes train [default: split]
    #[arg(long, value_enum)]
    pub(crate) train_on: Option<TrainOn>,
    /// Seed of the weights and of the data's order [default: 0]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// An image or a sound that does not decode is an error, and not left out
    #[arg(long)]
    pub(crate) strict: bool,
    /// Where to compute: auto, cpu, cuda, cuda:1 or cuda:all
    #[arg(long, default_value = "auto")]
    pub(crate) device: Device,
    /// Numbers to multiply in, f32 or bf16 [default: bf16 on a GPU that knows it]
    #[arg(long, value_name = "f32|bf16")]
    pub(crate) precision: Option<Precision>,
    /// Name of the run [default: made of the choices]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Go on with a run that was stopped; what is left out is as the run was begun
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) resume: bool,
    /// Throw away the run of this name, its records included, and start anew
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Plain lines instead of the dashboard on a terminal
    #[arg(long)]
    pub(crate) plain: bool,
    /// Print the resolved plan, and train nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How much training; 20 tokens per non-embedding parameter if nothing is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct BudgetArguments {
    /// Train on so many tokens, such as 100M [default: 20 tokens per non-embedding parameter]
    #[arg(long, value_parser = parse_count)]
    pub(crate) tokens: Option<u64>,
    /// Train for so many steps
    #[arg(long, value_parser = parse_count)]
    pub(crate) steps: Option<u64>,
    /// Train for about so many minutes; a few timed steps decide how many fit
    #[arg(long, value_parser = parse_minutes)]
    pub(crate) minutes: Option<f64>,
}

impl Fit {
    /// The tokenizations asked for.
    pub(crate) fn tokenizers(&self) -> Vec<Tokenization> {
        match &self.tokenizer[..] {
            [] => vec![Tokenization::Bytes],
            tokenizers => tokenizers.to_vec(),
        }
    }

    /// The choices made beside the recipe's.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        let short = [&self.batch, &self.accumulate, &self.weights];
        short.into_iter().flatten().chain(&self.set).cloned().collect()
    }

    /// Which bytes are to train.
    pub(crate) fn trains_on(&self) -> lmtrain_runs::plan::TrainOn {
        self.train_on.map(Into::into).unwrap_or_default()
    }

    /// The corpus asked for.
    pub(crate) fn corpus(&self) -> &str {
        self.corpus.as_deref().unwrap_or(lmtrain_runs::plan::DEFAULT_CORPUS)
    }
}

/// `4` as `--set batch=4`.
fn parse_batch(text: &str) -> Result<Setting, String> {
    format!("batch={}", parse_count(text)?).parse()
}

/// `int4` as `--set weights=int4`.
fn parse_weights(text: &str) -> Result<Setting, String> {
    format!("weights={text}").parse()
}

/// `4` as `--set accumulation=4`.
fn parse_accumulation(text: &str) -> Result<Setting, String> {
    format!("accumulation={}", parse_count(text)?).parse()
}

/// The table of choices, as `fit --help` ends with it.
fn after_fit() -> String {
    let mut text = "Choices that `--set` takes (`lmtrain recipes` has each recipe's):\n".to_owned();
    for choice in recipe::CHOICES {
        text += &format!("  {:<24} {} ({})\n", choice.key, choice.about, choice.range());
    }
    text
}
