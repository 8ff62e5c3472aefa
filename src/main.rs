//! `lmtrain`: trains small language models, uses them as lossless compressors, and plots how the rate depends on size,
//! tokenization and data. This file parses arguments, opens the context, runs the command and prints one error.

mod cli;
mod commands;
mod context;
mod device;
mod progress;
mod report;
mod say;
mod signals;
mod statistics;

use std::process::ExitCode;

use clap::Parser;

/// Status after arguments that are wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    lmtrain_kernels::keep_freed_memory();
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refused) => return show_refused(&refused),
    };
    let stop = match signals::Stop::on_signals(arguments.is_quiet_on_signals()) {
        Ok(stop) => stop,
        Err(error) => return show_error(&error.into()),
    };
    let done = context::Context::open(&arguments.common, stop.clone())
        .and_then(|context| commands::run(arguments.command, &context));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match show_error(&error) {
            ExitCode::FAILURE if stop.is_asked() => ExitCode::from(stop.status()),
            status => status,
        },
    }
}

/// Says what is wrong with the arguments; or prints help and version, which are results.
fn show_refused(refused: &clap::Error) -> ExitCode {
    let strange = std::env::args_os().skip(1).filter(|argument| argument.to_str().is_none());
    let strange: Vec<String> =
        strange.map(|argument| format!("`{}`", argument.to_string_lossy())).collect();
    if refused.kind() == clap::error::ErrorKind::InvalidUtf8 && !strange.is_empty() {
        say::say(&format!(
            "error: {} is not UTF-8, but names of corpora, models and runs must be\n\
             hint: make a link to it with such a name; other files and folders may have any name",
            strange.join(", ")
        ));
        return ExitCode::from(USAGE);
    }
    match refused.print() {
        // Messages that cannot be written are dropped.
        _ if refused.use_stderr() => ExitCode::from(USAGE),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => show_error(&error.into()),
    }
}

fn show_error(error: &anyhow::Error) -> ExitCode {
    match is_closed_pipe(error) {
        true => ExitCode::SUCCESS,
        false => {
            progress::print_error(error);
            ExitCode::FAILURE
        }
    }
}

/// The reader of our output has stopped reading, as `head` does; this is not an error.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    let cause = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(kind)
    };
    error.chain().any(cause)
}
