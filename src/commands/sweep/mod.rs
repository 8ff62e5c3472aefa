//! `lmtrain sweep`: many runs and their measurements. Each job is a command line of `fit` or `eval`;
//! what is done is skipped, what was begun is resumed, and a job that fails stops no other.

mod cost;
mod job;
mod line;
mod plans;
mod show;

use anyhow::{Result, bail};

use super::eval;
use super::measure::Results;
use super::output::{print_json, print_results};
use crate::cli::{self, Eval};
use crate::context::Context;
use crate::device::Device;
use cost::{cost, flops_per_s, seconds};
use job::{Job, State, jobs};
use line::parsed;
use show::{shown, tell};

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
        State::Trained | State::Recorded | State::Other => 0.0,
        State::New | State::Begun => seconds(&job.plan, flops_per_s),
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
            done.keep("compressors", eval::measure(eval, None, context), context);
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

/// What came of the jobs.
#[derive(Default)]
struct Done {
    results: Results,
    failed: Vec<String>,
}

impl Done {
    /// Keeps what came of a job, or why it failed.
    fn keep(&mut self, name: &str, result: Result<Results>, context: &Context) {
        match result {
            Ok(results) => self.results.add(results),
            Err(_) if context.is_stopping() => {}
            Err(error) => {
                crate::progress::print_error(&error);
                self.failed.push(name.to_owned());
            }
        }
    }

    fn finish(self, context: &Context) -> Result<()> {
        let printed = print_results(&self.results, context.json);
        if context.is_stopping() {
            bail!("stopped; run the same command to continue");
        }
        if !self.failed.is_empty() {
            let names = self.failed.join(", ");
            bail!(
                "{} of the runs failed: {names}\nhint: run the same command to try them again",
                self.failed.len()
            );
        }
        printed?;
        context.say("next: `lmtrain report`");
        Ok(())
    }
}
