//! Packed networks in place of a run's name: files that `lmtrain pack` writes, and those that are built into the program.

use std::path::Path;

use anyhow::{Result, bail};
use lmtrain_engine::SavedWeights;
use lmtrain_runs::builtin::is_reserved;

use super::builtin;
use crate::context::Context;

/// What a packed network's file ends with.
const EXTENSION: &str = "lmw";

/// Whether a name means a packed network, and no run.
pub(super) fn is_packed(name: &str) -> bool {
    is_file(name) || is_reserved(name)
}

/// Whether a name is that of a packed network's file.
pub(super) fn is_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == EXTENSION)
}

/// Opens a packed network: one that is built in, or a file, by whose name it is called.
pub(super) fn open(name: &str, context: &Context) -> Result<SavedWeights> {
    if !is_file(name) {
        return builtin::open(name, context);
    }
    let path = Path::new(name);
    if !path.is_file() {
        bail!(
            "there is no file {name}\nhint: `lmtrain pack RUN -o {name}` writes a packed network"
        );
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(SavedWeights::read(path)?.of_run(&stem))
}
