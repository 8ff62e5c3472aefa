//! A generator: a compressor, a run or a pretrained model, found by its name.

use std::ops::ControlFlow;

use anyhow::{Result, bail};
use lmtrain_eval::Predictor;
use lmtrain_eval::compressors::{self, COMPRESSORS};
use lmtrain_eval::generate::{
    Drawing, GenerateError, Lengths, Sampled, Stretch, by_compressor, by_predictor, lengths,
};
use lmtrain_runs::record::{CompressorFacts, Maker, WeightsOf};
use lmtrain_runs::units::hex;
use lmtrain_runs::{Medium, Run};
use lmtrain_tokenizers::Tokenizer;

use super::super::packed::is_packed;
use super::super::pretrained::{self, Named};
use super::super::select::{known_networks, weights};
use super::super::tokenizer::of_weights;
use super::subject::Subject;
use crate::context::Context;
use crate::progress::ShownProgress;

/// What draws.
pub(super) enum Generator {
    Compressor(Lengths),
    Run { store: Run, predictor: Box<dyn Predictor>, tokenizer: Box<dyn Tokenizer> },
    Pretrained(Box<Named>),
}

impl Generator {
    /// Opens what has this name: a compressor, else a run, else a model's folder.
    pub(super) fn open(
        name: &str,
        look_ahead: u64,
        medium: Medium,
        context: &Context,
    ) -> Result<Self> {
        if let Ok(compressor) = compressors::by_name(name) {
            let look_ahead = usize::try_from(look_ahead).unwrap_or(usize::MAX);
            return Ok(Self::Compressor(Lengths { compressor, look_ahead, medium }));
        }
        let run = context.store.run(name);
        if is_packed(name) || run.plan_path().is_file() || run.weights_path().is_file() {
            let saved = weights(name, context)?;
            let (predictor, tokenizer) = (saved.predictor()?, of_weights(&saved, context)?);
            let packed = || context.store.packed(&saved.origin.plan.name);
            let store = if is_packed(name) { packed() } else { run };
            return Ok(Self::Run { store, predictor, tokenizer });
        }
        if std::path::Path::new(name).exists() || name.contains('/') {
            return Ok(Self::Pretrained(Box::new(pretrained::open(name, context)?)));
        }
        let names: Vec<String> = COMPRESSORS.iter().map(|it| format!("`{}`", it.name)).collect();
        bail!(
            "`{name}` is neither a compressor ({}), nor a run in {}, nor a model's folder\n{}",
            names.join(", "),
            context.store.root().display(),
            known_networks(context)?
        )
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Compressor(lengths) => lengths.compressor.name,
            Self::Run { store, .. } => store.name(),
            Self::Pretrained(named) => &named.name,
        }
    }

    /// Where its samples are kept.
    pub(super) fn store(&self, context: &Context) -> Run {
        match self {
            Self::Compressor(_) => context.store.compressors(),
            Self::Run { store, .. } => store.clone(),
            Self::Pretrained(named) => context.store.pretrained(&named.name),
        }
    }

    /// What a record says of it.
    pub(super) fn maker(&self) -> Maker {
        let of =
            |predictor: &dyn Predictor| WeightsOf { weights: Some(hex(&predictor.identity())) };
        match self {
            Self::Compressor(Lengths { compressor, .. }) => {
                let preset = Some(compressor.preset.to_owned());
                Maker::Compressor(CompressorFacts { preset, library: Some(compressor.library()) })
            }
            Self::Run { predictor, .. } => Maker::Run(of(predictor.as_ref())),
            Self::Pretrained(named) => Maker::Pretrained(of(named.model.predictor())),
        }
    }

    /// Bytes that a compressor looks ahead.
    pub(super) fn look_ahead(&self) -> Option<u64> {
        let Self::Compressor(lengths) = self else { return None };
        Some(lengths.look_ahead as u64)
    }

    fn network(&self) -> Option<(&dyn Predictor, &dyn Tokenizer)> {
        match self {
            Self::Compressor(_) => None,
            Self::Run { predictor, tokenizer, .. } => {
                Some((predictor.as_ref(), tokenizer.as_ref()))
            }
            Self::Pretrained(named) => Some((named.model.predictor(), named.model.tokenizer())),
        }
    }

    /// The stretches that it is given: of a text's context, as much of its end as a network's holds.
    pub(super) fn fitting(&self, subject: &Subject, context: &Context) -> Result<Vec<Stretch>> {
        let stretches = subject.stretches.clone();
        let Some((predictor, tokenizer)) = self.network() else { return Ok(stretches) };
        let (limit, name) = (predictor.context(), self.name());
        let (all, free) = lengths(&stretches);
        if subject.medium.is_decoded() {
            if limit < all {
                bail!(
                    "`{name}` has a context of {limit} tokens, but a chunk of {} has {all}",
                    subject.medium
                );
            }
            return Ok(stretches);
        }
        let [Stretch::Given(given), rest @ ..] = &stretches[..] else { return Ok(stretches) };
        let Some(room) = limit.checked_sub(free).filter(|room| *room > 0) else {
            bail!(
                "`{name}` has a context of {limit} tokens, and sampling {free} bytes leaves no room for the \
                 given context\nhint: `--bytes {}`",
                (limit / 2).max(1)
            );
        };
        let mut kept = &given[..];
        loop {
            let tokens = tokenizer.encode(kept)?;
            let Some(excess) = tokens.len().checked_sub(room).filter(|excess| *excess > 0) else {
                break;
            };
            let cut = tokenizer.decode(&tokens[..excess])?.len().clamp(1, kept.len());
            kept = &kept[cut..];
        }
        if kept.len() < given.len() {
            context.say(&format!(
                "{name} has a context of {limit} tokens and is given only the last {} bytes",
                kept.len()
            ));
        }
        Ok(std::iter::once(Stretch::Given(kept.to_vec())).chain(rest.iter().cloned()).collect())
    }

    /// Draws samples, with a sign of progress.
    pub(super) fn draw(
        &self,
        stretches: &[Stretch],
        drawing: Drawing,
        context: &Context,
    ) -> Result<Vec<Sampled>, GenerateError> {
        let of = (lengths(stretches).1 * drawing.samples) as u64;
        let mut shown =
            ShownProgress::new(format!("generating with {}", self.name()), context.quiet);
        let mut pulse = |drawn| {
            shown.update(drawn, Some(of), &format!("{drawn} of {of} bytes"));
            if context.is_stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match self {
            Self::Compressor(by) => by_compressor(*by, stretches, drawing, &mut pulse),
            _ => match self.network() {
                Some((predictor, tokenizer)) => {
                    by_predictor(predictor, tokenizer, stretches, drawing, &mut pulse)
                }
                None => Ok(Vec::new()),
            },
        }
    }
}
