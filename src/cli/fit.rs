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
    /// Minutes to train for
    #[arg(long, default_value_t = 2.0, value_parser = parse_minutes)]
    pub(crate) minutes: f64,
    /// Corpus to train on, by name or path [default: enwik8, or another text in the data directory]
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) corpus: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = after_fit())]
pub(crate) struct Fit {
    /// Non-embedding parameters: 50K, 200K, 800K, 1.6M, 3.2M, 6.4M, 12M, 19M, 38M; or a shape such as w160l4h5 (width
    /// 160, 4 layers, 5 heads)
    #[arg(long, value_delimiter = ',', required_unless_present_all = ["resume", "name"])]
    pub(crate) size: Vec<Size>,
    /// Tokenizers: bytes, or a BPE vocabulary such as bpe-5000 [default: bytes]
    #[arg(long, value_delimiter = ',', value_parser = parse_trained)]
    pub(crate) tokenizer: Vec<Tokenization>,
    /// Narrow the network until it has no more parameters, embeddings included, than the same size with bytes
    #[arg(long)]
    pub(crate) equal_total: bool,
    /// Corpus to train on, by name or path: a text, or a folder of images or sounds. `+` mixes several, in proportion
    /// to their lengths or, as in `enwik8:8+kodak:1`, to given weights [default: enwik8]
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) corpus: Option<String>,
    /// Architecture and training settings: modern (today's practice) or paper (as published) [default: modern]
    #[arg(long)]
    pub(crate) recipe: Option<Recipe>,
    /// Override one of the recipe's choices, listed below; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
    #[command(flatten)]
    pub(crate) budget: BudgetArguments,
    /// Length of a training sequence, in tokens [default: 2048]
    #[arg(long, value_parser = parse_context)]
    pub(crate) context: Option<usize>,
    /// Sequences in a forward and backward pass; same as `--set batch=N` [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = parse_batch)]
    pub(crate) batch: Option<Setting>,
    /// Number format of the weights: the network is trained for it, saved in it and computes with it; same as
    /// `--set weights=…` [default: the recipe's, f16]
    #[arg(long, value_name = "f16|int8|int4", value_parser = parse_weights)]
    pub(crate) weights: Option<Setting>,
    /// Passes whose gradients are combined in an optimizer step: more passes with a smaller batch save memory; same as
    /// `--set accumulation=N`
    /// [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = parse_accumulation)]
    pub(crate) accumulate: Option<Setting>,
    /// Which bytes of the corpus to train on [default: split]
    #[arg(long, value_enum)]
    pub(crate) train_on: Option<TrainOn>,
    /// Seed for the initial weights and the order of the data [default: 0]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Fail if an image or a sound does not decode, instead of leaving it out
    #[arg(long)]
    pub(crate) strict: bool,
    /// Device to compute on: auto, cpu, cuda, cuda:1, cuda:all or gpu (of any vendor)
    #[arg(long, default_value = "auto")]
    pub(crate) device: Device,
    /// Precision of matrix products [default: bf16 on a GPU that supports it, otherwise f32]; on a processor bf16 is
    /// faster only with AVX-512BF16 (AMD from Zen 4, Intel's servers from Cooper Lake)
    #[arg(long, value_name = "f32|bf16")]
    pub(crate) precision: Option<Precision>,
    /// Name of the run [default: made from the choices, as in 200K-bytes-modern-s0]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Continue a run that was stopped; options that are left out are taken from its plan
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) resume: bool,
    /// Delete the run of this name, records included, and start over
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Print plain lines instead of the dashboard on a terminal
    #[arg(long)]
    pub(crate) plain: bool,
    /// Print the resolved plan without training
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How long to train; by default on 20 tokens per non-embedding parameter.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct BudgetArguments {
    /// Train on this many tokens, such as 100M [default: 20 tokens per non-embedding parameter]
    #[arg(long, value_parser = parse_count)]
    pub(crate) tokens: Option<u64>,
    /// Train for this many optimizer steps
    #[arg(long, value_parser = parse_count)]
    pub(crate) steps: Option<u64>,
    /// Train for about this many minutes; a few timed steps decide how many steps fit
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

    /// The choices that override the recipe's.
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
    let mut text =
        "Choices that `--set` takes (`lmtrain recipes` prints each recipe's values):\n".to_owned();
    for choice in recipe::CHOICES {
        text += &format!("  {:<24} {} ({})\n", choice.key, choice.about, choice.range());
    }
    text
}
