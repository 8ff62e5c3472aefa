//! The runs of a sweep, and how far each is.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use lmtrain_corpora::Mixture;
use lmtrain_runs::sweep::Sweep;
use lmtrain_runs::{Plan, Run};
use serde::Serialize;

use super::super::corpora::open_mixture;
use super::super::measure::Results;
use super::super::select::has_records_alone;
use super::super::{eval, fit, resume};
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
    /// What the run of its name was started with instead, if that is another plan.
    pub(super) other: Option<String>,
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
    /// A run of this name is here, but of another plan: its recipe, its corpus or a choice was another.
    Other,
}

impl Job {
    /// Trains what is left to train, and measures what is not recorded.
    pub(super) fn run(&self, evals: &[Eval], context: &Context) -> Result<Results> {
        let run = context.store.run(&self.plan.name);
        match self.state {
            State::Other => bail!("{}", self.other.as_deref().unwrap_or_default()),
            State::New | State::Begun => {
                fit::fit_one(&self.flags, &self.corpus, &context.without_json())?;
            }
            State::Trained => {}
            State::Recorded => {
                context.say(
                    "its records are here without its weights: nothing is trained or measured anew",
                );
                return Ok(Results { records: run.rates()?, ..Results::default() });
            }
        }
        let mut results = Results::default();
        for eval in evals {
            if context.is_stopping() {
                break;
            }
            let eval = Eval { run: vec![self.plan.name.clone()], ..eval.clone() };
            results.add(eval::measure(&eval, Some(&self.corpus), context)?);
        }
        Ok(results)
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
        let run = context.store.run(&draft.name());
        let saved = run.plan()?;
        let steps = saved.as_ref().map(|plan| plan.steps).or(draft.known_steps());
        let plan = draft.with_steps(steps.unwrap_or(1));
        let (state, other) = match &saved {
            None => (State::New, None),
            Some(saved) => match resume::check_whole(saved, &flags, &plan, &run) {
                Err(error) => (State::Other, Some(error.to_string())),
                Ok(()) => (state(&run, saved)?, None),
            },
        };
        if let Some(same) = jobs.iter().find(|job| job.plan.name == plan.name) {
            let (name, command) = (&plan.name, &same.command);
            bail!(
                "`{}` and `{command}` would both be the run `{name}`\nhint: give one of them a `name`",
                line.join(" ")
            );
        }
        let command = format!("lmtrain fit {}", line.join(" "));
        jobs.push(Job { flags, command, corpus, plan, steps, state, other });
    }
    Ok(jobs)
}

/// The progress of a run that was begun.
fn state(run: &Run, saved: &Plan) -> Result<State> {
    let last = run.steps()?.last().map_or(0, |record| record.step);
    Ok(if has_records_alone(run)? {
        State::Recorded
    } else if last >= saved.steps && run.weights_path().is_file() {
        State::Trained
    } else {
        State::Begun
    })
}
