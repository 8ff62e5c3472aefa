//! `lmtrain quickstart`: does everything once, in a few minutes, on whatever text is available.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use lmtrain_corpora::{Corpus, FetchOptions, Part, Split};
use lmtrain_engine::SavedWeights;
use lmtrain_eval::compressors;
use lmtrain_eval::measure::Draw;
use lmtrain_runs::Medium;
use lmtrain_runs::files::write_atomic;
use lmtrain_runs::plan::TrainOn;
use lmtrain_runs::record::{Chunking, WeightCode};
use lmtrain_runs::sweep::Shard;

use super::measure::{Coded, Cut, Results, Settings, Task, rates};
use super::{archive, builtin, corpora, data, fit, output, report, select};
use crate::cli::{self, BudgetArguments, Fit, Quickstart};
use crate::context::Context;

/// Chunks that are measured of the held-out data.
const SAMPLE_CHUNKS: u64 = 200;
/// Bytes of held-out data that make the round trip.
const ROUND_TRIP_BYTES: u64 = 262_144;
const SIZE: &str = "200K";
/// Tokens of a sequence and bytes of a chunk: the paper's.
const CONTEXT: usize = 2048;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn run(arguments: &Quickstart, context: &Context) -> Result<()> {
    let corpus = corpus(arguments, context)?;
    context.say(&format!(
        "\n1. fit: {SIZE} parameters on {} for {} min",
        corpus.name(),
        arguments.minutes
    ));
    let name = format!("quickstart-{SIZE}-{}", lmtrain_runs::plan::file_safe(corpus.name()));
    // A set of images or sounds has options, which its path does not say.
    let path = corpus.path().filter(|_| corpus.files().is_none()).and_then(|path| path.to_str());
    let place = path.unwrap_or(corpus.name()).to_owned();
    fit::run(&fit_arguments(&name, place, arguments.minutes), &quiet_results(context))?;
    stop_if_asked(context)?;

    context.say("\n2. eval: on the last 5 %, which it has not seen, compared with gzip and LZMA2");
    let run = context.store.run(&name);
    let Some(plan) = run.plan()? else { bail!("run `{name}` has no plan") };
    let settings = Settings {
        part: cli::CorpusPart::Test,
        chunk: Chunking::Bytes(CONTEXT as u64),
        sample: Some(Draw { chunks: SAMPLE_CHUNKS, seed: 0 }),
        coding: true,
        masked: false,
        curve: false,
        again: false,
        share: Shard::WHOLE,
        device: crate::device::Device::Cpu,
        precision: lmtrain_runs::Precision::F32,
    };
    let task = Task { corpus: &corpus, settings: &settings, context };
    let mut results = Results::default();
    for name in ["gzip", "lzma2"] {
        let compressor = compressors::by_name(name)?;
        results.add(rates(&Cut { compressor, chunking: settings.chunk }, &task)?);
    }
    let coded = Coded { run: &run, plan: &plan, code: WeightCode::F16, packed: None };
    results.add(rates(&coded, &task)?);
    let records = results.records;
    stop_if_asked(context)?;

    context.say("\n3. compress, decompress: held-out data through archives and back, bit for bit");
    round_trip(&name, &corpus, context)?;

    context.say("\n4. report");
    let report_arguments = cli::Report { output: None, by: Vec::new(), open: false };
    output::print_rates(&records, context.json)?;
    if records
        .iter()
        .any(|record| record.adjusted_rate() > record.raw_rate().map(|rate| 2.0 * rate))
    {
        context
            .say("(the adjusted rate also counts the model's own bytes, which dominate on so little text)");
    }
    if context.json {
        report::make(&report_arguments, context)?;
    } else {
        report::run(&report_arguments, context)?;
    }
    next_steps(&name, context);
    Ok(())
}

/// The text to train on, in this order: the requested one, enwik8, another text in the data directory, a download, and
/// the project's own text.
fn corpus(arguments: &Quickstart, context: &Context) -> Result<Arc<Corpus>> {
    if let Some(name) = &arguments.corpus {
        return corpora::open_corpus(name, context);
    }
    if let Some(name) = corpora::best_text(context)? {
        context
            .say(&format!("training on `{name}`, which is in {}", context.data.text().display()));
        return corpora::open_corpus(&name, context);
    }
    if !arguments.offline {
        context.say(
            "the data directory has no text: downloading enwik8 (36 MB); `--offline` skips this",
        );
        let options =
            FetchOptions { connect_timeout: CONNECT_TIMEOUT, retries: 1, ..Default::default() };
        match data::fetch_shown("enwik8", &options, context) {
            Ok(_) => return corpora::open_corpus("enwik8", context),
            Err(error) if error.is_interrupted() => return Err(error.into()),
            Err(error) => {
                let first = error.to_string();
                context.say(&format!(
                    "the download failed: {}",
                    first.lines().next().unwrap_or_default()
                ));
            }
        }
    }
    context.say("training on `source`, this project's own text, which is built in");
    corpora::open_corpus("source", context)
}

fn fit_arguments(name: &str, corpus: String, minutes: f64) -> Fit {
    Fit {
        size: vec![SIZE.parse().unwrap_or(lmtrain_runs::LADDER[0].1)],
        tokenizer: Vec::new(),
        equal_total: false,
        corpus: Some(corpus),
        recipe: None,
        budget: BudgetArguments { tokens: None, steps: None, minutes: Some(minutes) },
        context: Some(CONTEXT),
        batch: None,
        weights: None,
        accumulate: None,
        set: Vec::new(),
        train_on: None,
        seed: None,
        device: crate::device::Device::Cpu,
        precision: None,
        name: Some(name.to_owned()),
        strict: false,
        resume: false,
        overwrite: true,
        plain: true,
        dry_run: false,
    }
}

/// Commands within this one print no results of their own.
fn quiet_results(context: &Context) -> Context {
    context.without_json()
}

fn stop_if_asked(context: &Context) -> Result<()> {
    if context.is_stopping() {
        bail!("stopped; finished work is kept");
    }
    Ok(())
}

/// Compresses some held-out bytes with the run and, if they are text, with the network that is built in, restores them
/// from each archive, and compares.
fn round_trip(name: &str, corpus: &Corpus, context: &Context) -> Result<()> {
    let test = Split::of_corpus(corpus, TrainOn::Split).span(Part::Test);
    let end = test.end.min(test.start + ROUND_TRIP_BYTES);
    let original = corpus.slice(lmtrain_runs::Span { start: test.start, end });
    let folder = context.store.run(name).folder().to_owned();
    let file = |name: &str| -> PathBuf { folder.join(name) };
    write_atomic(&file("held-out.txt"), original)?;
    let there_and_back = |name: &str, weights: &SavedWeights, archive: &str| -> Result<()> {
        let (text, archive, restored) = (file("held-out.txt"), file(archive), file("restored.txt"));
        let packed = archive::compress_file(&text, &archive, weights, false, context)?;
        archive::decompress_file(&archive, &restored, archive::By::Found, context)?;
        if std::fs::read(restored)? != original {
            bail!(
                "round trip failed: the restored file differs from the original; please report this bug"
            );
        }
        let rate = packed.rate().map_or(String::new(), |rate| format!(", {:.2} %", 100.0 * rate));
        let bytes = original.len();
        context.say(&format!("by `{name}`: {bytes} bytes{rate}, restored bit for bit"));
        Ok(())
    };
    there_and_back(name, &select::weights(name, context)?, "held-out.lmz")?;
    if corpus.medium() == Medium::Text {
        let built_in = lmtrain_runs::builtin::default();
        let weights = builtin::weights(built_in)?;
        there_and_back(built_in.name, &weights, "held-out-builtin.lmz")?;
        context.say(&format!(
            "(`{}` is built into the program; it was trained on {}, and suits such text best)",
            built_in.name, built_in.trained_on
        ));
    }
    Ok(())
}

fn next_steps(name: &str, context: &Context) {
    let built_in = lmtrain_runs::builtin::default().name;
    context.say(&format!(
        "\nNext:\n  \
         lmtrain compress FILE                             compress a file of your own to FILE.lmz, by `{built_in}`\n  \
         lmtrain compress FILE -o FILE.lmz --run {name}    the same by the network that was just trained\n  \
         lmtrain data fetch enwik8                         download the paper's training text\n  \
         lmtrain fit --size 3.2M --minutes 60              train a larger network for longer\n  \
         lmtrain eval --size 3.2M --compressor gzip,lzma2  measure it"
    ));
}
