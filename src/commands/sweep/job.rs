//! The runs of a sweep, and how far each is.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use lmtrain_corpora::Mixture;
use lmtrain_runs::sweep::Sweep;
use lmtrain_runs::{Plan, RateRecord};
use serde::Serialize;

use super::super::select::{has_records_alone, open_mixture};
use super::super::{eval, fit};
use super::line::{Line, draft_of};
use crate::cli::{Eval, Fit};
use crate::context::Context;
use crate::device::Device;

/// A run to train and measure.
pub(super) struct Job {
    pub(super) flags: Fit,
    pub(super) command: String,
    pub(super) corpus: Arc<Mixture>,
    pub(super) plan: Plan,
    /// Its steps, if they are known before some are timed.
    pub(super) steps: Option<u64>,
    pub(super) state: State,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Not begun.
    New,
    /// Some steps are done.
    Begun,
    /// All steps are done.
    Trained,
    /// Its records are here, but not its weights: it was trained elsewhere, or its weights were deleted.
    Recorded,
}

impl Job {
    /// Trains what is left to train, and measures what is not recorded.
    pub(super) fn run(&self, evals: &[Eval], context: &Context) -> Result<Vec<RateRecord>> {
        match self.state {
            State::New | State::Begun => {
                fit::fit_one(&self.flags, &self.corpus, &context.without_json())?;
            }
            State::Trained => {}
            State::Recorded => {
                context.say(
                    "its records are here without its weights: nothing is trained or measured anew",
                );
                return Ok(context.store.run(&self.plan.name).rates()?);
            }
        }
        let mut records = Vec::new();
        for eval in evals {
            if context.is_stopping() {
                break;
            }
            let eval = Eval { run: vec![self.plan.name.clone()], ..eval.clone() };
            records.extend(eval::measure(&eval, Some(&self.corpus), context)?);
        }
        Ok(records)
    }
}

/// The runs of a sweep, each once.
pub(super) fn jobs(sweep: &Sweep, device: Device, context: &Context) -> Result<Vec<Job>> {
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
        let draft = draft_of(&flags, &line, corpus.planned(flags.trains_on()))?;
        let (state, saved) = state(&draft.name(), context)?;
        let steps = saved.or(draft.known_steps());
        let plan = draft.with_steps(steps.unwrap_or(1));
        if let Some(same) = jobs.iter().find(|job| job.plan.name == plan.name) {
            let (name, command) = (&plan.name, &same.command);
            bail!(
                "`{}` and `{command}` would both be the run `{name}`\nhint: give one of them a `name`",
                line.join(" ")
            );
        }
        let command = format!("lmtrain fit {}", line.join(" "));
        jobs.push(Job { flags, command, corpus, plan, steps, state });
    }
    Ok(jobs)
}

/// The progress of a run, and the number of steps in its plan.
fn state(name: &str, context: &Context) -> Result<(State, Option<u64>)> {
    let run = context.store.run(name);
    let Some(saved) = run.plan()? else { return Ok((State::New, None)) };
    let last = run.steps()?.last().map_or(0, |record| record.step);
    let state = if has_records_alone(&run)? {
        State::Recorded
    } else if last >= saved.steps && run.weights_path().is_file() {
        State::Trained
    } else {
        State::Begun
    };
    Ok((state, Some(saved.steps)))
}
