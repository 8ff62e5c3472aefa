//! `lmtrain report`.

use std::path::PathBuf;

use clap::Args;
use lmtrain_runs::recipe::{self, Choice};

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Folder to write to [default: `report` in the folder of the runs]
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Also draw the rate against these choices, such as matrix-learning-rate, with a line for each size
    #[arg(long, value_name = "KEY", value_delimiter = ',', value_parser = parse_axis)]
    pub(crate) by: Vec<&'static Choice>,
    /// Open the page in a browser
    #[arg(long)]
    pub(crate) open: bool,
}

/// A choice that rates can be drawn against.
fn parse_axis(text: &str) -> Result<&'static Choice, String> {
    let choice = recipe::choice(text)?;
    let numeric = choice.is_numeric().then_some(choice);
    numeric.ok_or_else(|| format!("`{text}` is not numeric: it is {}", choice.range()))
}
