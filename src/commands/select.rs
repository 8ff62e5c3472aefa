//! Finding runs.

use std::path::PathBuf;

use anyhow::{Result, bail};
use lmtrain_engine::SavedWeights;
use lmtrain_runs::recipe::Recipe;
use lmtrain_runs::{Plan, Run, Size, StepRecord, Tokenization};

use super::{builtin, packed};
use crate::context::Context;

/// Which runs are meant; an empty list means any.
#[derive(Debug, Default)]
pub(super) struct Selection<'a> {
    pub(super) names: &'a [String],
    pub(super) sizes: &'a [Size],
    pub(super) tokenizations: &'a [Tokenization],
    pub(super) recipe: Option<Recipe>,
}

impl Selection<'_> {
    /// Whether anything was asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
            && self.sizes.is_empty()
            && self.tokenizations.is_empty()
            && self.recipe.is_none()
    }

    /// The runs that fit and have weights, each with its plan, in the order of their sizes.
    pub(super) fn runs(&self, context: &Context) -> Result<Vec<(Run, Plan)>> {
        let (mut found, mut without) = (Vec::new(), Vec::new());
        for run in context.store.runs()? {
            let Some(plan) = run.plan()? else { continue };
            if self.fits(&plan) {
                let runs = if run.weights_path().is_file() { &mut found } else { &mut without };
                runs.push((run, plan));
            }
        }
        for runs in [&mut found, &mut without] {
            runs.sort_by(|one, other| {
                (one.1.size, &one.1.name).cmp(&(other.1.size, &other.1.name))
            });
        }
        for name in self.names {
            let is_named = |(run, _): &&(Run, Plan)| run.name() == name;
            if let Some((run, plan)) = without.iter().find(is_named) {
                return Err(no_weights(run, plan, context)?);
            }
            if !found.iter().any(|run| is_named(&run)) {
                bail!(
                    "there is no run `{name}` in {}\n{}",
                    context.store.root().display(),
                    known_networks(context)?
                );
            }
        }
        if found.is_empty() && !self.is_empty() {
            match &without[..] {
                [] => bail!("no run matches `{self}`\nhint: `lmtrain fit {}`", self.to_fit()),
                [(run, plan)] => return Err(no_weights(run, plan, context)?),
                several => return Err(none_has_weights(&self.to_string(), several, context)?),
            }
        }
        if !without.is_empty() {
            let names: Vec<&str> = without.iter().map(|(run, _)| run.name()).collect();
            context
                .say(&format!("left out, because their weights are missing: {}", names.join(", ")));
        }
        Ok(found)
    }

    fn fits(&self, plan: &Plan) -> bool {
        (self.names.is_empty() || self.names.contains(&plan.name))
            && (self.sizes.is_empty() || self.sizes.contains(&plan.size))
            && (self.tokenizations.is_empty() || self.tokenizations.contains(&plan.tokenization))
            && self.recipe.is_none_or(|recipe| recipe == plan.recipe)
    }

    /// The arguments of `fit` that would make what was asked for.
    fn to_fit(&self) -> String {
        let text = self.to_string();
        if self.sizes.is_empty() { format!("--size 200K {text}").trim().to_owned() } else { text }
    }
}

impl std::fmt::Display for Selection<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        let mut list = |flag: &str, items: Vec<String>| {
            if !items.is_empty() {
                parts.push(format!("{flag} {}", items.join(",")));
            }
        };
        list("--run", self.names.to_vec());
        list("--size", self.sizes.iter().map(ToString::to_string).collect());
        list("--tokenizer", self.tokenizations.iter().map(ToString::to_string).collect());
        list("--recipe", self.recipe.iter().map(ToString::to_string).collect());
        formatter.write_str(&parts.join(" "))
    }
}

/// Whether only the records of a run are there: it was measured or validated, so it once had weights.
pub(super) fn has_records_alone(run: &Run) -> Result<bool> {
    if run.weights_path().exists() || run.checkpoint_folder().exists() {
        return Ok(false);
    }
    let validated = |step: &StepRecord| step.validation_bits_per_byte.is_some();
    Ok(!run.rates()?.is_empty() || run.steps()?.iter().any(validated))
}

/// Why a run that is there cannot be used, and what to do.
fn no_weights(run: &Run, plan: &Plan, context: &Context) -> Result<anyhow::Error> {
    let (name, root) = (run.name(), context.store.root().display());
    if has_records_alone(run)? {
        let command = plan.command();
        return Ok(anyhow::anyhow!(
            "run `{name}` is in {root} with its plan and its records, but without its weights\n\
             hint: give the folder that has them with `--runs-dir`; `{command}` trains them again, with \
             another `--runs-dir`"
        ));
    }
    Ok(anyhow::anyhow!(
        "run `{name}` in {root} has no weights yet\nhint: `lmtrain fit --resume --name {name}` trains it"
    ))
}

/// As [`no_weights`], of several.
fn none_has_weights(asked: &str, runs: &[(Run, Plan)], context: &Context) -> Result<anyhow::Error> {
    let (count, root) = (runs.len(), context.store.root().display());
    let names: Vec<String> = runs.iter().map(|(run, _)| format!("`{}`", run.name())).collect();
    let names = names.join(", ");
    let mut kept = true;
    for (run, _) in runs {
        kept &= has_records_alone(run)?;
    }
    let what = match kept {
        true => "their plans and records are here, but not their weights",
        false => "none of them has weights",
    };
    Ok(anyhow::anyhow!(
        "{count} runs in {root} match `{asked}`: {names}; {what}\n\
         hint: give the folder that has the weights with `--runs-dir`; `lmtrain report` shows what is \
         recorded; `--run NAME` with one of these says how to train it again"
    ))
}

/// A hint that lists the runs there are.
pub(super) fn known(context: &Context) -> Result<String> {
    let names: Vec<String> =
        context.store.runs()?.iter().map(|run| format!("`{}`", run.name())).collect();
    Ok(match names.len() {
        0 => "hint: `lmtrain fit --size 200K` trains one".to_owned(),
        _ => format!("hint: the runs there are {}", names.join(", ")),
    })
}

/// The same, with the networks that are built in.
pub(super) fn known_networks(context: &Context) -> Result<String> {
    Ok(format!("{}; built into the program: {}", known(context)?, builtin::names()))
}

/// The weights of a run by name, or of a packed network.
pub(super) fn weights(name: &str, context: &Context) -> Result<SavedWeights> {
    if packed::is_packed(name) {
        return packed::open(name, context);
    }
    let run = context.store.run(name);
    if !run.weights_path().is_file() {
        if let Some(plan) = run.plan()? {
            return Err(no_weights(&run, &plan, context)?);
        }
        bail!(
            "there is no run `{name}` in {}\n{}",
            context.store.root().display(),
            known_networks(context)?
        );
    }
    weights_of(&run)
}

/// The file that [`weights`] reads; none for a network that is built in.
pub(super) fn weights_file(name: &str, context: &Context) -> Option<PathBuf> {
    match packed::is_packed(name) {
        true => packed::is_file(name).then(|| PathBuf::from(name)),
        false => Some(context.store.run(name).weights_path()),
    }
}

/// The weights of a run, under its name.
pub(super) fn weights_of(run: &Run) -> Result<SavedWeights> {
    Ok(SavedWeights::read(&run.weights_path())?.of_run(run.name()))
}
