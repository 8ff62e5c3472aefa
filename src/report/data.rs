//! The records that a report is about: read once, repeated measurements reduced to the last of
//! each, and named as the figures and tables name them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use anyhow::Result;
use lmtrain_runs::record::{Chunking, Kind, WeightCode};
use lmtrain_runs::{Plan, RateRecord, StepRecord, Store};

use super::law::{self, Study};
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
}

/// The best measurement of one compressor on one subject.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What was compressed: index into [`Data::subjects`].
    pub(crate) subject: usize,
    /// The measurement.
    pub(crate) record: RateRecord,
}

/// Everything that a report shows.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    /// Runs, by size and then by name.
    pub(crate) runs: Vec<RunData>,
    /// What was compressed, in the order of the columns.
    pub(crate) subjects: Vec<Subject>,
    /// Every rate there is, the last of each measurement, in the order of the rows.
    pub(crate) rates: Vec<Entry>,
    /// Of these, one for each compressor, chunking and subject: that of the most chunks. Of weights
    /// in several codes only as they were saved.
    pub(crate) entries: Vec<Entry>,
    studies: OnceLock<Vec<Study>>,
}

impl Data {
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
        Ok(Self::new(runs, store.rates()?))
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
        let rates: Vec<Entry> =
            rates.into_iter().map(|record| Entry { subject: place(&record), record }).collect();
        let entries = most_complete(&rates);
        let runs = runs
            .into_iter()
            .zip(labels)
            .map(|((plan, steps), label)| RunData { plan, steps, label })
            .collect();
        Self { runs, subjects, rates, entries, studies: OnceLock::new() }
    }

    /// Whether nothing was measured yet.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.rates.is_empty() && self.runs.iter().all(|run| run.steps.is_empty())
    }

    /// The scaling laws of the runs, fitted when they are first asked for.
    #[must_use]
    pub(crate) fn studies(&self) -> &[Study] {
        self.studies.get_or_init(|| law::studies(self))
    }

    /// A record's name in a figure: of a run what tells it from the others, of a compressor its
    /// name and preset.
    #[must_use]
    pub(crate) fn short_name(&self, record: &RateRecord) -> String {
        let run = self.runs.iter().find(|run| run.plan.name == record.name);
        match run {
            Some(run) if record.kind == Kind::Run => run.label.clone(),
            _ => names::with_preset(record),
        }
    }
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
    let kind = match record.kind {
        Kind::Compressor => 0,
        Kind::Run => 1,
        Kind::Pretrained => 2,
    };
    let chunking = match record.chunking {
        Chunking::Whole => (0, 0),
        Chunking::Bytes(bytes) => (1, bytes),
        Chunking::Tokens(tokens) => (2, tokens),
    };
    let size = record.size.map(|size| size.core_parameters());
    (kind, chunking, size, record.parameters, record.name.clone(), record.identity())
}

fn most_complete(rates: &[Entry]) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::new();
    let as_saved =
        |entry: &&Entry| matches!(entry.record.weight_code, None | Some(WeightCode::F16));
    for entry in rates.iter().filter(as_saved) {
        let same = |other: &&mut Entry| {
            other.subject == entry.subject && other.record.method() == entry.record.method()
        };
        let complete =
            |entry: &Entry| Reverse((entry.record.sample.is_some(), Reverse(entry.record.chunks)));
        match kept.iter_mut().find(same) {
            Some(other) if complete(entry) > complete(other) => *other = entry.clone(),
            Some(_) => {}
            None => kept.push(entry.clone()),
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
        let late =
            RateRecord { weights: Some("later".into()), ..samples::rate("200K", "enwik8", 0.25) };
        let data = Data::new(Vec::new(), vec![early, late]);
        assert_eq!(data.rates.len(), 1);
        assert_eq!(data.rates[0].record.weights.as_deref(), Some("later"));
    }

    #[test]
    fn what_was_masked_stands_beside_what_was_not() {
        let whole = samples::pretrained("gpt2", "enwik8", 124_000_000, 0.30);
        let masked = RateRecord { lost_bits: Some(Bits(0.0)), ..whole.clone() };
        for rates in [vec![whole.clone(), masked.clone()], vec![masked, whole]] {
            let data = Data::new(Vec::new(), rates);
            assert_eq!((data.rates.len(), data.entries.len()), (2, 2));
            let names = data.entries.iter().map(|entry| data.short_name(&entry.record));
            assert_eq!(names.collect::<Vec<_>>(), ["gpt2", "gpt2, masked"]);
        }
    }

    #[test]
    fn a_full_measurement_is_shown_before_a_sample() {
        let full = samples::rate("200K", "enwik8", 0.30);
        let mut sampled = samples::rate("200K", "enwik8", 0.25);
        sampled.sample = Some(Sample { chunks: 10, of: 100, seed: 0 });
        sampled.raw_bytes = Bytes(20_480);
        for rates in [vec![full.clone(), sampled.clone()], vec![sampled, full]] {
            let data = Data::new(Vec::new(), rates);
            assert_eq!((data.rates.len(), data.entries.len()), (2, 1));
            assert!(data.entries[0].record.sample.is_none());
        }
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        let mut record = samples::rate("200K", "enwik8", 0.30);
        record.ideal_bits = None;
        record.coded_bytes = None;
        assert!(Data::new(Vec::new(), vec![record]).is_empty());
    }
}
