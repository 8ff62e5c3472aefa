//! Measuring: the one path from a subject (a compressor, a run, a pretrained model) and a corpus to records.
//! Measurements that are recorded are not repeated, and interrupted ones are continued. To measure another kind of
//! thing, add a file with its [`Subject`].

mod compressor;
mod curve;
mod model;
mod network;
mod run;
mod settings;
mod subject;
mod watching;

use anyhow::Result;
use lmtrain_eval::measure::{MeasureOutcome, MeasureProgress, Measured};
use lmtrain_runs::Run;
use lmtrain_runs::record::{Kind, RateRecord};

use crate::progress::ShownProgress;

pub(super) use compressor::Cut;
pub(super) use curve::of_compressor as curve_of;
pub(super) use run::Coded;
pub(super) use settings::Settings;
use subject::Subject;
pub(super) use subject::Task;
use watching::{giving_back, tell};

/// Measures a subject on a corpus: gives its record, and that of a part that has one of its own; none if it was stopped,
/// or cannot be measured so.
pub(super) fn rates<S: Subject>(subject: &S, task: &Task<'_>) -> Result<Vec<RateRecord>> {
    let Task { corpus, settings, context } = *task;
    if context.is_stopping() {
        return Ok(Vec::new());
    }
    let Some((mut record, identified)) = subject.identify(task)? else { return Ok(Vec::new()) };
    let store = subject.store(context);
    if let Some(found) = recorded(&store, &record, settings)? {
        return Ok(vec![found]);
    }
    subject.announce(&record, context);
    let mut shown =
        ShownProgress::new(format!("{} on {}", subject.label(), corpus.name()), context.quiet);
    let mut give_back = giving_back(corpus, record.excerpt.span, settings.sample);
    let mut progress = |progress: MeasureProgress| {
        give_back(progress.raw_bytes_done);
        tell(&mut shown, progress, context)
    };
    let outcome = subject.measure(identified, &mut record, task, &mut progress)?;
    drop(shown);
    let mut measured = match outcome {
        MeasureOutcome::Finished(measured) => measured,
        MeasureOutcome::Stopped => return Ok(Vec::new()),
        MeasureOutcome::Partial { missing, of } => {
            context.say(&format!(
                "{} on {}: share {} is measured; {missing} of {of} groups of chunks are missing, which other shares \
                 measure",
                subject.label(),
                corpus.name(),
                settings.share
            ));
            return Ok(Vec::new());
        }
    };
    subject.remark(&measured, context);
    let curve = measured.curve.take();
    let part = subject.part(&record, &measured);
    let record = finished(record, &measured, subject, task);
    let part = part.map(|(span, measured)| {
        let mut part = record.clone();
        part.excerpt.span = span;
        finished(part, &measured, subject, task)
    });
    corpus.check_length()?;
    store.append_rate(&record)?;
    curve::keep(&store, &record, curve)?;
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
    let same = |other: &RateRecord| {
        let coarser = settings.precision.is_f32() && other.provenance.device.ends_with("bf16");
        let coded = other.counts.coded_bytes.is_some() || !settings.coding;
        other.stands_for(wanted) && !coarser && coded
    };
    Ok(store.rates()?.into_iter().rev().find(same))
}
