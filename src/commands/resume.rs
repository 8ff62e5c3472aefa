//! Runs that were begun before. `lmtrain fit --resume`: options that are left out are taken from the run's plan, and
//! those that are given must agree with it. `lmtrain sweep`: the run must be what the sweep says, in all that makes it.

use anyhow::{Context as _, Result, bail};
use lmtrain_corpora::Mixture;
use lmtrain_runs::plan::TrainOn;
use lmtrain_runs::recipe::{Setting, text};
use lmtrain_runs::{Budget, Plan, Run};

use super::corpora::open_mixture;
use super::select::known;
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
    let row = saved.row();
    let wanted = row.with(&arguments.settings()).map_err(anyhow::Error::msg)?;
    let asked = Plan {
        batch: wanted.batch,
        accumulation: wanted.accumulation,
        choices: wanted.choices,
        ..asked.clone()
    };
    let differences = differences(saved, &asked, |key| is_said(arguments, key));
    refuse(
        &differences,
        run,
        "on the command line",
        "leave out the options that differ, or choose another `--name`",
    )
}

/// Refuses to take a run for one of a sweep that it only shares the name with: `asked` is the plan that the sweep gives
/// it today, `arguments` its line.
pub(super) fn check_whole(saved: &Plan, arguments: &Fit, asked: &Plan, run: &Run) -> Result<()> {
    // What is not said of the precision is chosen by the machine.
    let differences =
        differences(saved, asked, |key| key != "precision" || is_said(arguments, key));
    refuse(
        &differences,
        run,
        "by this sweep",
        "sweep into another folder with `--runs-dir`, give the run another `name`, or set in the sweep's plan what \
         the run has",
    )
}

fn refuse(differences: &[Difference], run: &Run, place: &str, hint: &str) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    let line = |Difference { key, there, asked }: &Difference| {
        format!("\n  {key}: {there} in the plan, but {asked} {place}")
    };
    let lines: String = differences.iter().map(line).collect();
    bail!(
        "run `{}` was started with another plan, in {}:{lines}\nhint: {hint}",
        run.name(),
        run.plan_path().display()
    );
}

/// What two plans differ in.
struct Difference {
    key: &'static str,
    /// The run's.
    there: String,
    /// The one that is asked for.
    asked: String,
}

/// Whether an option is on the command line; the corpus, and what is `--set`, always count.
fn is_said(arguments: &Fit, key: &str) -> bool {
    let budget = &arguments.budget;
    match key {
        "size" => !arguments.size.is_empty(),
        "tokenizer" => !arguments.tokenizer.is_empty(),
        "recipe" => arguments.recipe.is_some(),
        "train-on" => arguments.train_on.is_some(),
        "budget" => budget.tokens.is_some() || budget.steps.is_some() || budget.minutes.is_some(),
        "context" => arguments.context.is_some(),
        "seed" => arguments.seed.is_some(),
        "precision" => arguments.precision.is_some(),
        _ => true,
    }
}

/// A choice of a plan as it is written.
type Of = fn(&Plan) -> String;

/// All that two plans differ in, of what counts.
fn differences(
    saved: &Plan,
    asked: &Plan,
    counts: impl Fn(&'static str) -> bool,
) -> Vec<Difference> {
    let keys: [(&str, Of); 9] = [
        ("size", |plan| plan.size.to_string()),
        ("tokenizer", |plan| plan.tokenization.to_string()),
        ("recipe", |plan| plan.recipe.to_string()),
        ("train-on", |plan| trains_on(plan.train_on).to_owned()),
        ("budget", |plan| written(plan.budget)),
        ("context", |plan| plan.context.to_string()),
        ("seed", |plan| plan.seed.to_string()),
        ("precision", |plan| plan.precision.to_string()),
        // Its bytes decide, whatever it is called.
        ("corpus", corpus),
    ];
    let plain = keys.into_iter().filter(|(key, of)| match *key {
        "corpus" => saved.corpus_sha256 != asked.corpus_sha256,
        key => counts(key) && of(saved) != of(asked),
    });
    let plain = plain.map(|(key, of)| Difference { key, there: of(saved), asked: of(asked) });
    let row = saved.row();
    let settings = asked.row().beside(&row).into_iter().map(|Setting { choice, value }| {
        Difference { key: choice.key, there: text(&row.get(choice)), asked: text(&value) }
    });
    plain.chain(settings).collect()
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
