//! A sweep as it is shown before it is done.

use anyhow::Result;
use lmtrain_runs::sweep::Sweep;
use lmtrain_runs::units::{short_count, short_seconds};
use serde::Serialize;

use super::super::output::print_table;
use super::job::{Job, State};
use crate::cli;
use crate::context::Context;

/// A job, as `--dry-run --json` prints it.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    name: &'a str,
    command: &'a str,
    state: State,
    parameters: u64,
    tokens: Option<u64>,
    flops: Option<f64>,
    seconds: f64,
}

pub(super) fn shown(job: &Job, seconds: f64) -> Shown<'_> {
    let plan = &job.plan;
    let known = job.steps.is_some();
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
pub(super) fn tell(
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
                match job.state {
                    State::Trained | State::Recorded | State::Other => dash(),
                    State::New | State::Begun => short_seconds(shown.seconds),
                },
                format!("{:?}", job.state).to_lowercase(),
            ]
        })
        .collect();
    if arguments.dry_run {
        print_table(&["run", "parameters", "tokens", "FLOPs", "about", "state"], &rows)?;
    } else {
        rows.iter().for_each(|row| context.say(&format!("  {}", row.join("  "))));
    }
    if arguments.dry_run {
        jobs.iter().filter_map(|job| job.other.as_deref()).for_each(|other| context.say(other));
    }
    let total: f64 = jobs.iter().map(seconds).sum();
    let share = match arguments.shard.of {
        1 => String::new(),
        _ => format!(" in share {}", arguments.shard),
    };
    let evals = sweep.eval.len();
    context.say(&format!(
        "{} runs{share}, about {} of training on {}, then {evals} measurement(s) for each",
        jobs.len(),
        short_seconds(total),
        arguments.device,
    ));
    Ok(())
}
