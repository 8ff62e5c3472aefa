//! The rate against context, measured in addition to rates: `eval --curve`.

use anyhow::Result;
use lmtrain_eval::measure::{Curve, MeasureProgress, PrefixMeasurement};
use lmtrain_runs::record::{Chunking, RateRecord};
use lmtrain_runs::{Bytes, CurveRecord, Run};

use super::compressor::Cut;
use super::compressor::facts;
use super::settings::length_of;
use super::subject::{Subject, Task};
use super::watching::tell;
use crate::progress::ShownProgress;

/// Seed of the intervals.
const SEED: u64 = 0;

/// Whether a curve of what a rate is of is there.
pub(super) fn is_recorded(run: &Run, rate: &RateRecord) -> Result<bool> {
    let Some(wanted) = CurveRecord::beside(rate) else { return Ok(true) };
    Ok(run.curves()?.iter().any(|curve| curve.is_as(&wanted)))
}

/// Keeps a network's curve beside its rate.
pub(super) fn keep(run: &Run, rate: &RateRecord, curve: Option<Curve>) -> Result<()> {
    let Some((curve, blank)) = curve.zip(CurveRecord::beside(rate)) else { return Ok(()) };
    let points = curve.points(Bytes(0), SEED);
    let provenance = rate.provenance.clone();
    Ok(run.append_curve(&CurveRecord { points, provenance, ..blank })?)
}

/// Measures a compressor's, unless it is recorded.
pub(in crate::commands) fn of_compressor(cut: &Cut, task: &Task<'_>) -> Result<()> {
    let Task { corpus, settings, context } = *task;
    let (compressor, chunk) = (cut.compressor, length_of(settings.chunk));
    let rate = task.wanted(compressor.name, facts(compressor), Chunking::Bytes(chunk));
    let store = cut.store(context);
    if context.is_stopping() || (!settings.again && is_recorded(&store, &rate)?) {
        return Ok(());
    }
    let span = rate.excerpt.span;
    let measurement = PrefixMeasurement {
        compressor,
        corpus: corpus.bytes(),
        span: span.start..span.end,
        medium: corpus.medium(),
        chunk,
        sample: settings.sample,
    };
    let label = format!("{} (prefixes of chunks) on {}", compressor.name, corpus.name());
    let mut shown = ShownProgress::new(label, context.quiet);
    let mut progress = |progress: MeasureProgress| tell(&mut shown, progress, context);
    let Some((curve, header_bytes)) = measurement.run(&mut progress)? else { return Ok(()) };
    corpus.check_length()?;
    let Some(blank) = CurveRecord::beside(&rate) else { return Ok(()) };
    let points = curve.points(header_bytes, SEED);
    let provenance = context.provenance("cpu");
    Ok(store.append_curve(&CurveRecord { header_bytes, points, provenance, ..blank })?)
}
