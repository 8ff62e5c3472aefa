//! What runs and pretrained models share: a network measured on a corpus.

use anyhow::Result;
use lmtrain_eval::Predictor;
use lmtrain_eval::measure::{MeasureOutcome, Measurement, ProgressCallback};
use lmtrain_runs::Run;
use lmtrain_runs::record::RateRecord;
use lmtrain_runs::sweep::Shard;
use lmtrain_tokenizers::Tokenizer;

use super::subject::Task;

/// Chunks that are measured between two signs of progress.
const GROUP_CHUNKS: u64 = 64;

/// Measures a network, as a record of it wants it measured.
pub(super) fn measure(
    predictor: &dyn Predictor,
    tokenizer: &dyn Tokenizer,
    (store, record): (&Run, &RateRecord),
    task: &Task<'_>,
    progress: &mut ProgressCallback<'_>,
) -> Result<MeasureOutcome> {
    let span = record.excerpt.span;
    let measurement = Measurement {
        predictor,
        tokenizer,
        corpus: task.corpus.bytes(),
        corpus_sha256: task.corpus.sha256(),
        span: span.start..span.end,
        chunking: record.chunking,
        sample: task.settings.sample,
        mask: record.mask,
        coding: task.settings.coding,
        curve: task.settings.curve,
        group_chunks: GROUP_CHUNKS,
    };
    let journal = task.journal(store, &measurement.fingerprint())?;
    match task.settings.share {
        Shard::WHOLE => Ok(measurement.run(Some(&journal), progress)?),
        share => Ok(measurement.run_share(share, &journal, progress)?),
    }
}
