//! `lmtrain fit`: resolves plans, trains them, and tells how it goes.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use lmtrain_corpora::{Mixture, Planned};
use lmtrain_runs::plan::{DEFAULT_CONTEXT, Plan, default_tokens};
use lmtrain_runs::recipe::{Recipe, Row, text};
use lmtrain_runs::units::{short_count, short_seconds};
use lmtrain_runs::{Budget, Bytes, PlannedPart, Run, Setting, Size, StepRecord, Tokenization};
use lmtrain_tokenizers::{BpeTokenizer, Tokenizer};
use lmtrain_train::{Device, Fitted, Job, Tokens};
use serde::Serialize;

use super::output::print_json;
use super::resume;
use super::select::{has_records_alone, open_mixture};
use super::tokenizer::put_with_run;
use super::training_data::TrainingData;
use crate::cli::{self, Fit};
use crate::context::Context;
use crate::say::say;
use crate::signals;

/// Validations of one training, and the most sequences of each: fewer where all of them would see
/// more than a seventh of the tokens that train.
const VALIDATIONS: u64 = 20;
const VALIDATION_SEQUENCES: u64 = 32;
const VALIDATION_SHARE: u64 = 7;
/// Letters of a run's name: it is a folder, and part of other files' names.
const LONGEST_NAME: usize = 200;
/// Share of a budget in minutes that steps may take; the rest validates and saves.
const STEPPING_SHARE: f64 = 0.93;

/// What a finished or stopped training is printed as.
#[derive(Serialize)]
struct Outcome {
    name: String,
    finished: bool,
    step: u64,
    parameters: u64,
    tokens_trained: u64,
    validation_bits_per_byte: Option<f64>,
    seconds: f64,
    #[serde(serialize_with = "lmtrain_runs::files::serialize_path")]
    weights: std::path::PathBuf,
}

/// A plan resolved, with what it needs to be trained.
struct Resolved {
    run: Run,
    plan: Plan,
    training: Arc<dyn Tokens>,
    validation: Arc<dyn Tokens>,
    /// None for bytes.
    vocabulary: Option<BpeTokenizer>,
    seconds_per_step: Option<f64>,
}

pub(super) fn run(arguments: &Fit, context: &Context) -> Result<()> {
    lmtrain_engine::simd_level().map_err(anyhow::Error::msg)?;
    let begun = resume::begun(arguments, context)?;
    let (sizes, tokenizers) = match &begun {
        Some(plan) if arguments.size.is_empty() && arguments.tokenizer.is_empty() => {
            (vec![plan.size], vec![plan.tokenization.clone()])
        }
        Some(plan) if arguments.size.is_empty() => (vec![plan.size], arguments.tokenizers()),
        Some(plan) if arguments.tokenizer.is_empty() => {
            (arguments.size.clone(), vec![plan.tokenization.clone()])
        }
        _ => (arguments.size.clone(), arguments.tokenizers()),
    };
    if arguments.name.is_some() && sizes.len() * tokenizers.len() > 1 {
        bail!("`--name` names one run, and several are asked for");
    }
    let corpus = match begun.filter(|_| arguments.corpus.is_none()) {
        Some(plan) => resume::corpus_of(&plan, arguments.strict, context)?,
        None => open_mixture(arguments.corpus(), arguments.strict, context)?,
    };
    let (mut plans, mut outcomes) = (Vec::new(), Vec::new());
    for size in sizes {
        for tokenization in &tokenizers {
            let resolved = resolve(arguments, size, tokenization, &corpus, context)?;
            if arguments.dry_run {
                plans.push(show_plan(&resolved, context)?);
            } else {
                outcomes.push(train(resolved, arguments, context)?);
                corpus.check_length()?;
            }
        }
    }
    match (context.json, arguments.dry_run) {
        (true, true) => print_json(&plans)?,
        (true, false) => print_json(&outcomes)?,
        (false, _) => {}
    }
    if context.is_stopping() {
        bail!("stopped; the same command with `--resume` goes on");
    }
    Ok(())
}

/// Trains the one run that these arguments name, from where it is.
pub(super) fn fit_one(arguments: &Fit, mixture: &Mixture, context: &Context) -> Result<()> {
    let ([size], [tokenization]) = (&arguments.size[..], &arguments.tokenizers()[..]) else {
        bail!("one size and one tokenizer make a run");
    };
    let resolved = resolve(arguments, *size, tokenization, mixture, context)?;
    train(resolved, arguments, context)?;
    Ok(mixture.check_length()?)
}

/// Arguments, and the plan of a run that was begun, become one plan, here and nowhere else.
fn resolve(
    arguments: &Fit,
    size: Size,
    tokenization: &Tokenization,
    mixture: &Mixture,
    context: &Context,
) -> Result<Resolved> {
    let asked = plan_of(arguments, size, tokenization, mixture.planned(arguments.trains_on()))?;
    let run = context.store.run(&asked.name);
    let saved = run.plan()?.filter(|_| arguments.resume);
    if let Some(saved) = &saved {
        resume::check(saved, arguments, &asked, &run)?;
        arguments.device.precision(Some(saved.precision)).map_err(anyhow::Error::msg)?;
    }
    let is_new = saved.is_none();
    let mut plan = saved.unwrap_or(asked);
    let TrainingData { training, validation, vocabulary } =
        TrainingData::open(&plan, mixture, context)?;
    let mut seconds_per_step = None;
    if is_new {
        seconds_per_step = steps_of(&mut plan, &training, arguments, context)?;
        plan.validate_every = plan.steps.div_ceil(VALIDATIONS).max(1);
        let affordable = plan.tokens() / (VALIDATION_SHARE * VALIDATIONS * plan.context as u64);
        plan.validation_sequences = affordable.clamp(2, VALIDATION_SEQUENCES) as usize;
    }
    if context.is_stopping() {
        bail!("stopped before the first step");
    }
    Ok(Resolved { run, plan, training, validation, vocabulary, seconds_per_step })
}

/// The plan of a run, but for the steps that its budget comes to and how it validates.
pub(super) fn plan_of(
    arguments: &Fit,
    size: Size,
    tokenization: &Tokenization,
    data: Planned,
) -> Result<Plan> {
    let recipe = arguments.recipe.unwrap_or(Recipe::Modern);
    let Row { batch, accumulation, choices } =
        recipe.row_for(size).with(&arguments.settings()).map_err(anyhow::Error::msg)?;
    choices.check_size(size).map_err(anyhow::Error::msg)?;
    let mut plan = Plan {
        name: String::new(),
        size,
        tokenization: tokenization.clone(),
        recipe,
        corpus: data.corpus.name,
        corpus_bytes: data.corpus.bytes,
        corpus_sha256: data.corpus.sha256,
        train_on: arguments.trains_on(),
        train_span: data.train_span,
        parts: data.parts,
        budget: Budget::Steps(0),
        steps: 0,
        context: arguments.context.unwrap_or(DEFAULT_CONTEXT),
        batch,
        accumulation,
        seed: arguments.seed.unwrap_or_default(),
        validate_every: 1,
        validation_sequences: 1,
        choices,
        precision: arguments.device.precision(arguments.precision).map_err(anyhow::Error::msg)?,
    };
    if arguments.equal_total {
        let of_bytes = Plan { tokenization: Tokenization::Bytes, ..plan.clone() };
        let parameters = |size| Plan { size, ..plan.clone() }.parameters();
        let within = size.within(plan.head_dimension(), of_bytes.parameters(), parameters);
        if within.width != size.width {
            plan.size = within;
        }
    }
    plan.budget = match &arguments.budget {
        cli::BudgetArguments { tokens: Some(tokens), .. } => Budget::Tokens(*tokens),
        cli::BudgetArguments { steps: Some(steps), .. } => Budget::Steps(*steps),
        cli::BudgetArguments { minutes: Some(minutes), .. } => Budget::Minutes(*minutes),
        _ => Budget::Tokens(default_tokens(plan.size)),
    };
    plan.steps = known_steps(&plan).unwrap_or(0);
    plan.name = arguments.name.clone().unwrap_or_else(|| plan.name_of());
    check_name(&plan.name)?;
    Ok(plan)
}

/// The steps that a budget comes to, if no clock is needed to tell.
fn known_steps(plan: &Plan) -> Option<u64> {
    match plan.budget {
        Budget::Tokens(tokens) => Some(tokens.div_ceil(plan.tokens_per_step()).max(1)),
        Budget::Steps(steps) => Some(steps.max(1)),
        Budget::Minutes(_) => None,
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.len() > LONGEST_NAME {
        bail!(
            "`{name}` is longer than the {LONGEST_NAME} letters that a run's name may have\n\
             hint: `--name` gives it a shorter one"
        );
    }
    let safe = |letter: char| letter.is_ascii_alphanumeric() || "._=-".contains(letter);
    if name.is_empty() || name.starts_with('.') || name == "compressors" || !name.chars().all(safe)
    {
        bail!("`{name}` cannot name a run: use letters, digits, `.`, `_`, `=` and `-`");
    }
    Ok(())
}

/// Turns the budget into steps; minutes, and a dry run's estimate, need some trial steps.
fn steps_of(
    plan: &mut Plan,
    training: &Arc<dyn Tokens>,
    arguments: &Fit,
    context: &Context,
) -> Result<Option<f64>> {
    let timed = matches!(plan.budget, Budget::Minutes(_)) || arguments.dry_run;
    plan.steps = 1000;
    if timed && !arguments.dry_run {
        check_memory(plan, arguments.device)?;
    }
    // A dry run tells what does not fit, and times nothing then.
    let fits = check_memory(plan, arguments.device).is_ok();
    let seconds_per_step = if timed && fits {
        context.say("timing trial steps …");
        let stop = context.stop();
        let seconds = arguments.device.seconds_per_step(plan, training.clone(), &stop)?;
        Some(seconds)
    } else {
        None
    };
    plan.steps = match (known_steps(plan), plan.budget) {
        (None, Budget::Minutes(minutes)) => {
            let seconds = seconds_per_step.context("trial steps were timed")?;
            ((minutes * 60.0 * STEPPING_SHARE / seconds).round() as u64).max(1)
        }
        (steps, _) => steps.unwrap_or(1),
    };
    Ok(seconds_per_step)
}

/// Prints a plan for people; gives it for programs.
fn show_plan(resolved: &Resolved, context: &Context) -> Result<serde_json::Value> {
    let plan = &resolved.plan;
    let seconds = resolved.seconds_per_step.map(|seconds| seconds * plan.steps as f64);
    if !context.json {
        print_plan(resolved, seconds)?;
    }
    Ok(serde_json::json!({
        "plan": plan,
        "parameters": plan.parameters(),
        "embedding_parameters": plan.embedding_parameters(),
        "tokens": plan.tokens(),
        "flops": plan.flops(),
        "memory_bytes": plan.memory_estimate(),
        "seconds": seconds,
    }))
}

fn print_plan(resolved: &Resolved, seconds: Option<f64>) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let plan = &resolved.plan;
    let passes = plan.tokens() as f64 / resolved.training.count() as f64;
    writeln!(out, "run            {}", plan.name)?;
    writeln!(
        out,
        "network        {} layers of width {}, {} heads, {} recipe, {}",
        plan.size.layers,
        plan.size.width,
        plan.heads(),
        plan.recipe,
        plan.precision
    )?;
    let usual = plan.usual();
    for Setting { choice, value } in plan.unusual() {
        let [value, usual] = [&value, &usual.get(choice)].map(text);
        writeln!(out, "choice         {} {value}, where {} has {usual}", choice.key, plan.recipe)?;
    }
    writeln!(
        out,
        "parameters     {} ({} of them in embedding and head)",
        short_count(plan.parameters()),
        short_count(plan.embedding_parameters())
    )?;
    writeln!(
        out,
        "data           {}: {} train, {} validate, {}",
        plan.corpus,
        Bytes(resolved.training.raw_bytes()),
        Bytes(resolved.validation.raw_bytes()),
        plan.tokenization
    )?;
    let shares: f64 = plan.parts.iter().map(PlannedPart::share).sum();
    for part in &plan.parts {
        writeln!(
            out,
            "part           {}: {:.1} % of the tokens",
            part.corpus,
            100.0 * part.share() / shares
        )?;
    }
    writeln!(
        out,
        "training       {} steps of {} tokens: {} tokens, {passes:.2} passes over the data",
        plan.steps,
        short_count(plan.tokens_per_step()),
        short_count(plan.tokens())
    )?;
    writeln!(out, "compute        {:.2e} FLOPs", plan.flops())?;
    writeln!(out, "memory         about {}", plan.memory_estimate())?;
    writeln!(
        out,
        "validation     every {} steps, {} sequences",
        plan.validate_every, plan.validation_sequences
    )?;
    writeln!(
        out,
        "time           about {} on this machine",
        seconds.map_or("?".into(), short_seconds)
    )
}

fn train(resolved: Resolved, arguments: &Fit, context: &Context) -> Result<Outcome> {
    use std::io::IsTerminal;
    let Resolved { run, plan, training, validation, vocabulary, .. } = resolved;
    let _lock = run.lock()?;
    if !run.weights_path().exists() {
        check_memory(&plan, arguments.device)?;
    }
    prepare(&run, &plan, arguments)?;
    for Setting { choice, .. } in plan.unusual() {
        if let Some(why) = plan.choices.idle(choice.key) {
            context.say(&format!("note: `{}` changes nothing, since {why}", choice.key));
        }
    }
    if let Some(vocabulary) = &vocabulary {
        put_with_run(vocabulary, &run.tokenizer_path())?;
    }
    context.say(&format!(
        "{}: {} parameters, {} steps of {} tokens on {}",
        plan.name,
        short_count(plan.parameters()),
        plan.steps,
        short_count(plan.tokens_per_step()),
        plan.corpus
    ));
    // A program that outlives its terminal has nobody to show a dashboard to.
    let dashboard = std::io::stdout().is_terminal()
        && !(arguments.plain || context.json || context.quiet || signals::ignores_hangups());
    let lines = !dashboard && !context.quiet;
    let mut log = Log::new(&plan, lines);
    let job = Job {
        plan: plan.clone(),
        run: run.clone(),
        training,
        validation,
        tokenizer: vocabulary.map_or([0; 32], |vocabulary| vocabulary.identity()),
        dashboard,
        stop: context.stop(),
        keeping: Some(Box::new(context.keep())),
        observe: Box::new(move |record| log.show(record)),
    };
    let fitted = arguments.device.fit(job)?;
    finish(&plan, &run, fitted, arguments.device, context)
}

/// Refuses what the machine's memory cannot hold, where the system tells how much there is.
fn check_memory(plan: &Plan, device: Device) -> Result<()> {
    if device != Device::Cpu {
        return Ok(());
    }
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    let available = Bytes(kilobytes.map_or(u64::MAX, |kilobytes: u64| 1024 * kilobytes));
    let needed = plan.memory_estimate();
    if needed > available {
        bail!(
            "training `{}` takes about {needed}, and {available} are free\n\
             hint: a smaller `--batch`, with `--accumulate` for the same steps",
            plan.name
        );
    }
    Ok(())
}

/// What may stand in the way of a run of this name.
fn prepare(run: &Run, plan: &Plan, arguments: &Fit) -> Result<()> {
    let name = run.name();
    match run.plan()? {
        Some(_) if arguments.overwrite => {
            run.clear()?;
            run.save_plan(plan)?;
        }
        Some(_) if has_records_alone(run)? => bail!(
            "run `{name}` was trained, and its records are in {}, but neither weights nor a checkpoint\n\
             hint: `--runs-dir` names where they are, or where to train it again; `--overwrite` throws \
             the records away",
            run.folder().display()
        ),
        Some(_) if arguments.resume => {}
        Some(_) => bail!(
            "run `{name}` is there already\n\
             hint: `--resume` goes on with it, `--overwrite` throws it away, `--seed` or `--name` \
             makes another"
        ),
        None => run.save_plan(plan)?,
    }
    Ok(())
}

fn finish(
    plan: &Plan,
    run: &Run,
    fitted: Fitted,
    device: Device,
    context: &Context,
) -> Result<Outcome> {
    let best = fitted.best_bits_per_byte;
    let validation =
        best.map_or(String::new(), |bits| format!(", {bits:.4} bits/byte on validation"));
    let took = short_seconds(fitted.seconds);
    if fitted.finished {
        context.say(&format!("{}: done in {took}{validation}", plan.name));
        if device != Device::Cpu {
            context.say(&utilisation(plan, fitted.seconds, device)?);
        }
        let corpus = if plan.parts.is_empty() {
            format!(" --corpus {}", plan.corpus)
        } else {
            " --part test".to_owned()
        };
        context.say(&format!("next: `lmtrain eval --run {}{corpus}`", plan.name));
    } else {
        let (step, steps) = (fitted.step, plan.steps);
        context.say(&format!("{}: stopped after step {step} of {steps}{validation}", plan.name));
        if !context.is_stopping() {
            context.say("next: the same command with `--resume` goes on");
        }
    }
    Ok(Outcome {
        name: plan.name.clone(),
        finished: fitted.finished,
        step: fitted.step,
        parameters: plan.parameters(),
        tokens_trained: fitted.step * plan.tokens_per_step(),
        validation_bits_per_byte: best,
        seconds: fitted.seconds,
        weights: run.weights_path(),
    })
}

/// Model FLOP utilisation (Chowdhery et al., arXiv 2204.02311, appendix B): of the whole training,
/// validation and records included, as a share of the most that the device does.
fn utilisation(plan: &Plan, seconds: f64, device: Device) -> Result<String> {
    let reached = plan.flops() / seconds;
    // What was reached can be done, whatever a probe in another moment says.
    let peak = device.peak_flops_per_s(plan.precision)?.max(reached);
    let (teraflops, peak_teraflops) = (reached / 1e12, peak / 1e12);
    let percent = 100.0 * reached / peak;
    Ok(format!(
        "model FLOP utilisation {percent:.1} %: {teraflops:.2} TFLOP/s, where the device does at most \
         {peak_teraflops:.1} in {}",
        plan.precision
    ))
}

/// Plain lines: at each validation, and in between no more often than every few seconds.
struct Log {
    lines: bool,
    steps: u64,
    last: std::time::Instant,
}

impl Log {
    const EVERY: std::time::Duration = std::time::Duration::from_secs(5);

    fn new(plan: &Plan, lines: bool) -> Self {
        Self { lines, steps: plan.steps, last: std::time::Instant::now() }
    }

    fn show(&mut self, record: &StepRecord) {
        let due = record.validation_bits_per_byte.is_some() || self.last.elapsed() >= Self::EVERY;
        if !self.lines || !due {
            return;
        }
        self.last = std::time::Instant::now();
        let left = (self.steps - record.step) as f64 * record.seconds / record.step as f64;
        let validation = record
            .validation_bits_per_byte
            .map_or(String::new(), |bits| format!("  validation {bits:.4} bits/byte"));
        say(&format!(
            "step {:>6}/{}  loss {:.4} nats  {:.4} bits/byte  {} tokens/s  {} left{validation}",
            record.step,
            self.steps,
            record.train_nats_per_token,
            record.train_bits_per_byte,
            short_count(record.train_tokens_per_s as u64),
            short_seconds(left),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_their_folder() {
        for name in ["200K-bytes-modern-s0", "a.b_c=1"] {
            check_name(name).expect("a good name");
        }
        for name in ["", "..", "a/b", "a\\b", ".hidden", "compressors", "a b"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
