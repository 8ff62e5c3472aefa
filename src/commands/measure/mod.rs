//! Measuring: the one path from a subject (a compressor, a run, a pretrained model) and a corpus to records.
//! Measurements that are recorded are not repeated, and interrupted ones are continued. To measure another kind of
//! thing, add a file with its [`Subject`].

mod compressor;
mod curve;
mod model;
mod network;
mod run;
mod settings;
mod share;
mod subject;
mod watching;

use anyhow::Result;
use lmtrain_eval::measure::{MeasureOutcome, MeasureProgress, Measured};
use lmtrain_runs::Run;
use lmtrain_runs::record::{Kind, RateRecord};
use lmtrain_runs::sweep::Shard;

use crate::progress::ShownProgress;

pub(super) use compressor::Cut;
pub(super) use curve::of_compressor as curve_of;
pub(super) use run::Coded;
pub(super) use settings::Settings;
pub(super) use share::Unmeasured;
use subject::Subject;
pub(super) use subject::Task;
use watching::{giving_back, tell};

/// What came of measurements.
#[derive(Default)]
pub(super) struct Results {
    /// A record of each, and of the parts that have one of their own.
    pub(super) records: Vec<RateRecord>,
    /// Those of which other shares are missing.
    pub(super) unmeasured: Vec<Unmeasured>,
}

impl Results {
    pub(super) fn add(&mut self, more: Self) {
        self.records.extend(more.records);
        self.unmeasured.extend(more.unmeasured);
    }

    fn of(records: Vec<RateRecord>) -> Self {
        Self { records, ..Self::default() }
    }
}

/// Measures a subject on a corpus: gives its record, and that of a part that has one of its own; or that other shares
/// are missing. Nothing if it was stopped, or cannot be measured so.
pub(super) fn rates<S: Subject>(subject: &S, task: &Task<'_>) -> Result<Results> {
    let Task { corpus, settings, context } = *task;
    if context.is_stopping() {
        return Ok(Results::default());
    }
    let Some((mut record, identified)) = subject.identify(task)? else {
        return Ok(Results::default());
    };
    let store = subject.store(context);
    if let Some(found) = recorded(&store, &record, settings)? {
        return Ok(Results::of(vec![found]));
    }
    subject.announce(&record, context);
    let wanted = record.clone();
    let mut shown = ShownProgress::new(label(subject, &wanted, task), context.quiet);
    let mut give_back = giving_back(corpus, record.excerpt.span, settings.sample);
    let mut progress = |progress: MeasureProgress| {
        give_back(progress.position);
        tell(&mut shown, progress, context)
    };
    let outcome = subject.measure(identified, &mut record, task, &mut progress)?;
    drop(shown);
    match outcome {
        MeasureOutcome::Finished(measured) => {
            Ok(Results::of(kept(subject, task, (&wanted, record), measured)?))
        }
        MeasureOutcome::Stopped => Ok(Results::default()),
        MeasureOutcome::Partial { missing, of, shares } => {
            let names = [&record.name[..], corpus.name()];
            let open = Unmeasured::new(names, settings.share, [missing, of], &shares);
            context.say(&open.message(&subject.label()));
            Ok(Results { unmeasured: vec![open], ..Results::default() })
        }
    }
}

/// What is said while a subject is measured.
fn label<S: Subject>(subject: &S, record: &RateRecord, task: &Task<'_>) -> String {
    let label = format!("{} on {}", subject.label(), task.corpus.name());
    match task.settings.share {
        share if share != Shard::WHOLE && record.kind() != Kind::Compressor => {
            format!("{label}, share {share}")
        }
        _ => label,
    }
}

/// Records what was measured of `record`, unless another process has recorded what was wanted meanwhile.
fn kept<S: Subject>(
    subject: &S,
    task: &Task<'_>,
    (wanted, record): (&RateRecord, RateRecord),
    mut measured: Measured,
) -> Result<Vec<RateRecord>> {
    let Task { corpus, settings, context } = *task;
    subject.remark(&measured, context);
    let store = subject.store(context);
    let curve = measured.curve.take();
    let part = subject.part(&record, &measured);
    let record = finished(record, &measured, subject, task);
    let part = part.map(|(span, measured)| {
        let mut part = record.clone();
        part.excerpt.span = span;
        finished(part, &measured, subject, task)
    });
    corpus.check_length()?;
    let is_there = |other: &RateRecord| !settings.again && stands_for(other, wanted, settings);
    let there = store.append_rate_unless(&record, is_there)?;
    if there.is_none() || !curve::is_recorded(&store, &record)? {
        curve::keep(&store, &record, curve)?;
    }
    if let Some(there) = there {
        return Ok(vec![there]);
    }
    if let Some(part) = &part {
        store.append_rate(part)?;
    }
    Ok(std::iter::once(record).chain(part).collect())
}

/// A record with what was measured.
fn finished<S: Subject>(
    mut record: RateRecord,
    measured: &Measured,
    subject: &S,
    task: &Task<'_>,
) -> RateRecord {
    record.excerpt.sample = measured.sample;
    record.counts = measured.counts();
    record.in_sample_bytes = subject.in_sample(record.excerpt.span, measured.raw_bytes, task);
    record.provenance = task.context.provenance(&subject.computed_on(task.settings));
    record
}

/// The record of the same measurement, if there is one and it may be used.
fn recorded(store: &Run, wanted: &RateRecord, settings: &Settings) -> Result<Option<RateRecord>> {
    let of_network = wanted.kind() != Kind::Compressor;
    if settings.again || (settings.curve && of_network && !curve::is_recorded(store, wanted)?) {
        return Ok(None);
    }
    Ok(store.rates()?.into_iter().rfind(|other| stands_for(other, wanted, settings)))
}

/// Whether a record may be used in place of a measurement.
fn stands_for(record: &RateRecord, wanted: &RateRecord, settings: &Settings) -> bool {
    let coarser = settings.precision.is_f32() && record.provenance.device.ends_with("bf16");
    let coded = record.counts.coded_bytes.is_some() || !settings.coding;
    record.stands_for(wanted) && !coarser && coded
}
