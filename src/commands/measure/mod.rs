//! Measuring: the one way from a subject (a compressor, a run, a pretrained model) and a corpus to records. What is
//! recorded is not measured again, and what was begun is gone on with. To measure another kind of thing, add a file
//! with its [`Subject`].

mod compressor;
mod curve;
mod model;
mod network;
mod run;
mod settings;

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Result;
use lmtrain_corpora::Corpus;
use lmtrain_eval::measure::{Draw, Measured, Outcome, Progress, ProgressCallback};
use lmtrain_runs::record::{Chunking, Facts, Kind, RateRecord};
use lmtrain_runs::{Bytes, Run, Span};

use crate::context::Context;
use crate::progress::Progress as Shown;

pub(super) use compressor::Cut;
pub(super) use curve::of_compressor as curve_of;
pub(super) use run::Coded;
pub(super) use settings::{Settings, length_of};

/// Bytes of a corpus whose memory is given back together.
const GIVEN_BACK_AT_ONCE: u64 = 16 << 20;

/// What can be measured.
pub(super) trait Subject {
    /// What tells which weights or which library it is, as it was read.
    type Identified;

    /// What is said of it while it is measured.
    fn label(&self) -> String;

    /// Where its records are kept.
    fn store(&self, context: &Context) -> Run;

    /// The record that is wanted, with all that decides whether it is there already; nothing if it cannot be measured
    /// so, which is said.
    fn identify(&self, task: &Task<'_>) -> Result<Option<(RateRecord, Self::Identified)>>;

    /// Opens it and measures it; what is known only then goes into the record's facts.
    fn measure(
        &self,
        identified: Self::Identified,
        record: &mut RateRecord,
        task: &Task<'_>,
        progress: &mut ProgressCallback<'_>,
    ) -> Result<Outcome>;

    /// Said before it is measured.
    fn announce(&self, _record: &RateRecord, _context: &Context) {}

    /// Said once it is.
    fn remark(&self, _measured: &Measured, _context: &Context) {}

    /// What computes it, as records name it.
    fn computed_on(&self, settings: &Settings) -> String {
        settings.computing_on()
    }

    /// Of so many bytes of a span, those that it was trained on, as far as is known.
    fn in_sample(&self, _span: Span, _measured: Bytes, _task: &Task<'_>) -> Bytes {
        Bytes(0)
    }

    /// Of what was measured, a part that has a record of its own.
    fn part(&self, _record: &RateRecord, _measured: &Measured) -> Option<(Span, Measured)> {
        None
    }
}

/// What a subject is measured on, and how.
pub(super) struct Task<'a> {
    pub(super) corpus: &'a Corpus,
    pub(super) settings: &'a Settings,
    pub(super) context: &'a Context,
}

impl Task<'_> {
    /// The bytes to measure.
    fn span(&self) -> Span {
        self.settings.span_of(self.corpus)
    }

    /// The record of this task, with nothing measured yet.
    fn wanted(&self, name: &str, facts: Facts, chunking: Chunking) -> RateRecord {
        let span = self.span();
        let drawn = self.settings.sample.filter(|_| chunking != Chunking::Whole);
        let sample = drawn.and_then(|draw| draw.of(span, length_of(chunking)));
        let excerpt = self.corpus.excerpt(span, sample);
        RateRecord::wanted(name, facts, excerpt, chunking)
    }

    /// Where the values of chunks are kept; measuring again starts from nothing.
    fn journal(&self, store: &Run, fingerprint: &str) -> Result<PathBuf> {
        let journal = store.chunks_path(&format!("{fingerprint}.jsonl"));
        if self.settings.again && journal.exists() {
            std::fs::remove_file(&journal)?;
        }
        Ok(journal)
    }
}

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
    let mut shown = Shown::new(format!("{} on {}", subject.label(), corpus.name()), context.quiet);
    let mut give_back = giving_back(corpus, record.excerpt.span, settings.sample);
    let mut progress = |progress: Progress| {
        give_back(progress.raw_bytes_done);
        tell(&mut shown, progress, context)
    };
    let outcome = subject.measure(identified, &mut record, task, &mut progress)?;
    drop(shown);
    let Outcome::Finished(mut measured) = outcome else { return Ok(Vec::new()) };
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

/// Gives back the memory of a corpus's bytes that are done with, so many of the span; of chunks that are drawn from
/// all over it nothing is.
fn giving_back(corpus: &Corpus, span: Span, sample: Option<Draw>) -> impl FnMut(u64) + '_ {
    let mut given_back = span.start;
    move |done| {
        let end = span.start + done;
        if sample.is_none() && end >= given_back + GIVEN_BACK_AT_ONCE {
            corpus.release(Span { start: given_back, end });
            given_back = end;
        }
    }
}

/// Shows how far a measurement is, and whether to go on.
fn tell(shown: &mut Shown, progress: Progress, context: &Context) -> ControlFlow<()> {
    let rate = if progress.raw_bytes_done > 0 {
        format!("{:.4} bits/byte", progress.bits / progress.raw_bytes_done as f64)
    } else {
        String::new()
    };
    shown.update(progress.raw_bytes_done, Some(progress.raw_bytes), &rate);
    if context.is_stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
