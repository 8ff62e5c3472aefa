//! Pretrained models by the folder that they are in: opening them, and measuring one on a corpus.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use lmtrain_corpora::Corpus;
use lmtrain_engine::pretrained::PretrainedModel;
use lmtrain_eval::Predictor;
use lmtrain_eval::measure::{Measurement, Outcome, Progress};
use lmtrain_runs::record::{Chunking, Kind};
use lmtrain_runs::units::{hex, short_count};
use lmtrain_runs::{Bytes, RateRecord, Span};
use lmtrain_tokenizers::Tokenizer;

use super::curve;
use super::eval::{
    GROUP_CHUNKS, Settings, blank, fill, forget_if, giving_back, length_of, recorded, span_of, tell,
};
use crate::context::Context;
use crate::progress::Progress as Shown;

/// Bytes of a parameter in the paper's adjusted rate.
const PAPER_BYTES: f64 = 2.0;
/// Most bytes of a name in an archive.
const MOST_NAME: usize = 255;

/// A model with its name.
pub(super) struct Named {
    /// The last part of its folder's path.
    pub(super) name: String,
    pub(super) model: PretrainedModel,
}

impl Named {
    /// The name as an archive holds it.
    pub(super) fn archive_name(&self) -> &str {
        let cut = (0..=MOST_NAME).rev().find(|&at| self.name.is_char_boundary(at));
        self.name.get(..cut.unwrap_or(0)).unwrap_or(&self.name)
    }
}

/// Opens a model by its folder, or by its name on the hub.
pub(super) fn open(name: &str, context: &Context) -> Result<Named> {
    let (name, folder) = find(name, context)?;
    let model = PretrainedModel::open(&folder)?;
    context.say(&format!(
        "{name}: {}, {} parameters, {} tokens, context {}",
        model.architecture(),
        short_count(model.parameters()),
        model.vocabulary(),
        model.context(),
    ));
    Ok(Named { name, model })
}

/// The model that a name means, and its folder.
fn find(name: &str, context: &Context) -> Result<(String, PathBuf)> {
    let path = Path::new(name);
    if path.is_file() {
        if path.extension().is_some_and(|end| end == "gguf") {
            bail!("{name}: GGUF is not read; a model is a folder of safetensors\n{HINT}");
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new("."));
        bail!("{name} is a file; a model is its folder\nhint: `--model {}`", folder.display());
    }
    if !path.exists() {
        return elsewhere(name, context);
    }
    // `.` and `..` have no name of their own.
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let last = whole.file_name().map(|last| last.to_string_lossy().into_owned());
    Ok((last.unwrap_or_else(|| name.to_owned()), path.to_owned()))
}

/// A model that is not here.
#[cfg(feature = "hub")]
fn elsewhere(name: &str, context: &Context) -> Result<(String, PathBuf)> {
    match super::hub::is_name(name) {
        true => Ok((name.to_owned(), super::hub::fetch(name, context)?)),
        false => {
            bail!("there is no folder {name}, and it is no name on the hub\n{HINT}, or OWNER/NAME")
        }
    }
}

/// A model that is not here.
#[cfg(not(feature = "hub"))]
fn elsewhere(name: &str, _context: &Context) -> Result<(String, PathBuf)> {
    bail!("there is no folder {name}\n{HINT}; a build with `--features hub` takes OWNER/NAME too")
}

const HINT: &str =
    "hint: `--model` takes a folder with config.json, model.safetensors and tokenizer.json";

/// Measures a model on a corpus; nothing if it was stopped.
pub(super) fn rate(
    named: &Named,
    corpus: &Corpus,
    settings: &Settings,
    context: &Context,
) -> Result<Option<RateRecord>> {
    if context.is_stopping() {
        return Ok(None);
    }
    let span = span_of(corpus, settings.part);
    let chunking = settings.chunking(named.model.context());
    let mut record = described(named, corpus, span, chunking);
    record.mask = settings.mask(corpus);
    record.sample = settings.sample.and_then(|draw| draw.of(span, length_of(chunking)));
    let store = context.store.pretrained(&named.name);
    if let Some(found) = recorded(&store, &record, settings)? {
        return Ok(Some(found));
    }
    say_memory(named, chunking, context);
    let elsewhere =
        settings.device.pretrained(&named.model, settings.precision).map_err(anyhow::Error::msg)?;
    let measurement = Measurement {
        predictor: elsewhere.as_deref().unwrap_or(&named.model),
        tokenizer: named.model.tokenizer(),
        corpus: corpus.bytes(),
        corpus_sha256: corpus.sha256(),
        span: span.start..span.end,
        chunking,
        sample: settings.sample,
        mask: record.mask,
        coding: settings.coding,
        curve: settings.curve,
        group_chunks: GROUP_CHUNKS,
    };
    let journal = store.chunks_path(&format!("{}.jsonl", measurement.fingerprint()));
    forget_if(settings.again, &journal)?;
    let mut shown = Shown::new(format!("{} on {}", named.name, corpus.name()), context.quiet);
    let mut give_back = giving_back(corpus, span, settings.sample);
    let mut progress = |progress: Progress| {
        give_back(progress.raw_bytes_done);
        tell(&mut shown, progress, context)
    };
    let Outcome::Finished(mut measured) = measurement.run(Some(&journal), &mut progress)? else {
        return Ok(None);
    };
    drop(shown);
    let curve = measured.curve.take();
    fill(&mut record, measured, context, &settings.computing_on());
    if let Some(cut) = record.cut_chunks {
        context.say(&format!(
            "{cut} of {} chunks were longer than the context of {} tokens, and cut",
            record.chunks,
            named.model.context()
        ));
    }
    record.tokenizer_bytes = named.model.tokenizer().vocabulary_bytes().map(Bytes);
    corpus.check_length()?;
    store.append_rate(&record)?;
    curve::keep(&store, &record, curve)?;
    Ok(Some(record))
}

/// Tokens of a chunk from which on it is said what one takes in memory.
const LONG: usize = 2048;

/// Says what a long chunk takes in memory.
fn say_memory(named: &Named, chunking: Chunking, context: &Context) {
    let tokens = usize::try_from(length_of(chunking)).unwrap_or(usize::MAX);
    let tokens = tokens.min(named.model.context());
    if tokens > LONG {
        let bytes = named.model.engine().sequence_bytes(tokens);
        let mebibytes = bytes.div_ceil(1 << 20);
        context.say(&format!(
            "{}: a chunk of {tokens} tokens takes up to {mebibytes} MiB on each thread, besides the weights",
            named.name
        ));
    }
}

/// A record of a model with nothing measured yet.
fn described(named: &Named, corpus: &Corpus, span: Span, chunking: Chunking) -> RateRecord {
    let model = &named.model;
    let mut record = blank(&named.name, Kind::Pretrained, chunking, corpus, span);
    record.architecture = Some(model.architecture().to_owned());
    record.tokenization = Some(model.tokenizer().tokenization());
    record.parameters = Some(model.parameters());
    record.bytes_per_parameter = Some(PAPER_BYTES);
    record.stored_bytes = Some(model.stored_bytes());
    record.weights = Some(hex(&model.identity()));
    record
}
