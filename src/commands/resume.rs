//! `lmtrain fit --resume`: options that are left out are taken from the run's plan, and those that are given must agree
//! with it.

use anyhow::{Context as _, Result, bail};
use lmtrain_corpora::Mixture;
use lmtrain_runs::plan::TrainOn;
use lmtrain_runs::recipe::{Row, Setting, text};
use lmtrain_runs::{Budget, Plan, Run};

use super::select::{known, open_mixture};
use crate::cli::Fit;
use crate::context::Context;

/// The plan that the arguments name, of a run to go on with.
pub(super) fn begun(arguments: &Fit, context: &Context) -> Result<Option<Plan>> {
    let (Some(name), true) = (&arguments.name, arguments.resume) else { return Ok(None) };
    let plan = context.store.run(name).plan()?;
    if plan.is_none() && arguments.size.is_empty() {
        let root = context.store.root().display();
        bail!("there is no run `{name}` to resume in {root}\n{}", known(context)?);
    }
    Ok(plan)
}

/// The training corpus as the plan names it.
pub(super) fn corpus_of(plan: &Plan, strict: bool, context: &Context) -> Result<Mixture> {
    let name = &plan.corpus;
    open_mixture(name, strict, context).with_context(|| {
        format!(
            "the run was started on `{name}`; if that file was moved, give its new path with `--corpus`"
        )
    })
}

/// Refuses arguments that differ from the plan that a run was started with; `asked` is the plan that the arguments
/// alone would give.
pub(super) fn check(saved: &Plan, arguments: &Fit, asked: &Plan, run: &Run) -> Result<()> {
    let differences = differences(saved, arguments, asked)?;
    if differences.is_empty() {
        return Ok(());
    }
    let line = |(key, there, asked): &(String, String, String)| {
        format!("\n  {key}: {there} in the plan, but {asked} on the command line")
    };
    let lines: String = differences.iter().map(line).collect();
    bail!(
        "run `{}` was started with another plan, in {}:{lines}\n\
         hint: leave out the options that differ, or choose another `--name`",
        run.name(),
        run.plan_path().display()
    );
}

/// A choice of a plan as it is written.
type Of = fn(&Plan) -> String;

/// Key, value in the plan, and value asked for, of all that differs.
fn differences(
    saved: &Plan,
    arguments: &Fit,
    asked: &Plan,
) -> Result<Vec<(String, String, String)>> {
    let mut all = Vec::new();
    let mut compare = |key: &str, is_said: bool, there: String, asked: String| {
        if is_said && there != asked {
            all.push((key.to_owned(), there, asked));
        }
    };
    let budget = &arguments.budget;
    let has_budget = budget.tokens.is_some() || budget.steps.is_some() || budget.minutes.is_some();
    let pair = |of: Of| (of(saved), of(asked));
    let keys: [(&str, bool, Of); 9] = [
        ("size", !arguments.size.is_empty(), |plan| plan.size.to_string()),
        ("tokenizer", !arguments.tokenizer.is_empty(), |plan| plan.tokenization.to_string()),
        ("recipe", arguments.recipe.is_some(), |plan| plan.recipe.to_string()),
        ("train-on", arguments.train_on.is_some(), |plan| trains_on(plan.train_on).to_owned()),
        ("budget", has_budget, |plan| written(plan.budget)),
        ("context", arguments.context.is_some(), |plan| plan.context.to_string()),
        ("seed", arguments.seed.is_some(), |plan| plan.seed.to_string()),
        ("precision", arguments.precision.is_some(), |plan| plan.precision.to_string()),
        // Its bytes decide, whatever it is called.
        ("corpus", saved.corpus_sha256 != asked.corpus_sha256, corpus),
    ];
    for (key, is_said, of) in keys {
        let (there, asked) = pair(of);
        compare(key, is_said, there, asked);
    }
    let row = saved.row();
    let wanted = row.with(&arguments.settings()).map_err(anyhow::Error::msg)?;
    for (key, [there, asked]) in settings(&row, &wanted) {
        compare(key, true, there, asked);
    }
    Ok(all)
}

/// Choices that two rows differ in, with the values of both.
fn settings(there: &Row, asked: &Row) -> Vec<(&'static str, [String; 2])> {
    let both =
        |Setting { choice, value }: Setting| (choice.key, [text(&there.get(choice)), text(&value)]);
    asked.beside(there).into_iter().map(both).collect()
}

fn trains_on(train_on: TrainOn) -> &'static str {
    match train_on {
        TrainOn::Split => "split",
        TrainOn::All => "all",
    }
}

/// A budget as its flag would be written.
fn written(budget: Budget) -> String {
    match budget {
        Budget::Tokens(tokens) => format!("{tokens} tokens"),
        Budget::Steps(steps) => format!("{steps} steps"),
        Budget::Minutes(minutes) => format!("{minutes} minutes"),
    }
}

fn corpus(plan: &Plan) -> String {
    let digits: String = plan.corpus_sha256.chars().take(12).collect();
    format!("`{}` of {} bytes ({digits}…)", plan.corpus, plan.corpus_bytes.0)
}
