//! The samples that were drawn.

use lmtrain_runs::SampleRecord;

/// A sample, and where its first byte came from.
pub(super) struct Drawn {
    pub(super) record: SampleRecord,
    pub(super) first_byte: Option<Vec<f64>>,
}
