//! `lmtrain sweep`: many runs and their measurements. Each job is a command line of `fit` or `eval`;
//! what is done is skipped, what was begun is resumed, and a job that fails stops no other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::device::Device;
use anyhow::{Context as _, Result, bail};
use clap::Parser;
use lmtrain_corpora::{Mixture, Planned};
use lmtrain_runs::sweep::Sweep;
use lmtrain_runs::units::{short_count, short_seconds};
use lmtrain_runs::{Budget, Plan};
use serde::Serialize;

use super::output::{print_json, print_rates, print_table};
use super::select::open_mixture;
use super::{eval, fit, plans};
use crate::cli::{self, Arguments, Command, Eval, Fit};
use crate::context::Context;

/// The share of the machine's peak that steps reach, for an estimate: between what the smallest and
/// the largest sizes were measured at.
const PEAK_SHARE: f64 = 0.55;

/// A run to train and measure.
struct Job {
    flags: Fit,
    command: String,
    corpus: Arc<Mixture>,
    plan: Plan,
    state: State,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// Not begun.
    New,
    /// Some steps are done.
    Begun,
    /// All steps are done.
    Trained,
}

/// A job, as `--dry-run --json` prints it.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    command: &'a str,
    state: State,
    parameters: u64,
    tokens: Option<u64>,
    flops: Option<f64>,
    seconds: f64,
}

pub(super) fn run(arguments: &cli::Sweep, context: &Context) -> Result<()> {
    lmtrain_engine::simd_level().map_err(anyhow::Error::msg)?;
    let flops_per_s = flops_per_s(arguments.device)?;
    if arguments.list {
        return plans::list(arguments.device, flops_per_s, context);
    }
    let sweep = plans::chosen(arguments, context)?;
    let mut jobs = jobs(&sweep, arguments.device, context)?;
    let [of_runs, of_compressors] = sweep.evals()?;
    let evals = parsed::<Eval>(&of_runs, arguments.device)?;
    let compressors = parsed::<Eval>(&of_compressors, Device::Cpu)?;
    let seconds = |job: &Job| match job.state {
        State::Trained => 0.0,
        _ => seconds(&job.plan, flops_per_s),
    };
    let costs: Vec<f64> = jobs.iter().map(|job| cost(&job.plan)).collect();
    let mut takes = arguments.shard.takes(&costs).into_iter();
    jobs.retain(|_| takes.next().unwrap_or(false));
    // Every size before any second seed, and small ones first.
    jobs.sort_by(|one, other| {
        (one.plan.seed, cost(&one.plan))
            .partial_cmp(&(other.plan.seed, cost(&other.plan)))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    if arguments.dry_run && context.json {
        return print_json(&jobs.iter().map(|job| shown(job, seconds(job))).collect::<Vec<_>>());
    }
    tell(&sweep, &jobs, arguments, &seconds, context)?;
    if arguments.dry_run {
        return Ok(());
    }
    let mut done = Done::default();
    if arguments.shard.index == 1 {
        for eval in &compressors {
            done.keep("compressors", eval::measure(eval, context), context);
        }
    }
    for (index, job) in jobs.iter().enumerate() {
        if context.is_stopping() {
            break;
        }
        context.say(&format!("[{}/{}] {}", index + 1, jobs.len(), job.command));
        done.keep(&job.plan.name, job.run(&evals, context), context);
    }
    done.finish(context)
}

impl Job {
    /// Trains what is left to train, and measures what is not recorded.
    fn run(&self, evals: &[Eval], context: &Context) -> Result<Vec<lmtrain_runs::RateRecord>> {
        if self.state != State::Trained {
            fit::fit_one(&self.flags, &self.corpus, &context.without_json())?;
        }
        let mut records = Vec::new();
        for eval in evals {
            if context.is_stopping() {
                break;
            }
            let eval = Eval { run: vec![self.plan.name.clone()], ..eval.clone() };
            records.extend(eval::measure(&eval, context)?);
        }
        Ok(records)
    }
}

/// What came of the jobs.
#[derive(Default)]
struct Done {
    records: Vec<lmtrain_runs::RateRecord>,
    failed: Vec<String>,
}

impl Done {
    /// Keeps a job's records, or why it failed.
    fn keep(
        &mut self,
        name: &str,
        result: Result<Vec<lmtrain_runs::RateRecord>>,
        context: &Context,
    ) {
        match result {
            Ok(records) => self.records.extend(records),
            Err(_) if context.is_stopping() => {}
            Err(error) => {
                crate::progress::print_error(&error);
                self.failed.push(name.to_owned());
            }
        }
    }

    fn finish(self, context: &Context) -> Result<()> {
        let printed = print_rates(&self.records, context.json);
        if context.is_stopping() {
            bail!("stopped; the same command goes on from here");
        }
        if !self.failed.is_empty() {
            let names = self.failed.join(", ");
            bail!(
                "{} of the jobs failed: {names}; the same command tries them again",
                self.failed.len()
            );
        }
        printed?;
        context.say("next: `lmtrain report`");
        Ok(())
    }
}

/// Command lines as arguments, each with the device.
fn parsed<T: Line>(lines: &[Vec<String>], device: Device) -> Result<Vec<T>> {
    lines.iter().map(|flags| T::parse(flags, device)).collect()
}

/// A command that a sweep is made of.
pub(super) trait Line: Sized {
    const NAME: &'static str;

    /// The command's arguments, if it is this one, computing on `device`.
    fn of(command: Command, device: Device) -> Option<Self>;

    fn parse(flags: &[String], device: Device) -> Result<Self> {
        let line = ["lmtrain", Self::NAME].into_iter().map(str::to_owned);
        let arguments = Arguments::try_parse_from(line.chain(flags.iter().cloned()));
        let arguments = arguments.map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            anyhow::anyhow!("`lmtrain {} {}`: {first}", Self::NAME, flags.join(" "))
        })?;
        Self::of(arguments.command, device).context("another command")
    }
}

impl Line for Fit {
    const NAME: &'static str = "fit";

    fn of(command: Command, device: Device) -> Option<Self> {
        let Command::Fit(fit) = command else { return None };
        Some(Fit { device, resume: true, plain: true, ..fit })
    }
}

impl Line for Eval {
    const NAME: &'static str = "eval";

    fn of(command: Command, device: Device) -> Option<Self> {
        let Command::Eval(eval) = command else { return None };
        Some(Eval { device, ..eval })
    }
}

/// The runs of a sweep, each once.
fn jobs(sweep: &Sweep, device: Device, context: &Context) -> Result<Vec<Job>> {
    let mut corpora: BTreeMap<(String, bool), Arc<Mixture>> = BTreeMap::new();
    let mut jobs: Vec<Job> = Vec::new();
    for line in sweep.fits()? {
        let flags = Fit::parse(&line, device)?;
        let key = (flags.corpus().to_owned(), flags.strict);
        let corpus = match corpora.get(&key) {
            Some(corpus) => corpus.clone(),
            None => {
                let corpus = Arc::new(open_mixture(flags.corpus(), flags.strict, context)?);
                corpora.insert(key, corpus.clone());
                corpus
            }
        };
        let mut plan = plan_of(&flags, &line, corpus.planned(flags.trains_on()))?;
        if let Some(same) = jobs.iter().find(|job| job.plan.name == plan.name) {
            let (name, command) = (&plan.name, &same.command);
            bail!("`{}` and `{command}` are both `{name}`: name one", line.join(" "));
        }
        let state = state(&mut plan, context)?;
        let command = format!("lmtrain fit {}", line.join(" "));
        jobs.push(Job { flags, command, corpus, plan, state });
    }
    Ok(jobs)
}

/// The plan of the one run that a line names.
pub(super) fn plan_of(flags: &Fit, line: &[String], data: Planned) -> Result<Plan> {
    let ([size], [tokenization]) = (&flags.size[..], &flags.tokenizers()[..]) else {
        bail!("`{}` is more than one run: write lists as lists", line.join(" "));
    };
    fit::plan_of(flags, *size, tokenization, data)
}

/// How far a run is; the plan gets the steps that its minutes once came to.
fn state(plan: &mut Plan, context: &Context) -> Result<State> {
    let run = context.store.run(&plan.name);
    let Some(saved) = run.plan()? else { return Ok(State::New) };
    plan.steps = saved.steps;
    let last = run.steps()?.last().map_or(0, |record| record.step);
    let trained = last >= saved.steps && run.weights_path().is_file();
    Ok(if trained { State::Trained } else { State::Begun })
}

/// What a run costs beside others, whatever the machine: its operations, or its minutes.
fn cost(plan: &Plan) -> f64 {
    match plan.budget {
        Budget::Minutes(minutes) => minutes * 60.0 * 1e11,
        _ => plan.flops(),
    }
}

/// What a device computes in training, about, in a second.
fn flops_per_s(device: Device) -> Result<f64> {
    let precision = device.precision(None).map_err(anyhow::Error::msg)?;
    Ok(PEAK_SHARE * device.peak(precision)?.gemm_flops_per_s)
}

/// How long a run trains, about.
pub(super) fn seconds(plan: &Plan, flops_per_s: f64) -> f64 {
    match plan.budget {
        Budget::Minutes(minutes) => 60.0 * minutes,
        _ => plan.flops() / flops_per_s,
    }
}

fn shown(job: &Job, seconds: f64) -> Shown<'_> {
    let plan = &job.plan;
    let known = plan.steps > 0;
    Shown {
        name: &plan.name,
        command: &job.command,
        state: job.state,
        parameters: plan.parameters(),
        tokens: known.then(|| plan.tokens()),
        flops: known.then(|| plan.flops()),
        seconds,
    }
}

/// The whole plan, with the time that training takes at most about.
fn tell(
    sweep: &Sweep,
    jobs: &[Job],
    arguments: &cli::Sweep,
    seconds: &dyn Fn(&Job) -> f64,
    context: &Context,
) -> Result<()> {
    if !sweep.title.is_empty() {
        context.say(&sweep.title);
    }
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|job| {
            let shown = shown(job, seconds(job));
            let dash = || "–".to_owned();
            vec![
                shown.name.to_owned(),
                short_count(shown.parameters),
                shown.tokens.map_or_else(dash, short_count),
                shown.flops.map_or_else(dash, |flops| format!("{flops:.1e}")),
                if job.state == State::Trained { dash() } else { short_seconds(shown.seconds) },
                format!("{:?}", job.state).to_lowercase(),
            ]
        })
        .collect();
    if arguments.dry_run {
        print_table(&["run", "parameters", "tokens", "FLOPs", "about", "state"], &rows)?;
    } else {
        rows.iter().for_each(|row| context.say(&format!("  {}", row.join("  "))));
    }
    let total: f64 = jobs.iter().map(seconds).sum();
    let share = match arguments.shard.of {
        1 => String::new(),
        _ => format!(" in share {}", arguments.shard),
    };
    let evals = sweep.eval.len();
    context.say(&format!(
        "{} runs{share}, about {} of training on {}, then {evals} measurement(s) of each",
        jobs.len(),
        short_seconds(total),
        arguments.device,
    ));
    Ok(())
}
