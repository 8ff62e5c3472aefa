//! `lmtrain pack`: writes a run's network to one file, `.lmw`. Also the use of such files in place of a run's name.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use lmtrain_engine::SavedWeights;
use lmtrain_runs::Bytes;
use lmtrain_runs::files::{Input, Output, serialize_path};
use lmtrain_runs::record::WeightCode;
use lmtrain_runs::units::short_count;
use serde::Serialize;

use super::output::print_json;
use super::select::{weights, weights_file};
use super::tokenizer::of_weights;
use crate::cli;
use crate::context::Context;

/// What a packed network's file ends with.
const EXTENSION: &str = "lmw";

/// A packed network, as it is printed in JSON.
#[derive(Serialize)]
struct Summary {
    run: String,
    #[serde(serialize_with = "serialize_path")]
    file: PathBuf,
    weight_code: WeightCode,
    bytes: Bytes,
    vocabulary_bytes: Bytes,
    parameters: u64,
    /// Of the whole file but the vocabulary.
    bits_per_parameter: f64,
}

pub(super) fn run(arguments: &cli::Pack, context: &Context) -> Result<()> {
    let saved = weights(&arguments.run, context)?;
    let tokenizer = of_weights(&saved, context)?;
    let packed = saved.packed(arguments.weights.unwrap_or(saved.code), tokenizer.packed())?;
    let input = Input::open(&weights_file(&arguments.run, context))?;
    let mut output = Output::of(&input, &arguments.output)?;
    output.write_all(&packed.bytes)?;
    output.finish()?;
    let (bytes, vocabulary) = (packed.bytes.len() as u64, packed.vocabulary.len() as u64);
    let parameters = packed.origin.plan.parameters();
    let summary = Summary {
        run: arguments.run.clone(),
        file: arguments.output.clone(),
        weight_code: packed.code,
        bytes: Bytes(bytes),
        vocabulary_bytes: Bytes(vocabulary),
        parameters,
        bits_per_parameter: 8.0 * (bytes - vocabulary) as f64 / parameters as f64,
    };
    if context.json && arguments.output != Path::new("-") {
        return print_json(&summary);
    }
    let vocabulary = match vocabulary {
        0 => String::new(),
        bytes => format!(", plus {} for the vocabulary", Bytes(bytes)),
    };
    context.say(&format!(
        "{}: {}, {} parameters in {}: {:.2} bits each{vocabulary}",
        arguments.output.display(),
        summary.bytes,
        short_count(parameters),
        summary.weight_code,
        summary.bits_per_parameter,
    ));
    Ok(())
}

/// Whether a name means a packed network, and no run.
pub(super) fn is_packed(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == EXTENSION)
}

/// Opens a packed network, which is called what its file is.
pub(super) fn open(name: &str) -> Result<SavedWeights> {
    let path = Path::new(name);
    if !path.is_file() {
        bail!(
            "there is no file {name}\nhint: `lmtrain pack RUN -o {name}` writes a packed network"
        );
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(SavedWeights::read(path)?.of_run(&stem))
}
