//! `lmtrain sweep`.

use std::path::PathBuf;

use clap::Args;
use lmtrain_runs::sweep::Shard;

use crate::device::Device;

#[derive(Debug, Args)]
#[command(after_help = "\
A plan is a TOML file. Every `[[fit]]` in it is a grid whose keys are options of `lmtrain fit`: each \
combination of its lists is a run. Every `[[eval]]` has options of `lmtrain eval` and measures each run. \
`--list` names the built-in plans; write `./NAME` for a file of the same name. With `--size` instead of a \
plan, the options above form one grid. Without a plan and `--size`, the built-in plan `pocket` runs on enwik8 \
or, if that is not in the data directory, on the largest text there.")]
pub(crate) struct Sweep {
    /// Name of a built-in plan, or a plan's file
    #[arg(value_name = "NAME|PLAN.toml", conflicts_with_all = [
        "size", "list", "tokenizer", "recipe", "set", "seed", "corpus", "tokens", "minutes",
        "eval_corpus", "sample_chunks", "compressor",
    ])]
    pub(crate) plan: Option<PathBuf>,
    /// List the built-in plans, and about how long each takes to train on this machine
    #[arg(long, conflicts_with_all = ["size", "dry_run"])]
    pub(crate) list: bool,
    /// Sizes, as with `fit`; each list below is one axis of the grid
    #[arg(long, alias = "sizes", value_delimiter = ',')]
    pub(crate) size: Vec<String>,
    /// Tokenizers
    #[arg(long, alias = "tokenizers", value_delimiter = ',', requires = "size")]
    pub(crate) tokenizer: Vec<String>,
    /// Recipes
    #[arg(long, alias = "recipes", value_delimiter = ',', requires = "size")]
    pub(crate) recipe: Vec<String>,
    /// Values that override the recipe's, such as matrix-learning-rate=0.01,0.02
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
    /// Minutes to train for
    #[arg(long, value_delimiter = ',', requires = "size")]
    pub(crate) minutes: Vec<String>,
    /// Corpora to measure on [default: the test part of each run's training corpus]
    #[arg(long, value_delimiter = ',', value_name = "NAME|PATH", requires = "size")]
    pub(crate) eval_corpus: Vec<String>,
    /// Measure this many chunks, drawn at random, instead of all
    #[arg(long, value_name = "N", requires = "size")]
    pub(crate) sample_chunks: Option<usize>,
    /// Classical compressors to measure on the same corpora
    #[arg(long, value_delimiter = ',', requires = "size")]
    pub(crate) compressor: Vec<String>,
    /// Do only the I-th of N shares of the runs, such as 1/4; every run is in exactly one share
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    pub(crate) shard: Shard,
    /// Device to compute on: auto, cpu, cuda, cuda:1, cuda:all or gpu (of any vendor)
    #[arg(long, default_value = "auto")]
    pub(crate) device: Device,
    /// Print what would be done without doing it
    #[arg(long)]
    pub(crate) dry_run: bool,
}
