//! `lmtrain`: train small language models, use them as lossless compressors, and chart how the rate
//! goes with size, tokenization and data. Parse, open, do, print one error.

mod cli;
mod commands;
mod context;
mod device;
mod progress;
mod report;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    lmtrain_kernels::keep_freed_memory();
    let arguments = cli::Arguments::parse();
    let done = context::Context::open(&arguments.common)
        .and_then(|context| commands::run(arguments.command, &context));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            progress::print_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Whoever read our output has had enough, as `head` does: no failure of ours.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    let cause = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(kind)
    };
    error.chain().any(cause)
}
