//! The lines that a sweep is made of, as command lines of `fit` and `eval`.

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use lmtrain_corpora::Planned;

use super::super::fit::Draft;
use crate::cli::{Arguments, Command, Eval, Fit};
use crate::device::Device;

/// Command lines as arguments, each with the device.
pub(super) fn parsed<T: Line>(lines: &[Vec<String>], device: Device) -> Result<Vec<T>> {
    lines.iter().map(|flags| T::parse(flags, device)).collect()
}

/// A command that a sweep is made of.
pub(super) trait Line: Sized {
    const NAME: &'static str;

    /// The command's arguments, if it is this one, computing on `device`.
    fn of(command: Command, device: Device) -> Option<Self>;

    fn parse(flags: &[String], device: Device) -> Result<Self> {
        let line = ["lmtrain", Self::NAME].into_iter().map(str::to_owned);
        let arguments = Arguments::try_parse_from(line.chain(flags.iter().cloned()));
        let arguments = arguments.map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            anyhow::anyhow!("`lmtrain {} {}`: {first}", Self::NAME, flags.join(" "))
        })?;
        Self::of(arguments.command, device).context("another command")
    }
}

impl Line for Fit {
    const NAME: &'static str = "fit";

    fn of(command: Command, device: Device) -> Option<Self> {
        let Command::Fit(fit) = command else { return None };
        Some(Fit { device, resume: true, plain: true, ..fit })
    }
}

impl Line for Eval {
    const NAME: &'static str = "eval";

    fn of(command: Command, device: Device) -> Option<Self> {
        let Command::Eval(eval) = command else { return None };
        Some(Eval { device, ..eval })
    }
}

/// What the one run that a line names is to be.
pub(super) fn draft_of(flags: &Fit, line: &[String], data: Planned) -> Result<Draft> {
    let ([size], [tokenization]) = (&flags.size[..], &flags.tokenizers()[..]) else {
        bail!("`{}` is more than one run: write several values as a TOML list", line.join(" "));
    };
    Draft::new(flags, *size, tokenization, data)
}
