//! From arguments to a plan: choices, sizes, steps, names.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use lmtrain_corpora::Planned;
use lmtrain_runs::builtin::{PREFIX, is_reserved};
use lmtrain_runs::plan::{Plan, TrainOn, default_tokens};
use lmtrain_runs::recipe::{DEFAULT_CONTEXT, Recipe, Row};
use lmtrain_runs::{Budget, Precision, Size, Tokenization};
use lmtrain_train::Tokens;

use super::memory::check_memory;
use crate::cli::{BudgetArguments, Fit};
use crate::context::Context;

/// Validations of one training, and the most sequences of each: fewer where all of them would see
/// more than a seventh of the tokens that train.
const VALIDATIONS: u64 = 20;
const VALIDATION_SEQUENCES: u64 = 32;
const VALIDATION_SHARE: u64 = 7;
/// Steps of the plan that trial steps are of: more than are timed.
const TRIAL_STEPS: u64 = 1000;
/// Letters of a run's name: it is a folder, and part of other files' names.
const LONGEST_NAME: usize = 200;
/// Share of a budget in minutes that steps may take; the rest validates and saves.
const STEPPING_SHARE: f64 = 0.93;

/// A plan without its number of steps, which may have to be timed first, and without what depends on it.
pub(in crate::commands) struct Draft {
    size: Size,
    tokenization: Tokenization,
    recipe: Recipe,
    row: Row,
    data: Planned,
    train_on: TrainOn,
    budget: Budget,
    context: usize,
    seed: u64,
    precision: Precision,
    name: Option<String>,
}

impl Draft {
    /// Of the one run of this size and tokenization.
    pub(in crate::commands) fn new(
        arguments: &Fit,
        size: Size,
        tokenization: &Tokenization,
        data: Planned,
    ) -> Result<Self> {
        let recipe = arguments.recipe.unwrap_or(Recipe::Modern);
        let row = recipe.row_for(size, arguments.context.unwrap_or(DEFAULT_CONTEXT));
        let row = row.with(&arguments.settings()).map_err(anyhow::Error::msg)?;
        row.choices.check_size(size).map_err(anyhow::Error::msg)?;
        let precision = arguments.device.precision(arguments.precision);
        let mut draft = Self {
            size,
            tokenization: tokenization.clone(),
            recipe,
            row,
            data,
            train_on: arguments.trains_on(),
            budget: budget(&arguments.budget, size),
            context: arguments.context.unwrap_or(DEFAULT_CONTEXT),
            seed: arguments.seed.unwrap_or_default(),
            precision: precision.map_err(anyhow::Error::msg)?,
            name: arguments.name.clone(),
        };
        if arguments.equal_total {
            draft.size = draft.narrowed();
            draft.budget = budget(&arguments.budget, draft.size);
        }
        check_name(&draft.name())?;
        Ok(draft)
    }

    /// The size that has no more parameters in total than with bytes.
    fn narrowed(&self) -> Size {
        let plan = self.with_steps(1);
        let of_bytes = Plan { tokenization: Tokenization::Bytes, ..plan.clone() };
        let parameters = |size| Plan { size, ..plan.clone() }.parameters();
        let within = self.size.within(plan.head_dimension(), of_bytes.parameters(), parameters);
        if within.width == self.size.width { self.size } else { within }
    }

    /// The run's name.
    pub(in crate::commands) fn name(&self) -> String {
        self.with_steps(1).name
    }

    /// The number of steps of the budget, if it does not depend on timing.
    pub(in crate::commands) fn known_steps(&self) -> Option<u64> {
        let sequences = (self.row.batch as u64).saturating_mul(self.row.accumulation as u64);
        let tokens_per_step = (self.context as u64).saturating_mul(sequences);
        match self.budget {
            Budget::Tokens(tokens) => Some(tokens.div_ceil(tokens_per_step).max(1)),
            Budget::Steps(steps) => Some(steps.max(1)),
            Budget::Minutes(_) => None,
        }
    }

    /// The plan of so many steps.
    pub(in crate::commands) fn with_steps(&self, steps: u64) -> Plan {
        let mut plan = Plan {
            name: self.name.clone().unwrap_or_default(),
            size: self.size,
            tokenization: self.tokenization.clone(),
            recipe: self.recipe,
            corpus: self.data.corpus.name.clone(),
            corpus_bytes: self.data.corpus.bytes,
            corpus_sha256: self.data.corpus.sha256.clone(),
            train_on: self.train_on,
            train_span: self.data.train_span,
            parts: self.data.parts.clone(),
            budget: self.budget,
            steps,
            context: self.context,
            batch: self.row.batch,
            accumulation: self.row.accumulation,
            seed: self.seed,
            validate_every: steps.div_ceil(VALIDATIONS).max(1),
            validation_sequences: 1,
            choices: self.row.choices,
            precision: self.precision,
        };
        let affordable = plan.tokens() / (VALIDATION_SHARE * VALIDATIONS * plan.context as u64);
        plan.validation_sequences = affordable.clamp(2, VALIDATION_SEQUENCES) as usize;
        if self.name.is_none() {
            plan.name = plan.name_of();
        }
        plan
    }
}

/// The amount of training that is asked for.
fn budget(asked: &BudgetArguments, size: Size) -> Budget {
    match asked {
        BudgetArguments { tokens: Some(tokens), .. } => Budget::Tokens(*tokens),
        BudgetArguments { steps: Some(steps), .. } => Budget::Steps(*steps),
        BudgetArguments { minutes: Some(minutes), .. } => Budget::Minutes(*minutes),
        _ => Budget::Tokens(default_tokens(size)),
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.len() > LONGEST_NAME {
        bail!(
            "the run's name `{name}` is longer than {LONGEST_NAME} characters\n\
             hint: choose a shorter one with `--name`"
        );
    }
    if is_reserved(name) {
        bail!(
            "`{name}` cannot be the name of a run: names that begin with `{PREFIX}` are those of networks that are \
             built into the program\n\
             hint: choose another with `--name`; a run that is there already gets one when its folder is renamed"
        );
    }
    let safe = |letter: char| letter.is_ascii_alphanumeric() || "._=-".contains(letter);
    if name.is_empty() || name.starts_with('.') || name == "compressors" || !name.chars().all(safe)
    {
        bail!("`{name}` cannot be the name of a run: use letters, digits, `.`, `_`, `=` and `-`");
    }
    Ok(())
}

/// The plan with its number of steps, and the seconds per step if trial steps were timed: for a budget in minutes, and
/// for the estimate of a dry run.
pub(super) fn settled(
    draft: &Draft,
    training: &Arc<dyn Tokens>,
    arguments: &Fit,
    context: &Context,
) -> Result<(Plan, Option<f64>)> {
    let known = draft.known_steps();
    let trial = draft.with_steps(TRIAL_STEPS);
    let fits = check_memory(&trial, arguments.device);
    let mut seconds_per_step = None;
    if known.is_none() || arguments.dry_run {
        // A dry run tells what does not fit, and times nothing then.
        let is_too_large = fits.is_err();
        if !arguments.dry_run {
            fits?;
        }
        if !is_too_large {
            context.say("timing trial steps …");
            let stop = context.stop();
            let timed = arguments.device.seconds_per_step(&trial, training.clone(), &stop)?;
            seconds_per_step = Some(timed);
        }
    }
    let steps = match (known, draft.budget) {
        (None, Budget::Minutes(minutes)) => {
            let seconds = seconds_per_step.context("trial steps were timed")?;
            ((minutes * 60.0 * STEPPING_SHARE / seconds).round() as u64).max(1)
        }
        (steps, _) => steps.unwrap_or(1),
    };
    Ok((draft.with_steps(steps), seconds_per_step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_their_folder() {
        for name in ["200K-bytes-modern-s0", "a.b_c=1"] {
            check_name(name).expect("a good name");
        }
        for name in ["", "..", "a/b", "a\\b", ".hidden", "compressors", "a b", "builtin-x"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
