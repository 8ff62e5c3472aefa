//! What can be measured, and on what.

use std::path::PathBuf;

use anyhow::Result;
use lmtrain_corpora::Corpus;
use lmtrain_eval::measure::{MeasureOutcome, Measured, ProgressCallback};
use lmtrain_runs::record::{Chunking, Facts, RateRecord};
use lmtrain_runs::{Bytes, Run, Span};

use super::settings::{Settings, length_of};
use crate::context::Context;

/// What can be measured.
pub(in crate::commands) trait Subject {
    /// What identifies the weights or the library, as it was read.
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
    ) -> Result<MeasureOutcome>;

    /// Said before it is measured.
    fn announce(&self, _record: &RateRecord, _context: &Context) {}

    /// Said once it is.
    fn remark(&self, _measured: &Measured, _context: &Context) {}

    /// What computes it, as records name it.
    fn computed_on(&self, settings: &Settings) -> String {
        settings.computing_on()
    }

    /// How many bytes of a span it was trained on, as far as is known.
    fn in_sample(&self, _span: Span, _measured: Bytes, _task: &Task<'_>) -> Bytes {
        Bytes(0)
    }

    /// A part of the measured data that has its own record.
    fn part(&self, _record: &RateRecord, _measured: &Measured) -> Option<(Span, Measured)> {
        None
    }
}

/// What a subject is measured on, and how.
pub(in crate::commands) struct Task<'a> {
    pub(in crate::commands) corpus: &'a Corpus,
    pub(in crate::commands) settings: &'a Settings,
    pub(in crate::commands) context: &'a Context,
}

impl Task<'_> {
    /// The bytes to measure.
    pub(super) fn span(&self) -> Span {
        self.settings.span_of(self.corpus)
    }

    /// The record of this task, with nothing measured yet.
    pub(super) fn wanted(&self, name: &str, facts: Facts, chunking: Chunking) -> RateRecord {
        let span = self.span();
        let drawn = self.settings.sample.filter(|_| chunking != Chunking::Whole);
        let sample = drawn.and_then(|draw| draw.of(span, length_of(chunking)));
        let excerpt = self.corpus.excerpt(span, sample);
        RateRecord::wanted(name, facts, excerpt, chunking)
    }

    /// Where the values of chunks are kept; measuring again starts from nothing.
    pub(super) fn journal(&self, store: &Run, fingerprint: &str) -> Result<PathBuf> {
        let journal = store.chunks_path(&format!("{fingerprint}.jsonl"));
        if self.settings.again {
            lmtrain_eval::measure::forget(&journal)?;
        }
        Ok(journal)
    }
}
