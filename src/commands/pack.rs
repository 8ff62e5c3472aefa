//! `lmtrain pack`: writes a run's network to one file, `.lmw`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
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
    let packed = packed(&saved, arguments.weights.unwrap_or(saved.code), context)?;
    let mut output = match weights_file(&arguments.run, context) {
        Some(file) => Output::of(&Input::open(&file)?, &arguments.output)?,
        None => Output::of_no_input(&arguments.output)?,
    };
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

/// The packed network in a code. What is packed in it already stays the same to the byte, since archives know a network
/// by its bytes.
fn packed(saved: &SavedWeights, code: WeightCode, context: &Context) -> Result<SavedWeights> {
    let tokenizer = of_weights(saved, context)?;
    let is_whole = saved.vocabulary[..] == *tokenizer.packed();
    match saved.is_packed() && saved.code == code && is_whole {
        true => Ok(saved.clone()),
        false => Ok(saved.packed(code, tokenizer.packed())?),
    }
}
