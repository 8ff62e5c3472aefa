//! The command line as types, one file for each command. Arguments are resolved once, in `commands/`, into plans and
//! measurements; no later code reads arguments.

mod archive;
#[cfg(feature = "train")]
mod bench;
mod data;
mod eval;
#[cfg(feature = "train")]
mod fit;
mod generate;
mod report;
#[cfg(feature = "train")]
mod sweep;
#[cfg(test)]
mod tests;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use archive::{Compress, Decompress, Pack};
#[cfg(feature = "train")]
pub(crate) use bench::{Bench, Surface};
pub(crate) use data::{Data, Tokenizer};
pub(crate) use eval::{CorpusPart, Eval, Protocol};
#[cfg(feature = "train")]
pub(crate) use fit::{BudgetArguments, Fit, Quickstart};
pub(crate) use generate::Generate;
pub(crate) use report::Report;
#[cfg(feature = "train")]
pub(crate) use sweep::Sweep;

const EXAMPLES: &str = "\
A run is a network trained by `fit`, kept in a folder with its plan, weights and measurements.

Examples:
  lmtrain quickstart                                  try everything in a few minutes
  lmtrain compress notes.txt                          to notes.txt.lmz, with a network that is built in
  lmtrain decompress notes.txt.lmz -o restored.txt
  lmtrain fit --size 200K --corpus enwik8 --minutes 10
  lmtrain eval --size 200K --corpus enwik8 --compressor gzip,lzma2
  lmtrain eval --model ./Llama-3.2-1B --corpus enwik8 --sample-chunks 500
  lmtrain compress book.txt -o book.lmz --run 200K-bytes-modern-s0
  lmtrain decompress book.lmz -o book.txt
  lmtrain generate --with 200K-bytes-modern-s0,gzip --corpus enwik8 --chunk 7
  lmtrain report --open";

/// Train small language models and use them as lossless compressors.
#[derive(Debug, Parser)]
#[command(name = "lmtrain", version = version(), after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Folder that holds the runs [default: ./runs]
    #[arg(long, global = true, value_name = "DIR", env = "LMTRAIN_RUNS", hide_env_values = true)]
    pub(crate) runs_dir: Option<PathBuf>,
    /// Folder that holds the corpora [default: the user's data directory]
    #[arg(long, global = true, value_name = "DIR", env = "LMTRAIN_DATA", hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Folder that holds the BPE vocabularies [default: ./tokenizers/vocab]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "LMTRAIN_TOKENIZERS",
        hide_env_values = true
    )]
    pub(crate) tokenizers_dir: Option<PathBuf>,
    /// Print results as one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only results and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Try everything in a few minutes: fit, evaluate, round-trip a file, report
    #[cfg(feature = "train")]
    Quickstart(Quickstart),
    /// List, download and verify corpora
    #[command(subcommand)]
    Data(Data),
    /// Train vocabularies for byte-pair encoding (BPE); `fit` trains missing ones by itself
    Tokenizer(Tokenizer),
    /// Train a network
    #[cfg(feature = "train")]
    Fit(Fit),
    /// Train and measure many runs; skips finished ones and resumes interrupted ones
    #[cfg(feature = "train")]
    Sweep(Sweep),
    /// Measure compression rates of runs, pretrained models and compressors on corpora
    Eval(Eval),
    /// Compress a file with a network that is built in, a run or a pretrained model
    Compress(Compress),
    /// Restore a file from an archive that `compress` made
    Decompress(Decompress),
    /// Write a run's network to one small file that can be used in place of the run
    Pack(Pack),
    /// Sample continuations of a context from a run, a pretrained model or a compressor
    Generate(Generate),
    /// Write figures, tables and an HTML page from everything that was measured
    Report(Report),
    /// Measure training, scoring and coding speed on this machine
    #[cfg(feature = "train")]
    Bench(Bench),
    /// Print the choices that `fit --set` takes, with each recipe's values
    Recipes,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Arguments {
    /// Whether nothing is to be said of a signal: another process, which is told of it too, watches this.
    pub(crate) fn is_quiet_on_signals(&self) -> bool {
        #[cfg(feature = "train")]
        if let Command::Bench(bench) = &self.command
            && bench.within.is_some()
        {
            return true;
        }
        self.common.quiet
    }
}

/// Version and, if known, commit.
fn version() -> &'static str {
    match option_env!("LMTRAIN_COMMIT") {
        Some(commit) => {
            Box::leak(format!("{} ({commit})", env!("CARGO_PKG_VERSION")).into_boxed_str())
        }
        None => env!("CARGO_PKG_VERSION"),
    }
}
