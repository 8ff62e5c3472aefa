//! The records of a report: read once, with repeated measurements reduced to the last of each, and with the names that
//! figures and tables use.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use anyhow::Result;
use lmtrain_runs::record::{Chunking, Kind, RunFacts, WeightCode};
use lmtrain_runs::{CurveRecord, Plan, RateRecord, SampleRecord, StepRecord, Store};

use super::gallery;
use super::names;
use super::subject::{Subject, subjects};

/// A run with what it logged.
#[derive(Clone, Debug)]
pub(crate) struct RunData {
    /// Its plan.
    pub(crate) plan: Plan,
    /// Its steps, in order.
    pub(crate) steps: Vec<StepRecord>,
    /// What tells it from the other runs.
    pub(crate) label: String,
}

impl RunData {
    /// Whether it made all its steps.
    pub(crate) fn is_finished(&self) -> bool {
        self.steps.last().is_some_and(|step| step.step >= self.plan.steps)
    }

    /// The lowest bits per byte in validation: it is that network's weights which are kept.
    pub(crate) fn lowest_validation(&self) -> Option<f64> {
        self.steps.iter().filter_map(|step| step.validation_bits_per_byte).reduce(f64::min)
    }
}

/// A rate of a compressor, run or pretrained model on a subject.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    /// What was compressed: index into [`Records::subjects`].
    pub(crate) subject: usize,
    /// What was counted.
    pub(crate) record: RateRecord,
}

impl Measurement {
    /// Whether the weights, if there are any, were measured as the run saved them.
    #[must_use]
    pub(crate) fn is_as_saved(&self) -> bool {
        let saved = self.record.facts.run().map_or(WeightCode::F16, RunFacts::saved_code);
        self.code() == saved
    }

    /// What the weights were stored in.
    #[must_use]
    pub(crate) fn code(&self) -> WeightCode {
        self.record.weight_code().unwrap_or(WeightCode::F16)
    }
}

/// Everything that a report shows.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    /// Runs, by size and then by name.
    pub(crate) runs: Vec<RunData>,
    /// What was compressed, in the order of the columns.
    pub(crate) subjects: Vec<Subject>,
    /// Every rate there is, the last of each measurement, in the order of the rows.
    pub(crate) rates: Vec<Measurement>,
    /// Of these, one for each compressor, chunking and subject: that of the most chunks. Of weights
    /// in several codes only as they were saved.
    pub(crate) compared: Vec<Measurement>,
    /// Rates against context, the last of each, by medium and corpus.
    pub(crate) curves: Vec<CurveRecord>,
    /// What was generated, in the order in which it is shown.
    pub(crate) samples: Vec<SampleRecord>,
}

impl Records {
    /// Reads the records of a store.
    ///
    /// # Errors
    /// If a file is damaged or cannot be read.
    pub(crate) fn read(store: &Store) -> Result<Self> {
        let mut runs = Vec::new();
        for run in store.runs()? {
            if let Some(plan) = run.plan()? {
                runs.push((plan, run.steps()?));
            }
        }
        let samples = gallery::in_order(store.samples()?);
        let curves = curves_in_order(store.curves()?);
        Ok(Self { samples, curves, ..Self::new(runs, store.rates()?) })
    }

    /// Orders, reduces and names records.
    #[must_use]
    pub(crate) fn new(mut runs: Vec<(Plan, Vec<StepRecord>)>, rates: Vec<RateRecord>) -> Self {
        runs.sort_by(|(one, _), (other, _)| (one.size, &one.name).cmp(&(other.size, &other.name)));
        let plans: Vec<&Plan> = runs.iter().map(|(plan, _)| plan).collect();
        let labels = names::distinguishing(&plans);
        let mut rates = last_of_each(rates);
        rates.sort_by_cached_key(row_order);
        let subjects = subjects(&rates, &plans);
        let place = |record: &RateRecord| {
            subjects.iter().position(|subject| subject.is_of(record)).unwrap_or_default()
        };
        let rates: Vec<Measurement> = rates
            .into_iter()
            .map(|record| Measurement { subject: place(&record), record })
            .collect();
        let compared = most_complete(&rates);
        let runs = runs
            .into_iter()
            .zip(labels)
            .map(|((plan, steps), label)| RunData { plan, steps, label })
            .collect();
        Self { runs, subjects, rates, compared, curves: Vec::new(), samples: Vec::new() }
    }

    /// Whether nothing was measured yet.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.rates.is_empty()
            && self.samples.is_empty()
            && self.curves.is_empty()
            && self.runs.iter().all(|run| run.steps.is_empty())
    }

    /// What runs were trained on, in few letters.
    #[must_use]
    pub(crate) fn trained_on(&self, corpus: &str) -> String {
        let plans: Vec<&Plan> = self.runs.iter().map(|run| &run.plan).collect();
        names::trained_on(corpus, &plans)
    }

    /// A record's name in a figure: of a run what tells it from the others, of a compressor its
    /// name and preset.
    #[must_use]
    pub(crate) fn short_name(&self, record: &RateRecord) -> String {
        let run = self.runs.iter().find(|run| run.plan.name == record.name);
        match run {
            Some(run) if record.kind() == Kind::Run => names::masked(&run.label, record),
            _ => names::with_preset(record),
        }
    }
}

/// The last curve of each thing on each subject, in an order that does not depend on when they were measured.
fn curves_in_order(curves: Vec<CurveRecord>) -> Vec<CurveRecord> {
    let key = |it: &CurveRecord| {
        let excerpt = &it.excerpt;
        let text = (excerpt.corpus.clone(), excerpt.corpus_sha256.clone());
        ((excerpt.medium, text, excerpt.span, it.chunk_bytes), it.kind(), it.name.clone())
    };
    let last: BTreeMap<_, CurveRecord> =
        curves.into_iter().map(|curve| (key(&curve), curve)).collect();
    last.into_values().collect()
}

/// Of records that measure the same the later counts, even if the run has since been trained on.
fn last_of_each(rates: Vec<RateRecord>) -> Vec<RateRecord> {
    let mut last = BTreeMap::new();
    for record in rates {
        if record.raw_rate().is_some() {
            last.insert(record.identity(), record);
        }
    }
    last.into_values().collect()
}

/// Compressors before runs before pretrained models, the whole before chunks, small before large.
fn row_order(record: &RateRecord) -> impl Ord + use<> {
    let kind = match record.kind() {
        Kind::Compressor => 0,
        Kind::Run => 1,
        Kind::Pretrained => 2,
    };
    let chunking = match record.chunking {
        Chunking::Whole => (0, 0, 0),
        Chunking::Bytes(bytes) => (1, bytes, 0),
        Chunking::Tokens(tokens) => (2, tokens, 0),
        Chunking::Strided { window, stride } => (3, window, stride),
    };
    let size = record.size().map(|size| size.core_parameters());
    (kind, chunking, size, record.parameters(), record.name.clone(), record.identity())
}

fn most_complete(rates: &[Measurement]) -> Vec<Measurement> {
    let mut kept: Vec<Measurement> = Vec::new();
    let as_saved = |measurement: &&Measurement| measurement.is_as_saved();
    for measurement in rates.iter().filter(as_saved) {
        let same = |other: &&mut Measurement| {
            other.subject == measurement.subject
                && other.record.method() == measurement.record.method()
        };
        let complete = |measurement: &Measurement| {
            Reverse((
                measurement.record.excerpt.sample.is_some(),
                Reverse(measurement.record.counts.chunks),
            ))
        };
        match kept.iter_mut().find(same) {
            Some(other) if complete(measurement) > complete(other) => *other = measurement.clone(),
            Some(_) => {}
            None => kept.push(measurement.clone()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use lmtrain_runs::record::Sample;
    use lmtrain_runs::{Bits, Bytes};

    #[test]
    fn the_last_of_a_measurement_counts() {
        let early = samples::rate("200K", "enwik8", 0.30);
        let mut late = samples::rate("200K", "enwik8", 0.25);
        samples::run_facts(&mut late).network.weights = Some("later".into());
        let records = Records::new(Vec::new(), vec![early, late]);
        assert_eq!(records.rates.len(), 1);
        assert_eq!(records.rates[0].record.weights(), Some("later"));
    }

    #[test]
    fn what_was_masked_stands_beside_what_was_not() {
        let whole = samples::pretrained("gpt2", "enwik8", 124_000_000, 0.30);
        let mut masked = whole.clone();
        masked.counts.lost_bits = Some(Bits(0.0));
        for rates in [vec![whole.clone(), masked.clone()], vec![masked, whole]] {
            let records = Records::new(Vec::new(), rates);
            assert_eq!((records.rates.len(), records.compared.len()), (2, 2));
            let names = records.compared.iter().map(|it| records.short_name(&it.record));
            assert_eq!(names.collect::<Vec<_>>(), ["gpt2", "gpt2, bits cleared"]);
        }
    }

    #[test]
    fn a_full_measurement_is_shown_before_a_sample() {
        let full = samples::rate("200K", "enwik8", 0.30);
        let mut sampled = samples::rate("200K", "enwik8", 0.25);
        sampled.excerpt.sample = Some(Sample { chunks: 10, of: 100, seed: 0 });
        sampled.counts.raw_bytes = Bytes(20_480);
        for rates in [vec![full.clone(), sampled.clone()], vec![sampled, full]] {
            let records = Records::new(Vec::new(), rates);
            assert_eq!((records.rates.len(), records.compared.len()), (2, 1));
            assert!(records.compared[0].record.excerpt.sample.is_none());
        }
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        let mut record = samples::rate("200K", "enwik8", 0.30);
        record.counts.ideal_bits = None;
        record.counts.coded_bytes = None;
        assert!(Records::new(Vec::new(), vec![record]).is_empty());
    }
}
