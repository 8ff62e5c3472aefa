//! Levels: the rates of classical compressors on a corpus, which do not depend on a model's size.

use lmtrain_runs::RateRecord;
use lmtrain_runs::record::Kind;

use crate::report::records::{Measurement, Records};

/// The rate of a compressor on a corpus.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    /// Index into the records' subjects.
    pub(crate) subject: usize,
    /// In percent.
    pub(crate) rate: f64,
    /// The measurement.
    pub(crate) record: RateRecord,
}

/// Compressors that figures draw lines of: the paper's. Tables and CSV have all.
pub(crate) const DRAWN: [&str; 4] = ["gzip", "lzma2", "png", "flac"];

/// Levels of the paper's classical compressors on these subjects.
#[must_use]
pub(crate) fn levels(records: &Records, subjects: &[usize]) -> Vec<Level> {
    let is_wanted = |measurement: &&Measurement| {
        measurement.record.kind() == Kind::Compressor
            && DRAWN.contains(&measurement.record.name.as_str())
            && subjects.contains(&measurement.subject)
    };
    let level = |Measurement { subject, record }: &Measurement| {
        let rate = 100.0 * record.raw_rate()?;
        Some(Level { subject: *subject, rate, record: record.clone() })
    };
    records.compared.iter().filter(is_wanted).filter_map(level).collect()
}
