//! The commands: glue only. Each resolves its arguments, calls the crates, keeps records and prints.

mod archive;
#[cfg(feature = "train")]
mod bench;
mod builtin;
mod corpora;
mod data;
mod eval;
#[cfg(feature = "train")]
mod fit;
mod generate;
#[cfg(feature = "hub")]
mod hub;
mod kept;
mod measure;
mod output;
mod output_path;
mod pack;
mod packed;
mod pretrained;
#[cfg(feature = "train")]
mod quickstart;
mod recipes;
mod report;
#[cfg(feature = "train")]
mod resume;
mod select;
#[cfg(feature = "train")]
mod sweep;
mod tokenizer;
#[cfg(feature = "train")]
mod training_data;

use std::io::Write;

use anyhow::Result;
use clap::CommandFactory;

use crate::cli::{Arguments, Command};
use crate::context::Context;

/// Does what was asked.
pub(crate) fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        #[cfg(feature = "train")]
        Command::Quickstart(arguments) => quickstart::run(&arguments, context),
        Command::Data(arguments) => data::run(&arguments, context),
        Command::Tokenizer(arguments) => tokenizer::run(&arguments, context),
        #[cfg(feature = "train")]
        Command::Fit(mut arguments) => {
            arguments.device = context.open_device(arguments.device)?;
            fit::run(&arguments, context)
        }
        #[cfg(feature = "train")]
        Command::Sweep(mut arguments) => {
            arguments.device = context.open_device(arguments.device)?;
            sweep::run(&arguments, context)
        }
        Command::Eval(mut arguments) => {
            arguments.device = context.open_device(arguments.device)?;
            eval::run(&arguments, context)
        }
        Command::Compress(arguments) => archive::compress(&arguments, context),
        Command::Decompress(arguments) => archive::decompress(&arguments, context),
        Command::Pack(arguments) => pack::run(&arguments, context),
        Command::Generate(arguments) => generate::run(&arguments, context),
        Command::Report(arguments) => report::run(&arguments, context),
        #[cfg(feature = "train")]
        Command::Bench(mut arguments) => {
            arguments.device = context.open_device(arguments.device)?;
            bench::run(&arguments, context)
        }
        Command::Recipes => recipes::run(context),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            // It panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "lmtrain", &mut script);
            Ok(std::io::stdout().write_all(&script)?)
        }
    }
}
