//! Finding runs, and opening corpora with their progress shown.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Result, bail};
use lmtrain_corpora::{self as corpora, Corpus};
use lmtrain_engine::SavedWeights;
use lmtrain_runs::recipe::Recipe;
use lmtrain_runs::{Plan, Run, Size, Tokenization};

use crate::context::Context;
use crate::progress::Progress;

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

    /// The runs that fit, each with its plan, in the order of their sizes.
    pub(super) fn runs(&self, context: &Context) -> Result<Vec<(Run, Plan)>> {
        let mut found = Vec::new();
        for run in context.store.runs()? {
            let Some(plan) = run.plan()? else { continue };
            if self.fits(&plan) && run.weights_path().is_file() {
                found.push((run, plan));
            }
        }
        found
            .sort_by(|left, right| (left.1.size, &left.1.name).cmp(&(right.1.size, &right.1.name)));
        for name in self.names {
            if !found.iter().any(|(run, _)| run.name() == name) {
                bail!("no run `{name}` in {}\n{}", context.store.root().display(), known(context)?);
            }
        }
        if found.is_empty() && !self.is_empty() {
            bail!("no run fits `{self}`\nhint: `lmtrain fit {}`", self.to_fit());
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

/// A hint that lists the runs there are.
fn known(context: &Context) -> Result<String> {
    let names: Vec<String> =
        context.store.runs()?.iter().map(|run| format!("`{}`", run.name())).collect();
    Ok(match names.len() {
        0 => "hint: `lmtrain fit --size 200K` makes one".to_owned(),
        _ => format!("hint: there are {}", names.join(", ")),
    })
}

/// The weights of a run by name.
pub(super) fn weights(name: &str, context: &Context) -> Result<SavedWeights> {
    let run = context.store.run(name);
    if !run.weights_path().is_file() {
        bail!(
            "no weights of run `{name}` in {}\n{}",
            context.store.root().display(),
            known(context)?
        );
    }
    weights_of(&run)
}

/// The weights of a run, under its name.
pub(super) fn weights_of(run: &Run) -> Result<SavedWeights> {
    Ok(SavedWeights::read(&run.weights_path())?.of_run(run.name()))
}

/// Opens a corpus by name or path; unpacking it shows its progress.
pub(super) fn open_corpus(name: &str, context: &Context) -> Result<Arc<Corpus>> {
    let mut shown = None;
    let corpus = corpora::open_with(name, &context.data, &mut |progress| {
        show(shown.get_or_insert_with(|| Progress::new(name, context.quiet)), progress);
        if context.is_stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(Arc::new(corpus))
}

/// Shows how far a download, an unpacking or a checksum is.
pub(super) fn show(shown: &mut Progress, progress: corpora::Progress) {
    use lmtrain_runs::Bytes;
    let (what, bytes, of) = match progress {
        corpora::Progress::Downloading { bytes, of } => ("downloaded", bytes, of),
        corpora::Progress::Unpacking { bytes, of } => ("unpacked", bytes, of),
        corpora::Progress::Hashing { bytes, of } => ("checked", bytes, of),
    };
    shown.update(bytes, of, &format!("{} {what}", Bytes(bytes)));
}
