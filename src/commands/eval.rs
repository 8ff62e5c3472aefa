//! `lmtrain eval`: measures runs, pretrained models and compressors on corpora, one record each. Measurements that are
//! already recorded are skipped, and interrupted ones are continued.

use std::sync::Arc;

use crate::device::Device;
use anyhow::{Context as _, Result, bail};
use lmtrain_corpora::{Corpus, Mixture};
use lmtrain_engine::SavedWeights;
use lmtrain_eval::compressors;
use lmtrain_eval::measure::Draw;
use lmtrain_runs::medium::MEDIA_CHUNK_BYTES;
use lmtrain_runs::record::{Chunking, WeightCode};
use lmtrain_runs::{Plan, Run};

use super::corpora::open_for;
use super::measure::{Coded, Cut, Results, Settings, Task, curve_of, rates};
use super::output::print_results;
use super::packed::{is_packed, open as open_packed};
use super::pretrained;
use super::select::Selection;
use crate::cli::{self, Eval};
use crate::context::Context;

pub(super) fn run(arguments: &Eval, context: &Context) -> Result<()> {
    let results = measure(arguments, None, context)?;
    print_results(&results, context.json)?;
    if context.is_stopping() {
        bail!("stopped; run the same command to continue");
    }
    Ok(())
}

/// Measures what is requested and not recorded yet, and returns every record. If no corpus is named, that is the test
/// parts of `trained_on`, or otherwise of the corpora that the plans of the runs name.
pub(super) fn measure(
    arguments: &Eval,
    trained_on: Option<&Mixture>,
    context: &Context,
) -> Result<Results> {
    lmtrain_engine::simd_level().map_err(anyhow::Error::msg)?;
    let (packed, names): (Vec<String>, Vec<String>) =
        arguments.run.iter().cloned().partition(|name| is_packed(name));
    let selection = Selection {
        names: &names,
        sizes: &arguments.size,
        tokenizations: &arguments.tokenizer,
        recipe: arguments.recipe,
    };
    let everything = selection.is_empty()
        && packed.is_empty()
        && arguments.compressor.is_empty()
        && arguments.model.is_empty();
    let mut runs = Vec::new();
    if !selection.is_empty() || everything {
        let found = selection.runs(context)?.into_iter();
        runs.extend(found.map(|(run, plan)| Chosen { run, plan, packed: None }));
    }
    for name in &packed {
        let packed = open_packed(name, context)?;
        let plan = packed.origin.plan.clone();
        let run = context.store.packed(&plan.name);
        runs.push(Chosen { run, plan, packed: Some(packed) });
    }
    let compressors = match (&arguments.compressor[..], everything) {
        ([], true) => vec!["gzip".to_owned(), "lzma2".to_owned()],
        (names, _) => names.to_vec(),
    };
    let compressors: Vec<_> =
        compressors.iter().map(|name| compressors::by_name(name)).collect::<Result<_, _>>()?;
    let settings = settings(arguments)?;
    let model_codes = model_codes(arguments)?;
    let open = |name: &String| pretrained::open_coded(name, model_codes[0], context);
    let models = arguments.model.iter().map(open).collect::<Result<Vec<_>>>()?;
    if !arguments.run.is_empty() {
        check_lengths(&runs, &settings)?;
    }
    let mut results = Results::default();
    let corpora = corpora(arguments, &runs, trained_on, context)?;
    for (corpus, part) in &corpora {
        let settings = Settings { part: *part, ..settings };
        let task = Task { corpus, settings: &settings, context };
        check_chunking(corpus, settings.chunk)?;
        // Each is one share's, whole: what it makes of a whole corpus cannot be divided.
        let own = (0..).zip(&compressors).filter(|(place, _)| settings.share.holds(*place));
        for &compressor in own.map(|(_, compressor)| compressor) {
            // They know no tokens.
            let chunked = Some(settings.chunk).filter(|it| matches!(it, Chunking::Bytes(_)));
            let is_whole_too = compressor.takes_wholes || chunked.is_none();
            let whole = Some(Chunking::Whole).filter(|_| is_whole_too);
            for chunking in whole.into_iter().chain(chunked) {
                results.add(rates(&Cut { compressor, chunking }, &task)?);
            }
            if settings.curve {
                curve_of(&Cut { compressor, chunking: settings.chunk }, &task)?;
            }
        }
        for Chosen { run, plan, packed } in &runs {
            let packed = packed.as_ref();
            let saved = [packed.map_or_else(|| plan.choices.weights.into(), |it| it.code)];
            let codes = Some(&arguments.weight_codes[..]).filter(|codes| !codes.is_empty());
            for &code in codes.unwrap_or(&saved) {
                results.add(rates(&Coded { run, plan, code, packed }, &task)?);
            }
        }
        for model in &models {
            results.add(rates(model, &task)?);
        }
    }
    // One at a time: each is in memory whole.
    drop(models);
    for &code in &model_codes[1..] {
        for name in &arguments.model {
            let model = pretrained::open_coded(name, code, context)?;
            for (corpus, part) in &corpora {
                let settings = Settings { part: *part, ..settings };
                results.add(rates(&model, &Task { corpus, settings: &settings, context })?);
            }
        }
    }
    Ok(results)
}

/// The codes that pretrained models are measured under, f16 if none is named: as their weights are stored, counted with
/// two bytes each.
fn model_codes(arguments: &Eval) -> Result<Vec<WeightCode>> {
    let asked = &arguments.weight_codes[..];
    if arguments.model.is_empty() || asked.is_empty() {
        return Ok(vec![WeightCode::F16]);
    }
    if asked.contains(&WeightCode::F32) {
        bail!(
            "`--weight-codes f32` is not available for pretrained models; available are f16 (the weights as \
             they are stored, counted with 2 bytes each), int8 and int4\nhint: leave f32 out"
        );
    }
    Ok(asked.to_vec())
}

/// A run to measure, or a packed network.
struct Chosen {
    run: Run,
    plan: Plan,
    packed: Option<SavedWeights>,
}

/// The settings of the measurement; combinations that are not possible are refused.
fn settings(arguments: &Eval) -> Result<Settings> {
    let sample = arguments.sample_chunks;
    let precision = arguments.device.scoring_precision(arguments.precision);
    let settings = Settings {
        part: arguments.part,
        chunk: arguments.chunking(),
        sample: sample.map(|chunks| Draw { chunks: chunks as u64, seed: arguments.sample_seed }),
        // A GPU measures ideal bits; coding needs the same bits on every machine. What overlaps is not coded.
        coding: !arguments.ideal && arguments.device == Device::Cpu && arguments.stride.is_none(),
        masked: arguments.protocol == cli::Protocol::Paper,
        again: arguments.again,
        share: arguments.shard,
        curve: arguments.curve,
        device: arguments.device,
        precision: precision.map_err(anyhow::Error::msg)?,
    };
    match (settings.chunk, settings.sample) {
        (Chunking::Tokens(length), Some(_)) => {
            bail!(
                "`--sample-chunks` needs chunks of bytes\nhint: `--chunk {length}`, or leave out `--sample-chunks`"
            );
        }
        (Chunking::Strided { .. }, Some(_)) => {
            bail!(
                "`--sample-chunks` needs chunks of bytes\nhint: leave out `--stride` or `--sample-chunks`"
            );
        }
        _ => {}
    }
    if settings.curve && (settings.masked || !matches!(settings.chunk, Chunking::Bytes(_))) {
        bail!("`--curve` needs lossless chunks of bytes\nhint: leave out `--curve`");
    }
    Ok(settings)
}

/// A run that was named takes the chunks.
fn check_lengths(runs: &[Chosen], settings: &Settings) -> Result<()> {
    let too_short = |plan: &&Plan| settings.length_in(plan.context) > plan.context as u64;
    let Some(plan) = runs.iter().map(|run| &run.plan).find(too_short) else { return Ok(()) };
    let (chunk, limit) = (settings.length_in(plan.context), plan.context);
    bail!(
        "run `{}` was trained with a context of {limit} tokens; chunks of {chunk} are longer\n\
         hint: `--chunk {limit}`",
        plan.name
    );
}

/// The corpora to measure on: the named ones, or the test parts of the runs' training corpora.
fn corpora(
    arguments: &Eval,
    runs: &[Chosen],
    trained_on: Option<&Mixture>,
    context: &Context,
) -> Result<Vec<(Arc<Corpus>, cli::CorpusPart)>> {
    let named = arguments.corpora();
    if !named.is_empty() {
        let open = |name: &String| Ok((open_for(name, arguments.strict, context)?, arguments.part));
        return named.iter().map(open).collect();
    }
    let part = match arguments.part {
        cli::CorpusPart::Whole => cli::CorpusPart::Test,
        part => part,
    };
    if let Some(mixture) = trained_on {
        let corpora = mixture.ingredients().iter().map(|part| part.corpus.clone());
        return Ok(corpora.map(|corpus| (corpus, part)).collect());
    }
    let names_of = |plan: &'_ Plan| match &plan.parts[..] {
        [] => vec![plan.corpus.clone()],
        parts => parts.iter().map(|part| part.corpus.clone()).collect(),
    };
    let mut names: Vec<String> = runs.iter().flat_map(|run| names_of(&run.plan)).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        bail!(
            "no corpus is given to measure on\n\
             hint: add `--corpus enwik8`, for example; `lmtrain data list` lists the corpora"
        );
    }
    let open = |name: String| -> Result<_> {
        let corpus = open_for(&name, arguments.strict, context).with_context(|| {
            format!(
                "no `--corpus` is given, and `{name}`, which the run was trained on, cannot be opened; if it is a \
                 file, give its path: `--corpus PATH --part test`"
            )
        })?;
        Ok((corpus, part))
    };
    names.into_iter().map(open).collect()
}

/// Images and sounds have chunks of their own, which no other length fits.
fn check_chunking(corpus: &Corpus, chunking: Chunking) -> Result<()> {
    let medium = corpus.medium();
    if medium.is_decoded() && chunking != Chunking::Bytes(MEDIA_CHUNK_BYTES) {
        let given = match chunking {
            Chunking::Strided { .. } => "`--stride` makes windows overlap".to_owned(),
            other => format!("`--chunk` is {other}"),
        };
        bail!(
            "a chunk of `{}` ({medium}) is always {MEDIA_CHUNK_BYTES} bytes of one file, but \
             {given}\nhint: leave it out",
            corpus.name()
        );
    }
    Ok(())
}
