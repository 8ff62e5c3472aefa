//! `lmtrain eval`: measures runs, pretrained models and compressors on corpora, one record each,
//! skipping what is recorded already and going on with what was begun.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::device::Device;
use anyhow::{Result, bail};
use lmtrain_corpora::{Corpus, Part, Split, TrainedOn};
use lmtrain_engine::SavedWeights;
use lmtrain_eval::compressors::{self, Compressor};
use lmtrain_eval::measure::{
    CompressorMeasurement, Draw, Measured, Measurement, Outcome, Progress,
};
use lmtrain_runs::medium::MEDIA_CHUNK_BYTES;
use lmtrain_runs::plan::TrainOn;
use lmtrain_runs::record::{Chunking, Kind, Mask, WeightCode};
use lmtrain_runs::units::hex;
use lmtrain_runs::{ARITHMETIC, Bits, Bytes, Plan, Precision, RateRecord, Run, Span};

use super::curve;
use super::output::print_rates;
use super::pretrained;
use super::select::{Selection, open_again, open_for, weights_of};
use super::tokenizer::of_weights;
use crate::cli::{self, Eval};
use crate::context::Context;
use crate::progress::Progress as Shown;

/// Chunks that are measured between two signs of progress.
pub(super) const GROUP_CHUNKS: u64 = 64;
/// Bytes of a corpus whose memory is given back together.
const GIVEN_BACK_AT_ONCE: u64 = 16 << 20;
/// Bytes of enwik9 that enwik8 is, and training on it has seen.
const ENWIK8_BYTES: u64 = 100_000_000;

/// What is measured on each corpus, resolved.
pub(super) struct Settings {
    pub(super) part: cli::Part,
    pub(super) chunk: Chunking,
    pub(super) sample: Option<Draw>,
    pub(super) coding: bool,
    pub(super) code: WeightCode,
    /// Whether bytes are masked as in the paper.
    pub(super) masked: bool,
    pub(super) again: bool,
    /// Whether the rate against context is kept too.
    pub(super) curve: bool,
    pub(super) device: Device,
    pub(super) precision: Precision,
}

impl Settings {
    /// The mask on a corpus's bytes, if there is one.
    pub(super) fn mask(&self, corpus: &Corpus) -> Option<Mask> {
        self.masked.then(|| Mask::of(corpus.medium()))
    }

    /// How a corpus is cut for a network of this context.
    pub(super) fn chunking(&self, context: usize) -> Chunking {
        match self.chunk {
            Chunking::Strided { window: u64::MAX, stride } => {
                Chunking::Strided { window: context as u64, stride }
            }
            chunking => chunking,
        }
    }

    /// Bytes or tokens of a chunk or window, for a network of this context.
    pub(super) fn length_in(&self, context: usize) -> u64 {
        length_of(self.chunking(context))
    }

    /// The device as records name it; f32 goes without saying.
    pub(super) fn computing_on(&self) -> String {
        match self.precision {
            Precision::F32 => self.device.to_string(),
            rounded => format!("{}, {rounded}", self.device),
        }
    }
}

pub(super) fn run(arguments: &Eval, context: &Context) -> Result<()> {
    let records = measure(arguments, context)?;
    print_rates(&records, context.json)?;
    if context.is_stopping() {
        bail!("stopped; the same command goes on from here");
    }
    Ok(())
}

/// Measures what is asked for and not recorded yet, and gives every record.
pub(super) fn measure(arguments: &Eval, context: &Context) -> Result<Vec<RateRecord>> {
    lmtrain_engine::simd_level().map_err(anyhow::Error::msg)?;
    let selection = Selection {
        names: &arguments.run,
        sizes: &arguments.size,
        tokenizations: &arguments.tokenizer,
        recipe: arguments.recipe,
    };
    let everything =
        selection.is_empty() && arguments.compressor.is_empty() && arguments.model.is_empty();
    let runs =
        if !selection.is_empty() || everything { selection.runs(context)? } else { Vec::new() };
    let compressors = match (&arguments.compressor[..], everything) {
        ([], true) => vec!["gzip".to_owned(), "lzma2".to_owned()],
        (names, _) => names.to_vec(),
    };
    let compressors: Vec<_> =
        compressors.iter().map(|name| compressors::by_name(name)).collect::<Result<_, _>>()?;
    let settings = Settings {
        part: arguments.part,
        chunk: arguments.chunking(),
        sample: arguments
            .sample_chunks
            .map(|chunks| Draw { chunks: chunks as u64, seed: arguments.sample_seed }),
        // A GPU measures ideal bits; coding needs the same bits on every machine. What overlaps is not coded.
        coding: !arguments.ideal && arguments.device == Device::Cpu && arguments.stride.is_none(),
        code: WeightCode::F16,
        masked: arguments.protocol == cli::Protocol::Paper,
        again: arguments.again,
        curve: arguments.curve,
        device: arguments.device,
        precision: arguments
            .device
            .precision(Some(arguments.precision))
            .map_err(anyhow::Error::msg)?,
    };
    match (settings.chunk, settings.sample) {
        (Chunking::Tokens(length), Some(_)) => {
            bail!("a sample is drawn of chunks of bytes\nhint: `--chunk {length}`, or all chunks");
        }
        (Chunking::Strided { .. }, Some(_)) => {
            bail!(
                "a sample is drawn of chunks of bytes\nhint: leave `--stride` or `--sample-chunks` out"
            );
        }
        _ => {}
    }
    if settings.curve && (settings.masked || !matches!(settings.chunk, Chunking::Bytes(_))) {
        bail!("a curve is of whole bytes, in chunks of bytes\nhint: leave out `--curve`");
    }
    let models = arguments.model.iter().map(|name| pretrained::open(name, context));
    let models = models.collect::<Result<Vec<_>>>()?;
    let mut records = Vec::new();
    if let Some((_, plan)) = runs.iter().find(|(_, plan)| {
        !arguments.run.is_empty() && settings.length_in(plan.context) > plan.context as u64
    }) {
        let (chunk, limit) = (settings.length_in(plan.context), plan.context);
        bail!(
            "run `{}` was trained on {limit} tokens at a time, and chunks of {chunk} are longer\n\
             hint: `--chunk {limit}`",
            plan.name
        );
    }
    for (corpus, part) in corpora(arguments, &runs, context)? {
        let settings = Settings { part, ..settings };
        check_chunking(&corpus, settings.chunk)?;
        for compressor in &compressors {
            // They know no tokens.
            let chunked = Some(settings.chunk).filter(|it| matches!(it, Chunking::Bytes(_)));
            for chunking in std::iter::once(Chunking::Whole).chain(chunked) {
                records.extend(compressor_rate(compressor, chunking, &corpus, &settings, context)?);
            }
            if settings.curve {
                curve::of_compressor(compressor, &corpus, &settings, context)?;
            }
        }
        for (run, plan) in &runs {
            for &code in &arguments.weight_codes {
                let settings = Settings { code, ..settings };
                records.extend(run_rates(run, plan, &corpus, &settings, context)?);
            }
        }
        for model in &models {
            records.extend(pretrained::rate(model, &corpus, &settings, context)?);
        }
    }
    Ok(records)
}

/// What to measure on: the corpora named, or the test part of what the runs were trained on.
fn corpora(
    arguments: &Eval,
    runs: &[(Run, Plan)],
    context: &Context,
) -> Result<Vec<(Arc<Corpus>, cli::Part)>> {
    let named = arguments.corpora();
    if !named.is_empty() {
        let open = |name: &String| Ok((open_for(name, arguments.strict, context)?, arguments.part));
        return named.iter().map(open).collect();
    }
    let names_of = |plan: &'_ Plan| match &plan.parts[..] {
        [] => vec![plan.corpus.clone()],
        parts => parts.iter().map(|part| part.corpus.clone()).collect(),
    };
    let mut names: Vec<String> = runs.iter().flat_map(|(_, plan)| names_of(plan)).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        bail!(
            "nothing to measure on\nhint: `lmtrain eval --corpus enwik8`, or `lmtrain data list`"
        );
    }
    let part = if arguments.part == cli::Part::Whole { cli::Part::Test } else { arguments.part };
    let open = |name: String| Ok((open_for(&name, arguments.strict, context)?, part));
    names.into_iter().map(open).collect()
}

/// Images and sounds have chunks of their own, which no other length fits.
fn check_chunking(corpus: &Corpus, chunking: Chunking) -> Result<()> {
    let medium = corpus.medium();
    if medium.is_decoded() && chunking != Chunking::Bytes(MEDIA_CHUNK_BYTES) {
        let given = match chunking {
            Chunking::Strided { .. } => "`--stride` lets windows overlap".to_owned(),
            other => format!("`--chunk` is {other}"),
        };
        bail!(
            "a chunk of `{}` ({medium}) has {MEDIA_CHUNK_BYTES} bytes and is of one file, and \
             {given}\nhint: leave it out",
            corpus.name()
        );
    }
    Ok(())
}

/// The bytes that a part of a corpus is.
pub(super) fn span_of(corpus: &Corpus, part: cli::Part) -> Span {
    let split = Split::of_corpus(corpus, TrainOn::Split);
    match part {
        cli::Part::Whole => Span { start: 0, end: corpus.length() },
        cli::Part::Train => split.span(Part::Train),
        cli::Part::Validation => split.span(Part::Validation),
        cli::Part::Test => split.span(Part::Test),
    }
}

/// Bytes or tokens of a chunk.
pub(super) fn length_of(chunking: Chunking) -> u64 {
    match chunking {
        Chunking::Bytes(length) | Chunking::Tokens(length) => length,
        Chunking::Strided { window, .. } => window,
        Chunking::Whole => u64::MAX,
    }
}

/// A record of what is to be measured, with nothing measured yet.
pub(super) fn blank(
    name: &str,
    kind: Kind,
    chunking: Chunking,
    corpus: &Corpus,
    span: Span,
) -> RateRecord {
    RateRecord {
        name: name.to_owned(),
        kind,
        corpus: corpus.name().to_owned(),
        corpus_sha256: corpus.sha256().to_owned(),
        medium: Some(corpus.medium()),
        span,
        chunking,
        sample: None,
        raw_bytes: Bytes(0),
        chunks: 0,
        tokens: None,
        ideal_bits: None,
        cross_entropy_bits: None,
        bits_interval: None,
        coded_bytes: None,
        header_bytes: Bytes(0),
        cut_chunks: None,
        mask: None,
        lost_bits: None,
        missed_bits: None,
        padded_bytes: None,
        in_sample_bytes: Bytes(0),
        architecture: None,
        size: None,
        recipe: None,
        choices: Default::default(),
        tokenization: None,
        parameters: None,
        bytes_per_parameter: None,
        weight_code: None,
        weight_bytes: None,
        stored_bytes: None,
        tokenizer_bytes: None,
        trained_on: None,
        tokens_trained: None,
        seed: None,
        weights: None,
        arithmetic: (kind != Kind::Compressor).then_some(ARITHMETIC),
        preset: None,
        library: None,
        seconds: 0.0,
        provenance: Default::default(),
    }
}

/// Takes over what was measured.
pub(super) fn fill(record: &mut RateRecord, measured: Measured, context: &Context, device: &str) {
    record.sample = measured.sample;
    record.raw_bytes = measured.raw_bytes;
    record.chunks = measured.chunks.len() as u64;
    record.tokens = measured.tokens;
    record.ideal_bits = measured.ideal_bits;
    record.cross_entropy_bits = measured.cross_entropy_bits;
    record.bits_interval = measured.bits_interval(0);
    record.coded_bytes = measured.coded_bytes;
    record.cut_chunks = (measured.cut_chunks > 0).then_some(measured.cut_chunks);
    record.lost_bits = measured.lost_bits;
    record.missed_bits = measured.missed_bits;
    record.padded_bytes = measured.lost_bits.map(|_| measured.padded_bytes());
    record.header_bytes = measured.header_bytes;
    record.seconds = measured.seconds;
    record.provenance = context.provenance(device);
}

/// The record of the same measurement, if there is one and it may be used.
pub(super) fn recorded(
    run: &Run,
    record: &RateRecord,
    settings: &Settings,
) -> Result<Option<RateRecord>> {
    if settings.again
        || (settings.curve && record.kind != Kind::Compressor && !curve::is_recorded(run, record)?)
    {
        return Ok(None);
    }
    let same = |other: &RateRecord| {
        let coarser = settings.precision.is_f32() && other.provenance.device.ends_with("bf16");
        let coded = other.coded_bytes.is_some() || !settings.coding;
        other.stands_for(record) && !coarser && coded
    };
    Ok(run.rates()?.into_iter().rev().find(same))
}

/// Measures one compressor in one way on one corpus; nothing if it was stopped.
pub(super) fn compressor_rate(
    compressor: &'static Compressor,
    chunking: Chunking,
    corpus: &Corpus,
    settings: &Settings,
    context: &Context,
) -> Result<Option<RateRecord>> {
    let span = span_of(corpus, settings.part);
    let mut record = blank(compressor.name, Kind::Compressor, chunking, corpus, span);
    record.preset = Some(compressor.preset.to_owned());
    record.library = Some(compressor.library());
    record.header_bytes = Bytes(compressor.header_bytes(corpus.medium())?);
    let sample = if chunking == Chunking::Whole { None } else { settings.sample };
    let measurement = CompressorMeasurement {
        compressor,
        corpus: corpus.bytes(),
        corpus_sha256: corpus.sha256(),
        medium: corpus.medium(),
        span: span.start..span.end,
        chunking,
        sample,
    };
    let store = context.store.compressors();
    record.sample = sample.and_then(|draw| draw.of(span, length_of(chunking)));
    if let Some(found) = recorded(&store, &record, settings)? {
        return Ok(Some(found));
    }
    let label = format!("{} ({chunking}) on {}", compressor.name, corpus.name());
    let journal = store.chunks_path(&format!("{}.jsonl", measurement.fingerprint()));
    forget_if(settings.again, &journal)?;
    let mut shown = Shown::new(label, context.quiet);
    let mut give_back = giving_back(corpus, span, sample);
    let mut progress = |progress: Progress| {
        give_back(progress.raw_bytes_done);
        tell(&mut shown, progress, context)
    };
    match measurement.run(Some(&journal), &mut progress)? {
        Outcome::Stopped => Ok(None),
        Outcome::Finished(measured) => {
            fill(&mut record, measured, context, "cpu");
            corpus.check_length()?;
            store.append_rate(&record)?;
            Ok(Some(record))
        }
    }
}

/// Gives back the memory of a corpus's bytes that are done with, so many of the span; of chunks that are drawn from
/// all over it nothing is.
pub(super) fn giving_back(
    corpus: &Corpus,
    span: Span,
    sample: Option<Draw>,
) -> impl FnMut(u64) + '_ {
    let mut given_back = span.start;
    move |done| {
        let end = span.start + done;
        if sample.is_none() && end >= given_back + GIVEN_BACK_AT_ONCE {
            corpus.release(Span { start: given_back, end });
            given_back = end;
        }
    }
}

/// Measures one run on one corpus: one record, and for enwik9 a second without its head, which
/// enwik8 is.
pub(super) fn run_rates(
    run: &Run,
    plan: &Plan,
    corpus: &Corpus,
    settings: &Settings,
    context: &Context,
) -> Result<Vec<RateRecord>> {
    if context.is_stopping() {
        return Ok(Vec::new());
    }
    let saved = weights_of(run)?;
    if saved.origin.plan != *plan {
        bail!(
            "run `{}`: {} is not the plan that its weights were trained by",
            plan.name,
            run.plan_path().display()
        );
    }
    let span = span_of(corpus, settings.part);
    let (chunking, chunk) = (settings.chunking(plan.context), settings.length_in(plan.context));
    let mut record = blank(&plan.name, Kind::Run, chunking, corpus, span);
    describe(&mut record, plan, &saved);
    record.weight_code = Some(settings.code);
    record.mask = settings.mask(corpus);
    record.sample = settings.sample.and_then(|draw| draw.of(span, chunk));
    if chunk > plan.context as u64 {
        let limit = plan.context;
        context.say(&format!(
            "skipped {}: it was trained on {limit} tokens at a time, and chunks of {chunk} are longer \
             (`--chunk {limit}`)",
            plan.name
        ));
        return Ok(Vec::new());
    }
    if let Some(found) = recorded(run, &record, settings)? {
        return Ok(vec![found]);
    }
    let tokenizer = of_weights(&saved, context)?;
    record.tokenizer_bytes = tokenizer.vocabulary_bytes().map(Bytes);
    let (weights, weight_bytes) = saved.recoded(settings.code)?;
    record.weight_bytes = Some(weight_bytes);
    record.bytes_per_parameter = Some(weight_bytes.as_f64() / plan.parameters() as f64);
    let predictor = settings.device.predictor(&weights, settings.precision)?;
    let measurement = Measurement {
        predictor: predictor.as_ref(),
        tokenizer: tokenizer.as_ref(),
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
    let journal = run.chunks_path(&format!("{}.jsonl", measurement.fingerprint()));
    forget_if(settings.again, &journal)?;
    let label = format!("{} ({}) on {}", plan.name, settings.code, corpus.name());
    let mut shown = Shown::new(label, context.quiet);
    let mut give_back = giving_back(corpus, span, settings.sample);
    let mut progress = |progress: Progress| {
        give_back(progress.raw_bytes_done);
        tell(&mut shown, progress, context)
    };
    let Outcome::Finished(mut measured) = measurement.run(Some(&journal), &mut progress)? else {
        return Ok(Vec::new());
    };
    drop(shown);
    record.in_sample_bytes = in_sample(plan, corpus, span, measured.raw_bytes, context);
    let device = settings.computing_on();
    let curve = measured.curve.take();
    let rest = without_head(&record, &measured);
    fill(&mut record, measured, context, &device);
    let unseen = rest.map(|(span, rest)| {
        let in_sample_bytes = in_sample(plan, corpus, span, rest.raw_bytes, context);
        let mut unseen = RateRecord { span, in_sample_bytes, ..record.clone() };
        fill(&mut unseen, rest, context, &device);
        unseen
    });
    corpus.check_length()?;
    run.append_rate(&record)?;
    curve::keep(run, &record, curve)?;
    if let Some(unseen) = &unseen {
        run.append_rate(unseen)?;
    }
    Ok(std::iter::once(record).chain(unseen).collect())
}

/// Measuring again starts from nothing.
pub(super) fn forget_if(again: bool, journal: &std::path::Path) -> Result<()> {
    if again && journal.exists() {
        std::fs::remove_file(journal)?;
    }
    Ok(())
}

/// What a record says of a run.
fn describe(record: &mut RateRecord, plan: &Plan, weights: &SavedWeights) {
    record.size = Some(plan.size);
    record.recipe = Some(plan.recipe);
    record.choices = plan.unusual_values();
    record.tokenization = Some(plan.tokenization.clone());
    record.parameters = Some(plan.parameters());
    record.trained_on = Some(plan.corpus.clone());
    record.tokens_trained = Some(weights.origin.step * plan.tokens_per_step());
    record.seed = Some(plan.seed);
    record.weights = Some(hex(&weights.identity));
}

/// Of the bytes measured, those that the run was trained on; a sample's share is the span's.
fn in_sample(
    plan: &Plan,
    corpus: &Corpus,
    span: Span,
    measured: Bytes,
    context: &Context,
) -> Bytes {
    // Parts of a mixture that are of one text begin together.
    let of_part = |trained: TrainedOn| {
        let training = open_again(&trained.corpus.name, context).ok();
        trained.in_sample_bytes(corpus, span, training.as_deref())
    };
    let bytes = TrainedOn::of_plan(plan).into_iter().map(of_part).max().unwrap_or_default();
    let share = bytes.as_f64() / (span.end - span.start).max(1) as f64;
    Bytes((share * measured.as_f64()).round() as u64)
}

/// enwik9 without its first 10^8 bytes (from the next whole chunk on), by the chunks' ideal bits.
fn without_head(record: &RateRecord, measured: &Measured) -> Option<(Span, Measured)> {
    let Chunking::Bytes(chunk) = record.chunking else { return None };
    // What a mask takes from the rest is not told apart.
    let whole = record.span.start == 0 && measured.sample.is_none() && record.mask.is_none();
    if record.corpus != "enwik9" || !whole {
        return None;
    }
    let first = ENWIK8_BYTES.div_ceil(chunk);
    let chunks = measured.chunks.get(usize::try_from(first).ok()?..)?.to_vec();
    let rest = Measured {
        raw_bytes: Bytes(chunks.iter().map(|chunk| chunk.raw_bytes).sum()),
        ideal_bits: Some(Bits(chunks.iter().map(|chunk| chunk.bits).sum())),
        chunks,
        seconds: measured.seconds,
        ..Measured::default()
    };
    Some((Span { start: first * chunk, ..record.span }, rest))
}

/// Shows how far a measurement is, and whether to go on.
pub(super) fn tell(shown: &mut Shown, progress: Progress, context: &Context) -> ControlFlow<()> {
    let rate = if progress.raw_bytes_done > 0 {
        format!("{:.4} bits/byte", progress.bits / progress.raw_bytes_done as f64)
    } else {
        String::new()
    };
    shown.update(progress.raw_bytes_done, Some(progress.raw_bytes), &rate);
    if context.is_stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
