//! `lmtrain bench`: training, scoring and coding speed on this machine, compared with the machine's peak. Each size is
//! measured in a separate process, so that its peak memory can be measured.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lmtrain_eval::Predictor;
use lmtrain_eval::archive::{self, ArchiveOptions, ArchiveReader};
use lmtrain_runs::plan::TrainOn;
use lmtrain_runs::units::short_count;
use lmtrain_runs::{Budget, Bytes, Plan, Precision, Size, Tokenization, machine};
use lmtrain_tokenizers::{BpeTokenizer, ByteTokenizer, Tokenizer};
use serde::{Deserialize, Serialize};

use super::corpora::open_corpus;
use super::output::{print_json, print_line, print_table};
use crate::cli::{Bench, Surface};
use crate::context::Context;
use crate::statistics::median;

/// The number of bytes to code, in whole blocks, chosen so that scoring them takes a given number of seconds.
const CODING_SECONDS: f64 = 1.5;
/// The fewest bytes that are coded, and the most.
const CODED: [usize; 2] = [1 << 17, 1 << 22];
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is printed.
#[derive(Serialize)]
struct PrintedSpeeds {
    machine: String,
    simd: String,
    threads: usize,
    device: String,
    precision: Precision,
    commit: Option<String>,
    /// The most that was seen, here and around each size's figures.
    peak_flops_per_s: f64,
    gemm_flops_per_s: f64,
    copy_bytes_per_s: f64,
    sizes: Vec<Speed>,
}

/// One size's speed: medians over the timed steps. What was not measured is absent. Shares are of the
/// peak around that figure.
#[derive(Default, Serialize, Deserialize)]
struct Speed {
    size: String,
    parameters: u64,
    batch: usize,
    context: usize,
    train_tokens_per_s: Option<f64>,
    train_peak_share: Option<f64>,
    train_peak_flops_per_s: Option<f64>,
    train_memory_bytes: Option<u64>,
    /// In bf16, where that is faster and not what is measured anyway.
    train_bf16_tokens_per_s: Option<f64>,
    train_bf16_peak_share: Option<f64>,
    score_tokens_per_s: Option<f64>,
    score_peak_share: Option<f64>,
    score_peak_flops_per_s: Option<f64>,
    score_memory_bytes: Option<u64>,
    encode_bytes_per_s: Option<f64>,
    decode_bytes_per_s: Option<f64>,
    code_memory_bytes: Option<u64>,
}

pub(super) fn run(arguments: &Bench, context: &Context) -> Result<()> {
    let simd = lmtrain_engine::simd_level().map_err(anyhow::Error::msg)?;
    if let Some(size) = arguments.within {
        end_with_parent()?;
        return print_json(&measure(arguments, size, context)?);
    }
    context.say("measuring the machine …");
    let precision = precision(arguments)?;
    let peak = arguments.device.peak(precision)?;
    let mut sizes = Vec::new();
    for size in &arguments.size {
        context.say(&format!("{size} …"));
        sizes.push(measure_apart(*size, context)?);
    }
    let peaks = sizes.iter().flat_map(|it| [it.train_peak_flops_per_s, it.score_peak_flops_per_s]);
    let peak_flops_per_s = peaks.flatten().fold(peak.flops_per_s, f64::max);
    let provenance = context.provenance("");
    let outcome = PrintedSpeeds {
        machine: provenance.machine,
        simd,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        device: arguments.device.to_string(),
        precision,
        commit: provenance.commit,
        peak_flops_per_s,
        gemm_flops_per_s: peak.gemm_flops_per_s,
        copy_bytes_per_s: peak.copy_bytes_per_s,
        sizes,
    };
    if context.json { print_json(&outcome) } else { print(&outcome) }
}

/// Runs this command for one size in a separate process, which is ended when a stop is requested.
fn measure_apart(size: Size, context: &Context) -> Result<Speed> {
    let program = std::env::current_exe().context("cannot find the program's own file")?;
    let mut command = std::process::Command::new(program);
    command.args(std::env::args_os().skip(1));
    command.args(["--within", &size.to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // What it prints is short: it waits in the pipe until it is read.
    while child.try_wait()?.is_none() && !context.is_stopping() {
        std::thread::sleep(LOOK_EVERY);
    }
    if context.is_stopping() {
        child.kill()?;
        child.wait()?;
        bail!("stopped");
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("size {size} could not be measured");
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Ends this process with the one that started it, which holds its standard input open.
fn end_with_parent() -> Result<()> {
    let thread = std::thread::Builder::new().name("parent".to_owned());
    thread.spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        signal_hook::low_level::exit(1)
    })?;
    Ok(())
}

fn measure(arguments: &Bench, size: Size, context: &Context) -> Result<Speed> {
    let plan = plan(arguments, size)?;
    let mut speed = Speed {
        size: size.to_string(),
        parameters: plan.parameters(),
        batch: plan.batch,
        context: plan.context,
        ..Speed::default()
    };
    let wanted = |surface| arguments.only.is_empty() || arguments.only.contains(&surface);
    let probe = || Ok(arguments.device.peak_flops_per_s(plan.precision)?);
    if wanted(Surface::Score) || wanted(Surface::Code) {
        let weights = lmtrain_train::untrained(&plan)?;
        let predictor = arguments.device.predictor(&weights, plan.precision)?;
        let scored = || score(&plan, &*predictor, arguments.steps);
        let (tokens_per_s, peak) = around(probe, plan.flops_per_token() / 3, scored)?;
        speed.score_tokens_per_s = Some(tokens_per_s);
        speed.score_peak_flops_per_s = Some(peak.flops_per_s);
        speed.score_peak_share = Some(peak.share);
        speed.score_memory_bytes = machine::peak_memory().map(|bytes| bytes.0);
        if wanted(Surface::Code) && predictor.is_exact() {
            let [encode, decode] = code(&plan, &*predictor, tokens_per_s, context)?;
            speed.encode_bytes_per_s = Some(encode);
            speed.decode_bytes_per_s = Some(decode);
            speed.code_memory_bytes = machine::peak_memory().map(|bytes| bytes.0);
        }
    }
    if wanted(Surface::Train) && !context.is_stopping() {
        let trained = |plan: &Plan| {
            let seconds = typical(arguments.device.training_seconds(plan, arguments.steps)?)?;
            Ok(plan.tokens_per_step() as f64 / seconds)
        };
        let (tokens_per_s, peak) = around(probe, plan.flops_per_token(), || trained(&plan))?;
        speed.train_tokens_per_s = Some(tokens_per_s);
        speed.train_peak_flops_per_s = Some(peak.flops_per_s);
        speed.train_peak_share = Some(peak.share);
        speed.train_memory_bytes = machine::peak_memory().map(|bytes| bytes.0);
        if arguments.precision.is_none()
            && plan.precision == Precision::F32
            && arguments.device.is_faster_in_bf16()
        {
            let plan = Plan { precision: Precision::Bf16, ..plan };
            let probe = || Ok(arguments.device.peak_flops_per_s(plan.precision)?);
            let (tokens_per_s, peak) = around(probe, plan.flops_per_token(), || trained(&plan))?;
            speed.train_bf16_tokens_per_s = Some(tokens_per_s);
            speed.train_bf16_peak_share = Some(peak.share);
        }
    }
    Ok(speed)
}

/// The peak of a device around some work, and the share of it that the work reaches.
struct PeakAround {
    flops_per_s: f64,
    share: f64,
}

/// Tokens a second by `work`, and the peak around it: the larger of one probe before and one after,
/// since other machines' work may slow either. Work that is faster than both was there in a better
/// moment; a few more probes may find one, and else what the work did is the most there is.
fn around(
    probe: impl Fn() -> Result<f64>,
    flops_per_token: u64,
    work: impl FnOnce() -> Result<f64>,
) -> Result<(f64, PeakAround)> {
    const MORE: usize = 5;
    let before = probe()?;
    let tokens_per_s = work()?;
    let mut flops_per_s = before.max(probe()?);
    let reached = tokens_per_s * flops_per_token as f64;
    for _ in 0..MORE {
        if reached > flops_per_s {
            flops_per_s = flops_per_s.max(probe()?);
        }
    }
    let flops_per_s = flops_per_s.max(reached);
    Ok((tokens_per_s, PeakAround { flops_per_s, share: reached / flops_per_s }))
}

/// What is measured in: training's, for scoring too.
fn precision(arguments: &Bench) -> Result<Precision> {
    arguments.device.precision(arguments.precision).map_err(anyhow::Error::msg)
}

fn plan(arguments: &Bench, size: Size) -> Result<Plan> {
    let row = arguments.recipe.row_for(size, arguments.context);
    let row = row.with(&arguments.set).map_err(anyhow::Error::msg)?;
    row.choices.check_size(size).map_err(anyhow::Error::msg)?;
    Ok(Plan {
        name: format!("bench-{size}"),
        size,
        tokenization: arguments.tokenizer.clone(),
        recipe: arguments.recipe,
        corpus: "random".into(),
        corpus_bytes: Bytes(0),
        corpus_sha256: String::new(),
        train_on: TrainOn::All,
        train_span: None,
        parts: Vec::new(),
        budget: Budget::Steps(1000),
        steps: 1000,
        context: arguments.context,
        batch: arguments.batch,
        accumulation: 1,
        seed: 0,
        validate_every: 1000,
        validation_sequences: 1,
        choices: row.choices,
        precision: precision(arguments)?,
    })
}

fn score(plan: &Plan, predictor: &dyn Predictor, steps: u64) -> Result<f64> {
    const WARM_UP: u64 = 2;
    let mut generator = lmtrain_runs::random::SplitMix64::new(0);
    let vocabulary = plan.tokenization.vocabulary() as u64;
    let mut chunk =
        || -> Vec<u32> { (0..plan.context).map(|_| generator.below(vocabulary) as u32).collect() };
    let chunks: Vec<Vec<u32>> = (0..plan.batch).map(|_| chunk()).collect();
    let chunks: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
    let mut seconds = Vec::new();
    for step in 0..WARM_UP + steps {
        let start = Instant::now();
        predictor.score(&chunks)?;
        if step >= WARM_UP {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    Ok((plan.batch * plan.context) as f64 / typical(seconds)?)
}

/// Bytes a second, compressing and decompressing the project's own text.
fn code(
    plan: &Plan,
    predictor: &dyn Predictor,
    tokens_per_s: f64,
    context: &Context,
) -> Result<[f64; 2]> {
    let source = open_corpus("source", context)?;
    let tokenizer: Box<dyn Tokenizer> = match plan.tokenization {
        Tokenization::Bytes => Box::new(ByteTokenizer),
        Tokenization::Pretrained(_) => {
            bail!("the tokenizer of a run is `bytes` or a BPE vocabulary such as `bpe-5000`")
        }
        Tokenization::Bpe(tokens) => Box::new(BpeTokenizer::train(source.bytes(), tokens)?),
    };
    let mut options = ArchiveOptions::new(plan.name.as_str(), predictor);
    options.chunk_tokens = plan.context.min(options.chunk_tokens as usize) as u32;
    options.stores = false;
    let block = options.block_bytes as usize;
    let [least, most] = CODED;
    let wanted = ((CODING_SECONDS * tokens_per_s) as usize).clamp(least, most);
    let text = source.bytes().iter().copied().cycle();
    let bytes: Vec<u8> = text.take(wanted.next_multiple_of(block)).collect();
    let (mut coded, mut decoded) = (Vec::new(), Vec::new());
    let mut go_on = |_| std::ops::ControlFlow::Continue(());
    let start = Instant::now();
    archive::compress(&mut &bytes[..], &mut coded, predictor, &*tokenizer, &options, &mut go_on)?;
    let encoding = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let reader = ArchiveReader::open(&coded[..])?;
    reader.decompress(predictor, &*tokenizer, &mut decoded, &mut go_on)?;
    let decoding = start.elapsed().as_secs_f64();
    if decoded != bytes {
        bail!("round trip failed: the output differs from the input");
    }
    Ok([bytes.len() as f64 / encoding, bytes.len() as f64 / decoding])
}

/// The median of some times.
fn typical(seconds: Vec<f64>) -> Result<f64> {
    median(seconds).context("no step was timed")
}

fn print(outcome: &PrintedSpeeds) -> Result<()> {
    let PrintedSpeeds { machine, simd, device, precision, .. } = outcome;
    let [peak, gemm, copy] =
        [outcome.peak_flops_per_s, outcome.gemm_flops_per_s, outcome.copy_bytes_per_s]
            .map(|rate| rate / 1e9);
    print_line(&format!(
        "{machine}; {device}, {precision}, {simd}; at most {peak:.0} GFLOP/s, {gemm:.0} in a large \
         product, {copy:.1} GB/s copied"
    ))?;
    let none = || "–".to_owned();
    let count = |value: Option<f64>| value.map_or_else(none, |it| short_count(it as u64));
    let percent = |value: Option<f64>| value.map_or_else(none, |it| format!("{:.0}", 100.0 * it));
    let memory = |value: Option<u64>| value.map_or_else(none, |it| Bytes(it).to_string());
    let row = |speed: &Speed| {
        vec![
            speed.size.clone(),
            count(speed.train_tokens_per_s),
            percent(speed.train_peak_share),
            memory(speed.train_memory_bytes),
            count(speed.train_bf16_tokens_per_s),
            percent(speed.train_bf16_peak_share),
            count(speed.score_tokens_per_s),
            percent(speed.score_peak_share),
            memory(speed.score_memory_bytes),
            count(speed.encode_bytes_per_s),
            count(speed.decode_bytes_per_s),
            memory(speed.code_memory_bytes),
        ]
    };
    let header = [
        "",
        "train tokens/s",
        "% of peak",
        "memory",
        "in bf16",
        "% of peak",
        "score tokens/s",
        "% of peak",
        "memory",
        "encode bytes/s",
        "decode bytes/s",
        "memory",
    ];
    print_table(&header, &outcome.sizes.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_share_is_more_than_the_whole() {
        let of = |probes: &[f64], reached: f64| {
            let probes = std::cell::RefCell::new(probes.iter().cycle());
            let probe = || Ok(*probes.borrow_mut().next().expect("a probe"));
            let (tokens_per_s, peak) = around(probe, 2, || Ok(reached / 2.0)).expect("measured");
            assert_eq!(tokens_per_s, reached / 2.0);
            (peak.flops_per_s, peak.share)
        };
        assert_eq!(of(&[100.0, 50.0], 40.0), (100.0, 0.4), "the probe before was the better");
        assert_eq!(of(&[50.0, 80.0], 40.0), (80.0, 0.5), "the probe after");
        assert_eq!(of(&[50.0, 50.0, 50.0, 160.0], 80.0), (160.0, 0.5), "a third one");
        assert_eq!(of(&[50.0], 80.0), (80.0, 1.0), "and if none does, the work itself");
    }
}
