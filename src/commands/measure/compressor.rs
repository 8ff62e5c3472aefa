//! A compressor as a subject: whole, or in chunks of bytes.

use anyhow::Result;
use lmtrain_eval::compressors::Compressor;
use lmtrain_eval::measure::{CompressorMeasurement, MeasureOutcome, ProgressCallback};
use lmtrain_runs::record::{Chunking, CompressorFacts, Facts, RateRecord};
use lmtrain_runs::{Bytes, Run};

use super::settings::Settings;
use super::subject::{Subject, Task};
use crate::context::Context;

/// A compressor, and how what it is given is cut.
pub(in crate::commands) struct Cut {
    pub(in crate::commands) compressor: &'static Compressor,
    pub(in crate::commands) chunking: Chunking,
}

/// What is known of a compressor.
pub(super) fn facts(compressor: &Compressor) -> Facts {
    let (preset, library) = (Some(compressor.preset.to_owned()), Some(compressor.library()));
    Facts::Compressor(CompressorFacts { preset, library })
}

impl Subject for Cut {
    type Identified = ();

    fn label(&self) -> String {
        format!("{} ({})", self.compressor.name, self.chunking)
    }

    fn store(&self, context: &Context) -> Run {
        context.store.compressors()
    }

    fn identify(&self, task: &Task<'_>) -> Result<Option<(RateRecord, ())>> {
        let facts = facts(self.compressor);
        let mut record = task.wanted(self.compressor.name, facts, self.chunking);
        record.counts.header_bytes = Bytes(self.compressor.header_bytes(task.corpus.medium())?);
        Ok(Some((record, ())))
    }

    fn measure(
        &self,
        (): (),
        record: &mut RateRecord,
        task: &Task<'_>,
        progress: &mut ProgressCallback<'_>,
    ) -> Result<MeasureOutcome> {
        let span = record.excerpt.span;
        let measurement = CompressorMeasurement {
            compressor: self.compressor,
            corpus: task.corpus.bytes(),
            corpus_sha256: task.corpus.sha256(),
            medium: task.corpus.medium(),
            span: span.start..span.end,
            chunking: self.chunking,
            sample: task.settings.sample.filter(|_| self.chunking != Chunking::Whole),
        };
        let journal = task.journal(&self.store(task.context), &measurement.fingerprint())?;
        Ok(measurement.run(Some(&journal), progress)?)
    }

    fn computed_on(&self, _settings: &Settings) -> String {
        "cpu".to_owned()
    }
}
