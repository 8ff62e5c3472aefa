//! A run as a subject: its weights in some code, on chunks that fit the context that it was trained with.

use anyhow::{Result, bail};
use lmtrain_corpora::TrainedOn;
use lmtrain_engine::SavedWeights;
use lmtrain_eval::measure::{MeasureOutcome, Measured, ProgressCallback};
use lmtrain_runs::record::{Chunking, Facts, NetworkFacts, RateRecord, RunFacts, WeightCode};
use lmtrain_runs::units::hex;
use lmtrain_runs::{ARITHMETIC, Bits, Bytes, Plan, Run, Span};

use super::super::corpora::open_again;
use super::super::select::weights_of;
use super::super::tokenizer::of_weights;
use super::network;
use super::settings::length_of;
use super::subject::{Subject, Task};
use crate::context::Context;

/// Bytes of enwik9 that enwik8 is, and training on it has seen.
const ENWIK8_BYTES: u64 = 100_000_000;

/// A run with its weights in a code.
pub(in crate::commands) struct Coded<'a> {
    pub(in crate::commands) run: &'a Run,
    pub(in crate::commands) plan: &'a Plan,
    pub(in crate::commands) code: WeightCode,
    /// The weights, if they are not the run's own but a packed network's.
    pub(in crate::commands) packed: Option<&'a SavedWeights>,
}

impl Subject for Coded<'_> {
    type Identified = SavedWeights;

    fn label(&self) -> String {
        format!("{} ({})", self.plan.name, self.code)
    }

    fn store(&self, _context: &Context) -> Run {
        self.run.clone()
    }

    fn identify(&self, task: &Task<'_>) -> Result<Option<(RateRecord, SavedWeights)>> {
        let plan = self.plan;
        let chunking = task.settings.chunking(plan.context);
        let (chunk, limit) = (length_of(chunking), plan.context);
        if chunk > limit as u64 {
            task.context.say(&format!(
                "skipped {}: it was trained with a context of {limit} tokens; chunks of {chunk} are longer \
                 (hint: `--chunk {limit}`)",
                plan.name
            ));
            return Ok(None);
        }
        let saved = match self.packed {
            Some(packed) => packed.clone(),
            None => weights_of(self.run)?,
        };
        if saved.origin.plan != *plan {
            bail!(
                "run `{}`: the plan in {} differs from the one that its weights were trained with",
                plan.name,
                self.run.plan_path().display()
            );
        }
        let mut record = task.wanted(&plan.name, self.facts(&saved), chunking);
        record.mask = task.settings.mask(task.corpus);
        Ok(Some((record, saved)))
    }

    fn measure(
        &self,
        saved: SavedWeights,
        record: &mut RateRecord,
        task: &Task<'_>,
        progress: &mut ProgressCallback<'_>,
    ) -> Result<MeasureOutcome> {
        let tokenizer = of_weights(&saved, task.context)?;
        let (weights, weight_bytes) = saved.recoded(self.code)?;
        if let Facts::Run(facts) = &mut record.facts {
            let each = weight_bytes.as_f64() / self.plan.parameters() as f64;
            facts.network.weight_bytes = Some(weight_bytes);
            facts.network.bytes_per_parameter = Some(each);
            facts.network.tokenizer_bytes = tokenizer.vocabulary_bytes().map(Bytes);
        }
        let predictor = task.settings.device.predictor(&weights, task.settings.precision)?;
        let (predictor, tokenizer) = (predictor.as_ref(), tokenizer.as_ref());
        network::measure(predictor, tokenizer, (self.run, record), task, progress)
    }

    /// A sample's share is the span's.
    fn in_sample(&self, span: Span, measured: Bytes, task: &Task<'_>) -> Bytes {
        // Parts of a mixture that are of one text begin together.
        let of_part = |trained: TrainedOn| {
            let training = open_again(&trained.corpus.name, task.context).ok();
            trained.in_sample_bytes(task.corpus, span, training.as_deref())
        };
        let parts = TrainedOn::of_plan(self.plan).into_iter();
        let bytes = parts.map(of_part).max().unwrap_or_default();
        let share = bytes.as_f64() / (span.end - span.start).max(1) as f64;
        Bytes((share * measured.as_f64()).round() as u64)
    }

    fn part(&self, record: &RateRecord, measured: &Measured) -> Option<(Span, Measured)> {
        without_head(record, measured)
    }
}

impl Coded<'_> {
    /// What is known of the run before its weights are recoded.
    fn facts(&self, saved: &SavedWeights) -> Facts {
        let plan = self.plan;
        let network = NetworkFacts {
            tokenization: Some(plan.tokenization.clone()),
            parameters: Some(plan.parameters()),
            bytes_per_parameter: None,
            weight_code: Some(self.code),
            weight_bytes: None,
            tokenizer_bytes: None,
            weights: Some(hex(&saved.identity)),
            arithmetic: Some(ARITHMETIC),
        };
        Facts::Run(RunFacts {
            network,
            size: Some(plan.size),
            recipe: Some(plan.recipe),
            choices: plan.unusual_values(),
            trained_on: Some(plan.corpus.clone()),
            tokens_trained: Some(saved.origin.step * plan.tokens_per_step()),
            seed: Some(plan.seed),
        })
    }
}

/// enwik9 without its first 10^8 bytes (from the next whole chunk on), by the chunks' ideal bits.
fn without_head(record: &RateRecord, measured: &Measured) -> Option<(Span, Measured)> {
    let Chunking::Bytes(chunk) = record.chunking else { return None };
    let excerpt = &record.excerpt;
    // What a mask takes from the rest is not told apart.
    let whole = excerpt.span.start == 0 && measured.sample.is_none() && record.mask.is_none();
    if excerpt.corpus != "enwik9" || !whole {
        return None;
    }
    let first = ENWIK8_BYTES.div_ceil(chunk);
    let chunks = measured.chunks.get(usize::try_from(first).ok()?..)?.to_vec();
    let rest = Measured {
        raw_bytes: Bytes(chunks.iter().map(|chunk| chunk.raw_bytes).sum()),
        ideal_bits: Some(Bits(chunks.iter().map(|chunk| chunk.bits).sum())),
        chunks,
        seconds: measured.seconds,
        ..Measured::default()
    };
    Some((Span { start: first * chunk, ..excerpt.span }, rest))
}

#[cfg(test)]
mod tests {
    use lmtrain_eval::interval::ChunkBits;
    use lmtrain_runs::record::{Excerpt, Mask, Sample};

    use super::*;

    fn record(corpus: &str, end: u64) -> RateRecord {
        let excerpt = Excerpt {
            corpus: corpus.into(),
            corpus_sha256: String::new(),
            medium: None,
            span: Span { start: 0, end },
            sample: None,
        };
        RateRecord::wanted(
            "r",
            Facts::Run(RunFacts::default()),
            excerpt,
            Chunking::Bytes(30_000_000),
        )
    }

    fn measured(lengths: &[u64]) -> Measured {
        let bits = |(index, raw_bytes): (usize, &u64)| ChunkBits {
            bits: index as f64,
            raw_bytes: *raw_bytes,
        };
        let chunks = lengths.iter().enumerate().map(bits).collect();
        Measured { chunks, seconds: 3.0, ..Measured::default() }
    }

    #[test]
    fn enwik9_is_told_without_its_head_from_the_next_whole_chunk_on() {
        let million = 1_000_000;
        let lengths = [30, 30, 30, 30, 30, 7].map(|length| length * million);
        let record = record("enwik9", 157 * million);
        let (span, rest) = without_head(&record, &measured(&lengths)).expect("it has a rest");
        assert_eq!(span, Span { start: 120 * million, end: 157 * million });
        assert_eq!(rest.raw_bytes, Bytes(37 * million), "the span's bytes");
        assert_eq!(rest.ideal_bits, Some(Bits(4.0 + 5.0)), "the last two chunks'");
        assert_eq!((rest.chunks.len(), rest.coded_bytes, rest.tokens), (2, None, None));
        assert_eq!(rest.counts().chunks, 2);
    }

    #[test]
    fn nothing_else_has_a_head() {
        let lengths = [30_000_000; 5];
        let whole = record("enwik9", 150_000_000);
        assert!(without_head(&whole, &measured(&lengths)).is_some());
        assert!(without_head(&record("enwik8", 150_000_000), &measured(&lengths)).is_none());
        let masked = RateRecord { mask: Some(Mask::Cleared), ..whole.clone() };
        assert!(without_head(&masked, &measured(&lengths)).is_none());
        let tokens = RateRecord { chunking: Chunking::Tokens(2048), ..whole.clone() };
        assert!(without_head(&tokens, &measured(&lengths)).is_none());
        let sample = Some(Sample { chunks: 2, of: 5, seed: 0 });
        let sampled = Measured { sample, ..measured(&lengths) };
        assert!(without_head(&whole, &sampled).is_none());
        let mut later = whole;
        later.excerpt.span.start = 1;
        assert!(without_head(&later, &measured(&lengths)).is_none());
    }
}
