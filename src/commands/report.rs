//! `lmtrain report`: figures, tables and one page from all records.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::output::{print_json, print_line};
use crate::cli::Report;
use crate::context::Context;
use crate::report::{self, Options, Written};

pub(super) fn run(arguments: &Report, context: &Context) -> Result<()> {
    let written = make(arguments, context)?;
    if context.json {
        let shown = |path: &PathBuf| path.display().to_string();
        let files: Vec<String> = written.files.iter().map(shown).collect();
        print_json(&serde_json::json!({ "page": shown(&written.page), "files": files }))?;
    } else {
        print_line(&written.page.display())?;
    }
    if arguments.open {
        open(&written.page)?;
    }
    Ok(())
}

/// Writes the report.
pub(super) fn make(arguments: &Report, context: &Context) -> Result<Written> {
    let out = arguments.output.clone().unwrap_or_else(|| context.store.root().join("report"));
    let command = context.provenance("").command;
    report::write(&context.store, &out, &Options { command, by: arguments.by.clone() })
}

/// Opens a page with the system's opener.
fn open(page: &std::path::Path) -> Result<()> {
    let opener = match std::env::consts::OS {
        "macos" => "open",
        "windows" => "explorer",
        _ => "xdg-open",
    };
    match std::process::Command::new(opener).arg(page).status() {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("`{opener}` could not open {}", page.display()),
    }
}
