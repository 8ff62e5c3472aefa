//! Which sweep is meant: a built-in plan, a file, the flags, or the study that is the default. And the list of the
//! built-in plans.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use lmtrain_corpora::{CorpusIdentity, Planned};
use lmtrain_runs::plan::DEFAULT_CORPUS;
use lmtrain_runs::sweep::Sweep;
use lmtrain_runs::units::short_seconds;
use lmtrain_runs::{Bytes, GIT_LFS_POINTER, is_git_lfs_pointer, plans};
use serde::Serialize;
use toml::{Table, Value};

use super::super::corpora::best_text;
use super::super::output::{print_json, print_table};
use super::cost::seconds;
use super::line::{Line, draft_of};
use crate::cli::{self, Fit};
use crate::context::Context;
use crate::device::Device;

/// A built-in plan, as `--list --json` prints it.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    title: String,
    runs: usize,
    measurements_of_each: usize,
    training_flops: f64,
    training_seconds: f64,
}

/// The sweep that the arguments name. A built-in plan takes precedence over a file of its name.
pub(super) fn chosen(arguments: &cli::Sweep, context: &Context) -> Result<Sweep> {
    match &arguments.plan {
        None if arguments.size.is_empty() => default_study(context),
        None => Ok(of_flags(arguments)),
        Some(path) => match path.to_str().and_then(plans::by_name) {
            Some(text) => Ok(text.parse()?),
            None => of_file(path),
        },
    }
}

fn of_file(path: &Path) -> Result<Sweep> {
    if !path.exists() {
        let names: Vec<String> = plans::PLANS.iter().map(|(name, _)| format!("`{name}`")).collect();
        bail!(
            "there is neither a built-in plan nor a file {}\nhint: the built-in plans are {}",
            path.display(),
            names.join(", ")
        );
    }
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    if is_git_lfs_pointer(text.as_bytes()) {
        bail!("{}: {GIT_LFS_POINTER}", path.display());
    }
    let sweep: Sweep = text.parse().with_context(|| path.display().to_string())?;
    if sweep.fit.is_empty() && sweep.eval.is_empty() {
        bail!("{} has neither a `[[fit]]` nor an `[[eval]]`", path.display());
    }
    Ok(sweep)
}

/// The study that is made if nothing is said, on the best text that is here.
fn default_study(context: &Context) -> Result<Sweep> {
    let (name, folder) = (plans::DEFAULT, context.data.text());
    let Some(text) = best_text(context)? else {
        bail!(
            "the plan `{name}` needs a text of a megabyte or more, but {} has none\n\
             hint: `{}` downloads one (36 MB); `lmtrain sweep --list` lists the plans",
            folder.display(),
            context.data.command(&format!("data fetch {DEFAULT_CORPUS}"))
        );
    };
    context
        .say(&format!("running the plan `{name}` on `{text}`, which is in {}", folder.display()));
    let sweep: Sweep = plans::by_name(name).unwrap_or_default().parse()?;
    let here = |corpus: &str| {
        let listings = context.data.list()?;
        let is_here = |path: &Option<std::path::PathBuf>| path.is_some();
        Ok(listings.iter().any(|listing| listing.name == corpus && is_here(&listing.path)))
    };
    on_text(sweep, &text, here)
}

/// A sweep on another text: its runs train on that, and are measured on what that held out, unless the
/// text is the sweep's own and what the sweep measures on is here.
fn on_text(mut sweep: Sweep, text: &str, here: impl Fn(&str) -> Result<bool>) -> Result<Sweep> {
    let is_own = sweep.fit.iter().all(|fit| names(fit, "corpus") == [text]);
    let mut is_whole = is_own;
    for corpus in sweep.eval.iter().flat_map(|eval| names(eval, "corpus")) {
        is_whole = is_whole && here(&corpus)?;
    }
    if is_whole {
        return Ok(sweep);
    }
    for fit in &mut sweep.fit {
        fit.insert("corpus".to_owned(), text.into());
    }
    for eval in &mut sweep.eval {
        eval.insert("corpus".to_owned(), text.into());
        eval.entry("part").or_insert_with(|| "test".into());
    }
    Ok(sweep)
}

/// The texts of a key: one or a list.
fn names(table: &Table, key: &str) -> Vec<String> {
    match table.get(key) {
        Some(Value::String(name)) => vec![name.clone()],
        Some(Value::Array(names)) => {
            names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

/// Lists the built-in plans, with what each is for and about how long it trains.
pub(super) fn list(device: Device, flops_per_s: f64, context: &Context) -> Result<()> {
    let mut listed = Vec::new();
    for (name, text) in plans::PLANS {
        listed.push(of_plan(name, text, device, flops_per_s)?);
    }
    if context.json {
        return print_json(&listed);
    }
    context.say(&format!(
        "estimated training time on {device}, from its {:.0} GFLOP/s in a large matrix product and the share \
         of it that training usually reaches; evaluation comes on top",
        flops_per_s / 1e9
    ));
    let row = |plan: &Listed| {
        let time = short_seconds(plan.training_seconds);
        vec![plan.name.to_owned(), plan.runs.to_string(), time, plan.title.clone()]
    };
    let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
    print_table(&["", "runs", "about", "purpose"], &rows)
}

fn of_plan(name: &'static str, text: &str, device: Device, flops_per_s: f64) -> Result<Listed> {
    let sweep: Sweep = text.parse()?;
    let mut listed = Listed {
        name,
        title: sweep.title.clone(),
        runs: 0,
        measurements_of_each: sweep.eval.len(),
        training_flops: 0.0,
        training_seconds: 0.0,
    };
    for line in sweep.fits()? {
        let flags = Fit::parse(&line, device)?;
        // What is computed does not depend on the corpus, which need not be here.
        let (name, sha256) = (flags.corpus().to_owned(), String::new());
        let corpus = CorpusIdentity { name, bytes: Bytes(0), sha256 };
        let data = Planned { corpus, train_span: None, parts: Vec::new() };
        let draft = draft_of(&flags, &line, data)?;
        let steps = draft.known_steps();
        let plan = draft.with_steps(steps.unwrap_or(1));
        listed.runs += 1;
        listed.training_flops += steps.map_or(0.0, |_| plan.flops());
        listed.training_seconds += seconds(&plan, flops_per_s);
    }
    Ok(listed)
}

fn of_flags(arguments: &cli::Sweep) -> Sweep {
    let list = |values: &[String]| {
        Value::Array(values.iter().map(|value| Value::String(value.clone())).collect())
    };
    let table = |lists: &[(&str, &[String])]| -> Table {
        let given = lists.iter().filter(|(_, values)| !values.is_empty());
        given.map(|(key, values)| ((*key).to_owned(), list(values))).collect()
    };
    let mut fit = table(&[
        ("size", &arguments.size),
        ("tokenizer", &arguments.tokenizer),
        ("recipe", &arguments.recipe),
        ("seed", &arguments.seed),
        ("corpus", &arguments.corpus),
        ("tokens", &arguments.tokens),
        ("minutes", &arguments.minutes),
    ]);
    let set = arguments.set.iter().map(|set| {
        let (key, values) = set.split_once('=').unwrap_or((set, ""));
        let values: Vec<String> = values.split(',').map(str::to_owned).collect();
        (key.to_owned(), list(&values))
    });
    let set: Table = set.collect();
    if !set.is_empty() {
        fit.insert("set".to_owned(), Value::Table(set));
    }
    let chunks: Vec<String> = arguments.sample_chunks.iter().map(ToString::to_string).collect();
    let eval = table(&[
        ("corpus", &arguments.eval_corpus),
        ("sample-chunks", &chunks),
        ("compressor", &arguments.compressor),
    ]);
    Sweep { title: String::new(), fit: vec![fit], eval: vec![eval] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn study() -> Sweep {
        plans::by_name(plans::DEFAULT).expect("there").parse().expect("a sweep")
    }

    #[test]
    fn a_study_is_its_own_where_its_texts_are_here() {
        let own = names(&study().fit[0], "corpus").remove(0);
        assert_eq!(on_text(study(), &own, |_| Ok(true)).expect("a sweep"), study());
        for (text, here) in [(&own[..], false), ("enwik8", true)] {
            let made = on_text(study(), text, |_| Ok(here)).expect("a sweep");
            assert!(made.fit.iter().all(|fit| names(fit, "corpus") == [text]));
            assert!(made.eval.iter().all(|eval| names(eval, "corpus") == [text]));
            let parts: Vec<_> = made.eval.iter().flat_map(|eval| names(eval, "part")).collect();
            assert_eq!(parts, ["test", "train", "test"], "what is said of a part stays");
            assert_eq!(made.fits().expect("runs").len(), study().fits().expect("runs").len());
        }
    }
}
