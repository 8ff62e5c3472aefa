//! `lmtrain compress` and `lmtrain decompress`: files are compressed with a network that is built in, a run or a
//! pretrained model, and restored bit for bit.

use std::io::{self, BufWriter};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, Result};
use lmtrain_engine::SavedWeights;
use lmtrain_eval::Predictor;
use lmtrain_eval::archive::{
    self, ArchiveOptions, ArchiveProgress, ArchiveReader, ArchiveSummary, Embedded,
};
use lmtrain_runs::Bytes;
use lmtrain_runs::files::{Input, Output};
use lmtrain_runs::units::hex;
use lmtrain_tokenizers::{Tokenizer, from_packed};
use serde::Serialize;

use super::output::print_json;
use super::select::{weights, weights_file};
use super::tokenizer::of_weights;
use super::{builtin, kept, output_path, pretrained};
use crate::cli;
use crate::context::Context;
use crate::progress::ShownProgress;

/// What made an archive, and where its bytes went, as it is printed in JSON.
#[derive(Serialize)]
pub(super) struct Summary {
    /// The network's name, as the archive has it.
    model: String,
    /// The identity of its weights.
    weights: String,
    raw_bytes: Bytes,
    archive_bytes: Bytes,
    payload_bytes: Bytes,
    stored_bytes: Bytes,
    model_bytes: Bytes,
    header_bytes: Bytes,
    framing_bytes: Bytes,
    rate: Option<f64>,
    seconds: f64,
}

pub(super) fn compress(arguments: &cli::Compress, context: &Context) -> Result<()> {
    lmtrain_engine::simd_level().map_err(anyhow::Error::msg)?;
    let (file, embed) = (&arguments.file, arguments.embed_model);
    let output = &output_path::of_archive(arguments.output.as_deref(), file)?;
    if let Some(model) = &arguments.by.model {
        let model = pretrained::open(model, context)?;
        let options = ArchiveOptions::new(model.archive_name(), model.model.predictor());
        let by: (&dyn Predictor, &dyn Tokenizer) =
            (model.model.predictor(), model.model.tokenizer());
        let summary = compress_with(file, output, by, &options, context)?;
        return tell(&summary, output, context);
    }
    let weights = match &arguments.by.run {
        Some(run) => {
            let weights = weights(run, context)?;
            if let Some(read) = weights_file(run, context) {
                Output::is_not(output, &read)?;
            }
            weights
        }
        None => builtin::by_default(context)?,
    };
    if !embed {
        kept::keep(&weights, context)?;
    }
    let summary = compress_file(file, output, &weights, embed, context)?;
    tell(&summary, output, context)
}

/// Compresses one file with saved weights.
pub(super) fn compress_file(
    file: &Path,
    output: &Path,
    weights: &SavedWeights,
    embed_model: bool,
    context: &Context,
) -> Result<Summary> {
    let shipped = embed_model.then(|| weights.shipped()).transpose()?;
    let weights = shipped.as_ref().unwrap_or(weights);
    let plan = &weights.origin.plan;
    let predictor = weights.predictor()?;
    let tokenizer = of_weights(weights, context)?;
    let mut options = ArchiveOptions::new(plan.name.clone(), predictor.as_ref());
    options.embedded = embed_model.then(|| Embedded {
        vocabulary: tokenizer.packed().to_vec(),
        weights: weights.bytes.to_vec(),
    });
    compress_with(file, output, (predictor.as_ref(), tokenizer.as_ref()), &options, context)
}

/// Compresses one file with any predictor and its tokenizer.
fn compress_with(
    file: &Path,
    output: &Path,
    (predictor, tokenizer): (&dyn Predictor, &dyn Tokenizer),
    options: &ArchiveOptions,
    context: &Context,
) -> Result<Summary> {
    let start = std::time::Instant::now();
    let mut input = Input::open(file)?;
    let mut output = BufWriter::new(Output::of(&input, output)?);
    let length = input.length();
    let mut shown = ShownProgress::new(format!("compressing {}", file.display()), context.quiet);
    let summary = archive::compress(
        &mut input,
        &mut output,
        predictor,
        tokenizer,
        options,
        &mut |progress| step(&mut shown, progress, progress.raw_bytes, length, context),
    )?;
    drop(shown);
    tell_stored(&summary, context);
    finish(output)?;
    let by = (options.model.clone(), &predictor.identity());
    Ok(summarise(summary, by, start.elapsed().as_secs_f64()))
}

/// Says how much of a file is not coded, and why.
fn tell_stored(summary: &ArchiveSummary, context: &Context) {
    let stored = summary.stored_bytes;
    match summary.unspelt {
        _ if stored == Bytes(0) => {}
        Some(byte) => context.say(&format!(
            "{stored} of {} are stored uncompressed, in whole blocks, because the model's vocabulary \
             cannot represent the byte {byte:#04x}\nhint: a run codes every byte: `lmtrain compress --run NAME`",
            summary.raw_bytes
        )),
        None => context.say(&format!(
            "{stored} of {} are stored uncompressed, because coding would make them longer",
            summary.raw_bytes
        )),
    }
}

pub(super) fn decompress(arguments: &cli::Decompress, context: &Context) -> Result<()> {
    lmtrain_engine::simd_level().map_err(anyhow::Error::msg)?;
    let file = &arguments.file;
    let output = &output_path::of_restored(arguments.output.as_deref(), file)?;
    let model = arguments.model.as_ref().map(|name| pretrained::open(name, context));
    let model = model.transpose()?;
    let run = arguments.run.as_ref().map(|name| weights(name, context)).transpose()?;
    let by = match (&model, &run) {
        (Some(model), _) => By::Model(model),
        (None, Some(run)) => By::Run(run),
        (None, None) => By::Found,
    };
    let summary = decompress_file(file, output, by, context)?;
    tell(&summary, output, context)
}

/// What restores an archive.
pub(super) enum By<'a> {
    /// The weights within it, else those that it was made with, wherever they are.
    Found,
    Run(&'a SavedWeights),
    Model(&'a pretrained::Named),
}

/// Restores one file.
pub(super) fn decompress_file(
    file: &Path,
    output: &Path,
    by: By<'_>,
    context: &Context,
) -> Result<Summary> {
    let start = std::time::Instant::now();
    let input = Input::open(file)?;
    // Before anything that takes long: whether there is somewhere to write to.
    let output = Output::of(&input, output)?;
    let length = input.length();
    let mut reader = ArchiveReader::open(input)
        .with_context(|| format!("cannot decompress {}", file.display()))?;
    if let By::Model(model) = by {
        let by: (&dyn Predictor, &dyn Tokenizer) =
            (model.model.predictor(), model.model.tokenizer());
        return restore(reader, (file, output), by, (start, length), context);
    }
    let (weights, tokenizer) = match reader.take_embedded() {
        Some(embedded) => {
            let name = &reader.header().tokenization;
            let tokenizer = from_packed(name, &embedded.vocabulary, "the archive's vocabulary")?;
            (SavedWeights::from_bytes(embedded.weights, "the archive")?, tokenizer)
        }
        None => {
            let weights = match by {
                By::Run(weights) => weights.clone(),
                By::Found | By::Model(_) => kept::find(reader.header(), context)?,
            };
            let tokenizer = of_weights(&weights, context)?;
            (weights, tokenizer)
        }
    };
    let predictor = weights.predictor()?;
    let by = (predictor.as_ref(), tokenizer.as_ref());
    restore(reader, (file, output), by, (start, length), context)
}

/// Restores what a reader has begun with.
fn restore(
    reader: ArchiveReader<Input>,
    (file, output): (&Path, Output),
    (predictor, tokenizer): (&dyn Predictor, &dyn Tokenizer),
    (start, length): (std::time::Instant, Option<u64>),
    context: &Context,
) -> Result<Summary> {
    let mut output = BufWriter::new(output);
    let (model, identity) = (reader.header().model.clone(), reader.header().predictor_identity);
    let mut shown = ShownProgress::new(format!("decompressing {}", file.display()), context.quiet);
    let summary = reader
        .decompress(predictor, tokenizer, &mut output, &mut |progress| {
            step(&mut shown, progress, progress.archive_bytes, length, context)
        })
        .with_context(|| format!("cannot decompress {}", file.display()))?;
    finish(output)?;
    Ok(summarise(summary, (model, &identity), start.elapsed().as_secs_f64()))
}

/// Writes what is left in the buffer, and gives the output its name.
fn finish(output: BufWriter<Output>) -> Result<()> {
    let output = output.into_inner().map_err(io::IntoInnerError::into_error);
    Ok(output.context("cannot write the output")?.finish()?)
}

fn step(
    shown: &mut ShownProgress,
    progress: ArchiveProgress,
    done: u64,
    of: Option<u64>,
    context: &Context,
) -> ControlFlow<()> {
    let raw = Bytes(progress.raw_bytes);
    let archive = Bytes(progress.archive_bytes);
    shown.update(done, of, &format!("{raw} / {archive}"));
    if context.is_stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// `model` is the name of what predicted, and its identity.
fn summarise(
    summary: ArchiveSummary,
    (model, identity): (String, &[u8; 32]),
    seconds: f64,
) -> Summary {
    let archive_bytes = summary.archive_bytes();
    let raw = summary.raw_bytes;
    Summary {
        model,
        weights: hex(identity),
        raw_bytes: raw,
        archive_bytes,
        payload_bytes: summary.payload_bytes,
        stored_bytes: summary.stored_bytes,
        model_bytes: summary.model_bytes,
        header_bytes: summary.header_bytes,
        framing_bytes: summary.framing_bytes,
        rate: (raw.0 > 0).then(|| archive_bytes.as_f64() / raw.as_f64()),
        seconds,
    }
}

impl Summary {
    /// Archive / raw bytes.
    #[cfg(feature = "train")]
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }
}

/// Reports the result; on standard error if the output went to standard output.
fn tell(summary: &Summary, output: &Path, context: &Context) -> Result<()> {
    if is_standard(output) || !context.json {
        let rate = summary.rate.map_or(String::new(), |rate| format!(" ({:.2} %)", 100.0 * rate));
        let file =
            if is_standard(output) { String::new() } else { format!("{}: ", output.display()) };
        context.say(&format!(
            "{file}{} ⇄ {}{rate} in {} by `{}`",
            summary.raw_bytes,
            summary.archive_bytes,
            lmtrain_runs::units::short_seconds(summary.seconds),
            summary.model
        ));
        return Ok(());
    }
    print_json(summary)
}

fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}
