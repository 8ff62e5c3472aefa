//! What a run trains and validates on: the tokens of a corpus, or of a mixture of several.

use std::sync::Arc;

use anyhow::{Result, bail};
use lmtrain_corpora::{Corpus, Encoded, Ingredient, Mixture, Part, Split};
use lmtrain_runs::medium::MEDIA_CHUNK_BYTES;
use lmtrain_runs::{Plan, Span, Tokenization};
use lmtrain_tokenizers::BpeTokenizer;
use lmtrain_train::{ByteTokens, MixedTokens, Tokens};

use super::tokenizer::for_training;
use crate::context::Context;

/// Tokens of a run, and its vocabulary if they are not bytes.
pub(super) struct TrainingData {
    pub(super) training: Arc<dyn Tokens>,
    pub(super) validation: Arc<dyn Tokens>,
    pub(super) vocabulary: Option<BpeTokenizer>,
}

impl TrainingData {
    /// The data of a plan, which is of this mixture.
    pub(super) fn open(plan: &Plan, mixture: &Mixture, context: &Context) -> Result<Self> {
        check(plan, mixture)?;
        if let (Some(corpus), Tokenization::Bpe(_)) = (mixture.single(), &plan.tokenization) {
            return Self::encoded(plan, corpus, context);
        }
        let [mut training, mut validation] = [Vec::new(), Vec::new()];
        for (ingredient, share) in mixture.ingredients().iter().zip(shares(plan)) {
            let corpus = &ingredient.corpus;
            let split = Split::of_corpus(corpus, plan.train_on);
            training.push((bytes_of(corpus, split.span(Part::Train)), share));
            validation.push((bytes_of(corpus, split.span(Part::Validation)), share));
        }
        for (index, Ingredient { corpus, .. }) in mixture.ingredients().iter().enumerate() {
            let counts = [&training, &validation].map(|parts| parts[index].0.count());
            // A single corpus may validate on less than a sequence.
            let least = if mixture.single().is_some() { 1 } else { plan.context };
            check_length(plan, corpus, counts, least)?;
        }
        Ok(Self { training: joined(training), validation: joined(validation), vocabulary: None })
    }

    /// The data of one corpus in tokens of a vocabulary of its own.
    fn encoded(plan: &Plan, corpus: &Corpus, context: &Context) -> Result<Self> {
        let split = Split::of_corpus(corpus, plan.train_on);
        let vocabulary = for_training(&plan.tokenization, corpus, split.train, context)?;
        let Some(vocabulary) = vocabulary.map(|vocabulary| vocabulary.tokenizer) else {
            bail!("`{}` has no vocabulary", plan.tokenization);
        };
        let part = |part| -> Result<Arc<dyn Tokens>> {
            Ok(Arc::new(Encoded::open(corpus, split.span(part), &vocabulary, &context.data)?))
        };
        let (training, validation) = (part(Part::Train)?, part(Part::Validation)?);
        check_length(plan, corpus, [training.count(), validation.count()], 1)?;
        Ok(Self { training, validation, vocabulary: Some(vocabulary) })
    }
}

/// The parts' shares of the tokens; 1 of a single corpus.
fn shares(plan: &Plan) -> Vec<f64> {
    if plan.parts.is_empty() {
        return vec![1.0];
    }
    plan.parts.iter().map(lmtrain_runs::PlannedPart::share).collect()
}

fn bytes_of(corpus: &Arc<Corpus>, span: Span) -> Arc<dyn Tokens> {
    Arc::new(ByteTokens::new(corpus.clone(), span.start as usize..span.end as usize))
}

fn joined(mut parts: Vec<(Arc<dyn Tokens>, f64)>) -> Arc<dyn Tokens> {
    match parts.len() {
        1 => parts.remove(0).0,
        _ => Arc::new(MixedTokens::new(parts)),
    }
}

/// Refuses what cannot be trained on so.
fn check(plan: &Plan, mixture: &Mixture) -> Result<()> {
    let is_bytes = plan.tokenization == Tokenization::Bytes;
    if !is_bytes && mixture.single().is_none() {
        bail!(
            "`{}` is a mixture, but a vocabulary is trained on one text\n\
             hint: `--tokenizer bytes`, or a single corpus",
            mixture.name()
        );
    }
    for Ingredient { corpus, .. } in mixture.ingredients() {
        let (name, medium) = (corpus.name(), corpus.medium());
        if !medium.is_decoded() {
            continue;
        }
        if !is_bytes {
            bail!(
                "`{name}` ({medium}) has fixed chunks of bytes, which tokens of `{}` would straddle\n\
                 hint: `--tokenizer bytes`",
                plan.tokenization
            );
        }
        if plan.context as u64 != MEDIA_CHUNK_BYTES {
            bail!(
                "a sequence of `{name}` ({medium}) is one chunk of {MEDIA_CHUNK_BYTES} bytes, but \
                 `--context` is {}\nhint: leave it out",
                plan.context
            );
        }
    }
    Ok(())
}

/// Refuses what is too short for one sequence.
fn check_length(
    plan: &Plan,
    corpus: &Corpus,
    [train, validate]: [usize; 2],
    least: usize,
) -> Result<()> {
    if train < plan.context || validate < least {
        // Of images and sounds whole files train or validate, and a sequence is a chunk.
        let hint = match corpus.medium().is_decoded() {
            true => "more files: each of them trains, validates or tests as a whole",
            false => "a smaller `--context`",
        };
        bail!(
            "corpus `{}` is too short: it has {train} tokens for training and {validate} for validation, but one \
             sequence takes {}
hint: {hint}",
            corpus.name(),
            plan.context
        );
    }
    Ok(())
}
