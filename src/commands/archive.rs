//! `lmtrain compress` and `lmtrain decompress`: files are compressed with a run or a pretrained model, and restored bit
//! for bit.

use std::io::{self, BufWriter};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use lmtrain_engine::SavedWeights;
use lmtrain_eval::Predictor;
use lmtrain_eval::archive::{
    self, ArchiveOptions, ArchiveProgress, ArchiveReader, ArchiveSummary, Embedded, Header,
};
use lmtrain_runs::files::{Input, Output, put};
use lmtrain_runs::units::hex;
use lmtrain_runs::{Bytes, Tokenization};
use lmtrain_tokenizers::{Tokenizer, from_packed};
use serde::Serialize;

use super::output::print_json;
use super::pretrained;
use super::select::{weights, weights_file};
use super::tokenizer::{keep, of_weights};
use crate::cli;
use crate::context::Context;
use crate::progress::ShownProgress;

/// The suffixes of weights kept for archives: those of runs, and packed networks.
const KEPT: [&str; 2] = ["safetensors", "lmw"];

/// Where an archive's bytes went, as it is printed in JSON.
#[derive(Serialize)]
pub(super) struct Summary {
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
    if let Some(model) = &arguments.by.model {
        let model = pretrained::open(model, context)?;
        let options = ArchiveOptions::new(model.archive_name(), model.model.predictor());
        let (file, output) = (&arguments.file, &arguments.output);
        let by: (&dyn Predictor, &dyn Tokenizer) =
            (model.model.predictor(), model.model.tokenizer());
        let summary = compress_with(file, output, by, &options, context)?;
        return tell(&summary, output, context);
    }
    let run = arguments.by.run.as_deref().unwrap_or_default();
    let weights = weights(run, context)?;
    Output::is_not(&arguments.output, &weights_file(run, context))?;
    if !arguments.embed_model {
        keep_weights(&weights, context)?;
        keep(of_weights(&weights, context)?.as_ref(), context)?;
    }
    let summary = compress_file(
        &arguments.file,
        &arguments.output,
        &weights,
        arguments.embed_model,
        context,
    )?;
    tell(&summary, &arguments.output, context)
}

/// The folder of weights that archives depend on: a run's own weights may be trained further or deleted, and an
/// archive must still be decoded.
fn kept_weights(identity: &[u8; 32], extension: &str, context: &Context) -> PathBuf {
    context.store.root().join("weights").join(format!("{}.{extension}", hex(identity)))
}

fn keep_weights(weights: &SavedWeights, context: &Context) -> Result<()> {
    let extension = KEPT[usize::from(weights.is_packed())];
    let path = kept_weights(&weights.identity, extension, context);
    Ok(put(&path, &weights.bytes)?)
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
    Ok(summarise(summary, start.elapsed().as_secs_f64()))
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
    let (file, output) = (&arguments.file, &arguments.output);
    let model = arguments.model.as_ref().map(|name| pretrained::open(name, context));
    let model = model.transpose()?;
    let run = arguments.run.as_ref().map(|name| weights(name, context)).transpose()?;
    let by = match (&model, &run) {
        (Some(model), _) => By::Model(model),
        (None, Some(run)) => By::Run(run),
        (None, None) => By::Found,
    };
    let summary = decompress_file(file, output, by, context)?;
    tell(&summary, &arguments.output, context)
}

/// What restores an archive.
pub(super) enum By<'a> {
    /// The weights within it, else those of the run that it names.
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
                By::Found | By::Model(_) => find(reader.header(), context)?,
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
    let mut shown = ShownProgress::new(format!("decompressing {}", file.display()), context.quiet);
    let summary = reader
        .decompress(predictor, tokenizer, &mut output, &mut |progress| {
            step(&mut shown, progress, progress.archive_bytes, length, context)
        })
        .with_context(|| format!("cannot decompress {}", file.display()))?;
    finish(output)?;
    Ok(summarise(summary, start.elapsed().as_secs_f64()))
}

/// Writes what is left in the buffer, and gives the output its name.
fn finish(output: BufWriter<Output>) -> Result<()> {
    let output = output.into_inner().map_err(io::IntoInnerError::into_error);
    Ok(output.context("cannot write the output")?.finish()?)
}

/// The weights that an archive was made with: those kept for it, its run's, or those of any run that has the same
/// weights.
fn find(header: &Header, context: &Context) -> Result<SavedWeights> {
    if let Tokenization::Pretrained(_) = header.tokenization {
        let name = &header.model;
        bail!(
            "the archive was made with the pretrained model `{name}`\nhint: give its folder with `--model`"
        );
    }
    let named = context.store.run(&header.model);
    let others = context.store.runs()?;
    let kept = KEPT.map(|end| kept_weights(&header.predictor_identity, end, context));
    let runs = std::iter::once(&named).chain(&others).map(lmtrain_runs::Run::weights_path);
    let damaged = kept.iter().find(|path| path.is_file()).cloned();
    for path in kept.into_iter().chain(runs) {
        // Damaged weights of some other run are no reason to stop looking; the right ones have the
        // identity, whether or not they have a digest.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        match SavedWeights::from_bytes(bytes, &path.display().to_string()) {
            Ok(weights) if weights.identity == header.predictor_identity => return Ok(weights),
            _ => {}
        }
    }
    let identity = hex(&header.predictor_identity[..4]);
    let root = context.store.root().display();
    if let Some(copy) = damaged {
        bail!(
            "{}, the copy of the weights that was kept for this archive ({identity}…), is damaged or cannot be \
             read, and no run in {root} has these weights\n\
             hint: restore that file from a backup, or give the folder of the runs that has the weights with \
             `--runs-dir`",
            copy.display()
        );
    }
    if named.weights_path().is_file() {
        bail!(
            "run `{}` in {root} does not have the weights that the archive was made with ({identity}…)\n\
             hint: give the folder of the runs that has them with `--runs-dir`",
            header.model
        );
    }
    if named.plan_path().is_file() {
        bail!(
            "the archive was made with run `{}` (weights {identity}…), of which {root} has the records but \
             not the weights\nhint: give the folder of the runs that has them with `--runs-dir`",
            header.model
        );
    }
    bail!(
        "the archive was made with run `{}` (weights {identity}…), which is not in {root}\n\
         hint: give the folder that has it with `--runs-dir`, or its packed network with `--run FILE.lmw`; \
         `compress --embed-model` makes archives that need no run",
        header.model
    )
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

fn summarise(summary: ArchiveSummary, seconds: f64) -> Summary {
    let archive_bytes = summary.archive_bytes();
    let raw = summary.raw_bytes;
    Summary {
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
        context.say(&format!(
            "{} ⇄ {}{rate} in {}",
            summary.raw_bytes,
            summary.archive_bytes,
            lmtrain_runs::units::short_seconds(summary.seconds)
        ));
        return Ok(());
    }
    print_json(summary)
}

fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}
