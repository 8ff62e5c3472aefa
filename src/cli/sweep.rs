//! `lmtrain sweep`.

use std::path::PathBuf;

use clap::Args;
use lmtrain_runs::sweep::Shard;

use crate::device::Device;

#[derive(Debug, Args)]
#[command(after_help = "\
A plan is a TOML file: every `[[fit]]` is a grid, whose keys are the flags of `lmtrain fit` and whose
lists are combined; every `[[eval]]` has the flags of `lmtrain eval` and measures each run. Some plans
come along, and `--list` names them; a file of the same name is meant by `./NAME`. With `--size`, the
flags below are one grid. With neither, the study `pocket` is made on enwik8, or on the largest text
that is in the data directory.")]
pub(crate) struct Sweep {
    /// A plan that comes along, or a file
    #[arg(value_name = "NAME|PLAN.toml", conflicts_with_all = [
        "size", "list", "tokenizer", "recipe", "set", "seed", "corpus", "tokens", "minutes",
        "eval_corpus", "sample_chunks", "compressor",
    ])]
    pub(crate) plan: Option<PathBuf>,
    /// Name the plans that come along, and about how long each trains on this machine
    #[arg(long, conflicts_with_all = ["size", "dry_run"])]
    pub(crate) list: bool,
    /// Sizes
    #[arg(long, alias = "sizes", value_delimiter = ',')]
    pub(crate) size: Vec<String>,
    /// Tokenizers
    #[arg(long, alias = "tokenizers", value_delimiter = ',', requires = "size")]
    pub(crate) tokenizer: Vec<String>,
    /// Recipes
    #[arg(long, alias = "recipes", value_delimiter = ',', requires = "size")]
    pub(crate) recipe: Vec<String>,
    /// Choices otherwise than the recipe's, such as matrix-learning-rate=0.01,0.02
    #[arg(long, value_name = "KEY=VALUE,…", requires = "size")]
    pub(crate) set: Vec<String>,
    /// Seeds
    #[arg(long, alias = "seeds", value_delimiter = ',', requires = "size")]
    pub(crate) seed: Vec<String>,
    /// Corpora to train on
    #[arg(long, value_delimiter = ',', value_name = "NAME|PATH", requires = "size")]
    pub(crate) corpus: Vec<String>,
    /// Tokens to train on
    #[arg(long, value_delimiter = ',', conflicts_with = "minutes", requires = "size")]
    pub(crate) tokens: Vec<String>,
    /// Minutes of training
    #[arg(long, value_delimiter = ',', requires = "size")]
    pub(crate) minutes: Vec<String>,
    /// Corpora to measure on [default: the test part of each run's own]
    #[arg(long, value_delimiter = ',', value_name = "NAME|PATH", requires = "size")]
    pub(crate) eval_corpus: Vec<String>,
    /// Measure so many chunks, drawn at random, instead of all
    #[arg(long, value_name = "N", requires = "size")]
    pub(crate) sample_chunks: Option<usize>,
    /// Classical compressors to measure beside
    #[arg(long, value_delimiter = ',', requires = "size")]
    pub(crate) compressor: Vec<String>,
    /// Do the i-th of n shares, such as 1/4: together they are the sweep, each run in one of them
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    pub(crate) shard: Shard,
    /// Where to compute: auto, cpu, cuda, cuda:1 or cuda:all
    #[arg(long, default_value = "auto")]
    pub(crate) device: Device,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
