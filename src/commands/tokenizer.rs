//! `lmtrain tokenizer`: trains vocabularies. Also finds the vocabulary that a run is trained with, and finds it again
//! for measuring, compressing and decompressing with the run.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use lmtrain_corpora::{Corpus, Part, Split};
use lmtrain_engine::SavedWeights;
use lmtrain_runs::files::serialize_path;
use lmtrain_runs::units::{hex, short_seconds};
use lmtrain_runs::{Bytes, Span, Tokenization};
use lmtrain_tokenizers::{
    BpeTokenizer, ByteTokenizer, Tokenizer, TokenizerError, TrainingText, from_packed,
};
use serde::Serialize;

use super::corpora::open_corpus;
use super::output::{print_json, print_table};
use crate::cli;
use crate::context::Context;

/// Digits of the training text's hash in the name of a file beside another of its size.
const HASH_DIGITS: usize = 8;

/// A vocabulary, as it is printed in JSON.
#[derive(Serialize)]
struct Summary {
    tokenizer: Tokenization,
    #[serde(serialize_with = "serialize_path")]
    file: PathBuf,
    corpus: String,
    trained_on: TrainingText,
    identity: String,
    tokenizer_bytes: Option<u64>,
    validation_bytes: u64,
    validation_tokens: u64,
    bytes_per_token: Option<f64>,
    /// Absent if the vocabulary was there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    train_seconds: Option<f64>,
    encode_seconds: f64,
}

/// A vocabulary, where it is, and what making it took if it was not there.
pub(super) struct Vocabulary {
    pub(super) tokenizer: BpeTokenizer,
    file: PathBuf,
    train_seconds: Option<f64>,
}

pub(super) fn run(arguments: &cli::Tokenizer, context: &Context) -> Result<()> {
    let corpus = open_corpus(&arguments.corpus, context)?;
    let split = Split::of_corpus(&corpus, arguments.train_on.into());
    let mut summaries = Vec::new();
    for tokenization in &arguments.vocab {
        if let Some(vocabulary) = for_training(tokenization, &corpus, split.train, context)? {
            summaries.push(summary(vocabulary, &corpus, split.span(Part::Validation))?);
        }
    }
    if context.json {
        return print_json(&summaries);
    }
    let rows: Vec<Vec<String>> = summaries.iter().map(Summary::row).collect();
    let header = ["", "file", "bytes/token", "compressed", "train s", "encode MB/s", "identity"];
    print_table(&header, &rows)
}

fn summary(vocabulary: Vocabulary, corpus: &Corpus, validation: Span) -> Result<Summary> {
    let Vocabulary { tokenizer, file, train_seconds } = vocabulary;
    let text = corpus.slice(validation);
    let start = Instant::now();
    let tokens = tokenizer.encode(text).len() as u64;
    let encode_seconds = start.elapsed().as_secs_f64();
    let trained_on = tokenizer.trained_on().cloned().context("it was trained on a text")?;
    Ok(Summary {
        tokenizer: tokenizer.tokenization(),
        file,
        corpus: corpus.name().to_owned(),
        trained_on,
        identity: hex(&tokenizer.identity()),
        tokenizer_bytes: tokenizer.vocabulary_bytes(),
        validation_bytes: text.len() as u64,
        validation_tokens: tokens,
        bytes_per_token: (tokens > 0).then(|| text.len() as f64 / tokens as f64),
        train_seconds,
        encode_seconds,
    })
}

impl Summary {
    fn row(&self) -> Vec<String> {
        let or_dash = |number: Option<f64>, digits: usize| {
            number.map_or("–".to_owned(), |number| format!("{number:.digits$}"))
        };
        let speed = self.validation_bytes as f64 / 1e6 / self.encode_seconds;
        vec![
            self.tokenizer.to_string(),
            self.file.display().to_string(),
            or_dash(self.bytes_per_token, 3),
            self.tokenizer_bytes.map_or("–".to_owned(), |bytes| Bytes(bytes).to_string()),
            or_dash(self.train_seconds, 1),
            or_dash(Some(speed), 0),
            self.identity[..12].to_owned(),
        ]
    }
}

/// The vocabulary that a run on this part of a corpus is trained with: one trained on the same bytes, which is made
/// and kept if there is none. None for bytes.
///
/// The first vocabulary of a size has the plain name, `bpe-5000.json`; the name of one trained on another text also
/// has some digits of that text's hash.
pub(super) fn for_training(
    tokenization: &Tokenization,
    corpus: &Corpus,
    span: Span,
    context: &Context,
) -> Result<Option<Vocabulary>> {
    let Tokenization::Bpe(tokens) = *tokenization else { return Ok(None) };
    let trained_on = TrainingText::of(corpus.slice(span));
    let digits = &trained_on.sha256[..HASH_DIGITS];
    for name in [format!("{tokenization}.json"), format!("{tokenization}-{digits}.json")] {
        let file = context.tokenizers.join(name);
        if file.is_file() {
            let tokenizer = BpeTokenizer::read(&file)?;
            let fits = tokenizer.tokenization() == *tokenization;
            if fits && tokenizer.trained_on() == Some(&trained_on) {
                return Ok(Some(Vocabulary { tokenizer, file, train_seconds: None }));
            }
            continue;
        }
        return make(tokens, corpus, span, file, context).map(Some);
    }
    bail!(
        "the vocabularies `{tokenization}` in {} were not trained on the texts that their names say\n\
         hint: remove them; `fit` trains them again",
        context.tokenizers.display()
    )
}

/// Trains a vocabulary and writes its file.
fn make(
    tokens: u32,
    corpus: &Corpus,
    span: Span,
    file: PathBuf,
    context: &Context,
) -> Result<Vocabulary> {
    let text = corpus.slice(span);
    let bytes = Bytes(text.len() as u64);
    context.say(&format!("training bpe-{tokens} on {bytes} of {} …", corpus.name()));
    let start = Instant::now();
    let tokenizer = BpeTokenizer::train(text, tokens).map_err(|error| match error {
        TokenizerError::TooShort { found, .. } if found > 256 => {
            anyhow::anyhow!("{error}\nhint: `--tokenizer bpe-{found}`, or a longer corpus")
        }
        error => error.into(),
    })?;
    tokenizer.write(&file)?;
    let seconds = start.elapsed().as_secs_f64();
    context.say(&format!("{} in {}", file.display(), short_seconds(seconds)));
    Ok(Vocabulary { tokenizer, file, train_seconds: Some(seconds) })
}

/// The tokenizer that weights were trained with: kept for an archive, with its run, with another run, or among the
/// vocabularies.
pub(super) fn of_weights(weights: &SavedWeights, context: &Context) -> Result<Box<dyn Tokenizer>> {
    let (plan, identity) = (&weights.origin.plan, &weights.origin.tokenizer);
    if plan.tokenization == Tokenization::Bytes {
        return Ok(Box::new(ByteTokenizer));
    }
    if !weights.vocabulary.is_empty() {
        let tokenizer = from_packed(&plan.tokenization, &weights.vocabulary, &plan.name)?;
        if hex(&tokenizer.identity()) != *identity {
            bail!(
                "the packed network `{}` has a vocabulary other than the one it was trained with",
                plan.name
            );
        }
        return Ok(tokenizer);
    }
    if let Ok(code) = std::fs::read(kept(identity, context)) {
        let tokenizer = from_packed(&plan.tokenization, &code, "the kept vocabulary");
        if let Some(tokenizer) = tokenizer.ok().filter(|it| hex(&it.identity()) == *identity) {
            return Ok(tokenizer);
        }
    }
    let named = context.store.run(&plan.name);
    let runs = std::iter::once(named).chain(context.store.runs()?);
    let of_runs = runs.map(|run| run.tokenizer_path());
    for file in of_runs.chain(vocabularies(&plan.tokenization, context)) {
        // A damaged vocabulary of some other run is no reason to stop looking.
        match BpeTokenizer::read(&file) {
            Ok(tokenizer) if hex(&tokenizer.identity()) == *identity => {
                return Ok(Box::new(tokenizer));
            }
            _ => {}
        }
    }
    let digits: String = identity.chars().take(12).collect();
    bail!(
        "the vocabulary `{}` ({digits}…) of run `{}` is neither in {} nor in {}\n\
         hint: give the folder that has it with `--runs-dir` or `--tokenizers-dir`",
        plan.tokenization,
        plan.name,
        context.store.root().display(),
        context.tokenizers.display()
    )
}

/// The files that may hold a vocabulary of this name.
fn vocabularies(tokenization: &Tokenization, context: &Context) -> Vec<PathBuf> {
    let prefix = tokenization.to_string();
    let entries = std::fs::read_dir(&context.tokenizers).into_iter().flatten().flatten();
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&prefix) && name.ends_with(".json")
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(fits).collect();
    files.sort();
    files
}

/// Where the vocabulary that an archive depends on is kept.
fn kept(identity: &str, context: &Context) -> PathBuf {
    context.store.root().join("weights").join(format!("{identity}.vocabulary"))
}

/// Keeps the vocabulary that an archive needs, even if the run is deleted.
pub(super) fn keep(tokenizer: &dyn Tokenizer, context: &Context) -> Result<()> {
    let path = kept(&hex(&tokenizer.identity()), context);
    if !tokenizer.packed().is_empty() {
        lmtrain_runs::files::put(&path, tokenizer.packed())?;
    }
    Ok(())
}

#[cfg(feature = "train")]
/// Puts the vocabulary beside the run's weights, and refuses a run that was started with another one.
pub(super) fn put_with_run(tokenizer: &BpeTokenizer, file: &std::path::Path) -> Result<()> {
    if !file.is_file() {
        return Ok(tokenizer.write(file)?);
    }
    if BpeTokenizer::read(file)?.identity() != tokenizer.identity() {
        bail!("the run was started with a different vocabulary, which is in {}", file.display());
    }
    Ok(())
}
