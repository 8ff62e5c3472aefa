//! Two code lengths of the data of a run's first pass: prequential, where each batch is coded before the network learns
//! from it (Blier & Ollivier, arXiv 1802.07044); and two-part, first the weights and then the data coded with them.

use lmtrain_runs::StepRecord;

use crate::report::records::{Measurement, Records, RunData};

/// The two code lengths of a run.
pub(crate) struct CodeLengths<'a> {
    /// The run.
    pub(crate) run: &'a RunData,
    /// Bytes of the first pass.
    pub(crate) bytes: f64,
    /// Bits a byte that it took.
    pub(crate) prequential: f64,
    /// Bits a byte of the same bytes in two parts.
    pub(crate) two_part: Option<f64>,
}

/// Bits and bytes of the first pass over the data: as they stood at the last step still in it.
#[must_use]
pub(crate) fn first_pass(steps: &[StepRecord]) -> Option<(f64, f64)> {
    let last = steps.iter().rev().find(|step| step.prequential_bits.is_some())?;
    (last.raw_bytes.0 > 0).then_some((last.prequential_bits?.0, last.raw_bytes.as_f64()))
}

/// The code lengths of every finished run: one that has just begun has seen only its costliest
/// batches.
#[must_use]
pub(crate) fn code_lengths(records: &Records) -> Vec<CodeLengths<'_>> {
    let finished = records.runs.iter().filter(|run| run.is_finished());
    finished.filter_map(|run| of_run(records, run)).collect()
}

fn of_run<'a>(records: &Records, run: &'a RunData) -> Option<CodeLengths<'a>> {
    let (bits, bytes) = first_pass(&run.steps)?;
    let rate = records.rates.iter().find(|measurement| is_of_training_text(measurement, run));
    let two_part = rate.and_then(|Measurement { record, .. }| {
        Some(record.bits_per_byte()? + 8.0 * record.model_bytes() / bytes)
    });
    Some(CodeLengths { run, bytes, prequential: bits / bytes, two_part })
}

/// Whether a rate is of the run's weights as saved, on text that it was trained on and nothing else.
fn is_of_training_text(measurement: &Measurement, run: &RunData) -> bool {
    let record = &measurement.record;
    record.name == run.plan.name
        && record.excerpt.corpus_sha256 == run.plan.corpus_sha256
        && record.counts.raw_bytes.0 > 0
        && record.in_sample_bytes == record.counts.raw_bytes
        && measurement.is_as_saved()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use lmtrain_runs::{Bytes, RateRecord};

    #[test]
    fn two_parts_are_the_rate_on_training_text_and_the_model() {
        let plan = samples::plan("200K", 0);
        let steps = samples::steps(&plan, 2.0);
        let (_, bytes) = first_pass(&steps).expect("a first pass");
        let mut trained = samples::rate("200K", "enwik8", 0.30);
        trained.excerpt.span.end = 90_000_000;
        trained.counts.raw_bytes = Bytes(90_000_000);
        let held_out = RateRecord { in_sample_bytes: Bytes(0), ..trained.clone() };
        let model = trained.model_bytes();
        let rate = trained.bits_per_byte().expect("measured");
        for (record, expected) in [(trained, Some(rate + 8.0 * model / bytes)), (held_out, None)] {
            let records = Records::new(vec![(plan.clone(), steps.clone())], vec![record]);
            assert_eq!(code_lengths(&records)[0].two_part, expected);
        }
        let begun = Records::new(vec![(plan, steps[..steps.len() / 2].to_vec())], Vec::new());
        assert!(code_lengths(&begun).is_empty());
    }
}
