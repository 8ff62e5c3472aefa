//! The effect of a vocabulary on length and time: bytes per token on each corpus, and seconds per byte of training and
//! of evaluating.

use lmtrain_runs::record::Kind;
use lmtrain_runs::{RateRecord, Tokenization};

use crate::report::records::{Measurement, Records};
use crate::report::table::{Cell, Filled, Table};

/// A column and what a rate has in it. To add a column, add a row.
const COLUMNS: &[Filled<Records, Measurement>] = &[
    ("tokenization", false, |_, row| {
        Cell::text(row.record.tokenization().map(ToString::to_string).unwrap_or_default())
    }),
    ("vocabulary", true, |_, row| {
        let tokens = row.record.tokenization().map(Tokenization::vocabulary);
        Cell::count(tokens.map(|tokens| tokens as u64))
    }),
    ("tokenizer bytes", true, |_, row| {
        Cell::count(row.record.tokenizer_bytes().map(|bytes| bytes.0))
    }),
    ("size", true, |_, row| {
        let size = row.record.size();
        let text = size.map(|size| size.to_string()).unwrap_or_default();
        Cell::number(size.map(|size| size.core_parameters() as f64), |_| text.clone())
    }),
    ("corpus", false, |records, row| Cell::text(&records.subjects[row.subject].label)),
    ("bytes/token", true, |_, row| {
        Cell::number(bytes_per_token(&row.record), |bytes| format!("{bytes:.3}"))
    }),
    ("training, µs/byte", true, |records, row| microseconds(training(records, &row.record))),
    ("evaluating, µs/byte", true, |_, row| microseconds(evaluating(&row.record))),
    ("how", false, |_, row| {
        let coded = if row.record.counts.coded_bytes.is_some() { "coded" } else { "ideal bits" };
        Cell::text(format!("{coded}, {}", row.record.provenance.device))
    }),
];

const CAPTION: &str = "A larger vocabulary puts more bytes into a token, and so into a context and into a \
    training step. Training time per byte is that of the whole run, including validation; evaluating time \
    per byte is that of the measurement, including the coder if it ran. Times depend on the machine and \
    device.";

/// The table; absent unless some run has another tokenization than bytes.
pub(super) fn table(records: &Records) -> Option<Table> {
    let mut measurements: Vec<&Measurement> = records
        .compared
        .iter()
        .filter(|measurement| measurement.record.kind() == Kind::Run)
        .collect();
    let is_other = |measurement: &&Measurement| {
        measurement.record.tokenization().is_some_and(|it| *it != Tokenization::Bytes)
    };
    if !measurements.iter().any(is_other) {
        return None;
    }
    measurements.sort_by(|one, other| {
        let key = |measurement: &Measurement| {
            (measurement.record.tokenization().cloned(), measurement.record.size())
        };
        key(one).cmp(&key(other)).then(one.subject.cmp(&other.subject))
    });
    let table = Table::filled(COLUMNS, records, measurements);
    Some(Table { caption: CAPTION.to_owned(), ..table })
}

fn bytes_per_token(record: &RateRecord) -> Option<f64> {
    let tokens = record.counts.tokens.filter(|tokens| *tokens > 0)?;
    Some(record.counts.raw_bytes.as_f64() / tokens as f64)
}

/// Seconds a byte of the run's training.
fn training(records: &Records, record: &RateRecord) -> Option<f64> {
    let run = records.runs.iter().find(|run| run.plan.name == record.name)?;
    let last = run.steps.last().filter(|step| step.raw_bytes.0 > 0)?;
    Some(last.seconds / last.raw_bytes.as_f64())
}

/// Seconds a byte of a measurement.
fn evaluating(record: &RateRecord) -> Option<f64> {
    (record.counts.raw_bytes.0 > 0)
        .then(|| record.counts.seconds / record.counts.raw_bytes.as_f64())
}

fn microseconds(seconds: Option<f64>) -> Cell {
    Cell::number(seconds.map(|seconds| 1e6 * seconds), |value| format!("{value:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn times_are_shared_by_bytes() {
        let bytes = samples::rate("200K", "enwik8", 0.25);
        assert!(table(&Records::new(Vec::new(), vec![bytes.clone()])).is_none(), "bytes alone");
        let mut bpe = samples::rate("200K", "enwik8", 0.22);
        bpe.name = "bpe".into();
        samples::run_facts(&mut bpe).network.tokenization = Some(Tokenization::Bpe(5000));
        bpe.counts.tokens = Some(30_000_000);
        let plan = samples::plan("200K", 0);
        let steps = samples::steps(&plan, 2.0);
        let records = Records::new(vec![(plan, steps)], vec![bpe, bytes]);
        let table = table(&records).expect("a vocabulary");
        let rows = &table.groups[0].rows;
        assert_eq!((rows[0][5].text.as_str(), rows[1][5].text.as_str()), ("1.000", "3.333"));
        // The samples train 11,500 bytes a second, and evaluate 10^8 in 812.3.
        assert_eq!((rows[0][6].text.as_str(), rows[0][7].text.as_str()), ("86.96", "8.12"));
        assert_eq!(rows[1][6].value, None, "no such run");
    }
}
