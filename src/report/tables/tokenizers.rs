//! What a vocabulary does to length and time: bytes per token on each corpus, and seconds per byte
//! of training and of evaluating.

use lmtrain_runs::record::Kind;
use lmtrain_runs::{Bytes, RateRecord, Tokenization};

use super::{Cell, Column, Filled, Group, Table};
use crate::report::data::{Data, Entry};
use crate::report::format;

/// A column and what a rate has in it. To add a column, add a row.
const COLUMNS: &[Filled<Entry>] = &[
    ("tokenization", false, |_, entry| {
        Cell::text(entry.record.tokenization.as_ref().map(ToString::to_string).unwrap_or_default())
    }),
    ("vocabulary", true, |_, entry| {
        let tokens = entry.record.tokenization.as_ref().map(Tokenization::vocabulary);
        Cell::number(tokens.map(|tokens| tokens as f64), format::grouped)
    }),
    ("tokenizer bytes", true, |_, entry| {
        Cell::number(entry.record.tokenizer_bytes.map(Bytes::as_f64), format::grouped)
    }),
    ("size", true, |_, entry| {
        let size = entry.record.size;
        let text = size.map(|size| size.to_string()).unwrap_or_default();
        Cell::number(size.map(|size| size.core_parameters() as f64), |_| text.clone())
    }),
    ("corpus", false, |data, entry| Cell::text(&data.subjects[entry.subject].label)),
    ("bytes/token", true, |_, entry| {
        Cell::number(bytes_per_token(&entry.record), |bytes| format!("{bytes:.3}"))
    }),
    ("training, µs/byte", true, |data, entry| microseconds(training(data, &entry.record))),
    ("evaluating, µs/byte", true, |_, entry| microseconds(evaluating(&entry.record))),
    ("how", false, |_, entry| {
        let coded = if entry.record.coded_bytes.is_some() { "coded" } else { "ideal bits" };
        Cell::text(format!("{coded}, {}", entry.record.provenance.device))
    }),
];

/// The table; absent unless some run has another tokenization than bytes.
pub(crate) fn table(data: &Data) -> Option<Table> {
    let mut entries: Vec<&Entry> =
        data.entries.iter().filter(|entry| entry.record.kind == Kind::Run).collect();
    let is_other = |entry: &&Entry| {
        entry.record.tokenization.as_ref().is_some_and(|it| *it != Tokenization::Bytes)
    };
    if !entries.iter().any(is_other) {
        return None;
    }
    entries.sort_by(|one, other| {
        let key = |entry: &Entry| (entry.record.tokenization.clone(), entry.record.size);
        key(one).cmp(&key(other)).then(one.subject.cmp(&other.subject))
    });
    let column = |&(head, number, _): &(&str, bool, _)| match number {
        true => Column::number(head),
        false => Column::text(head),
    };
    let row = |entry: &&Entry| COLUMNS.iter().map(|(_, _, cell)| cell(data, entry)).collect();
    Some(Table {
        caption: "A larger vocabulary packs more bytes into a token, and so into a context and into \
                  a step's arithmetic. Training time is a byte's share of the whole run, validation \
                  included; evaluating time that of the measurement, the coder included where it \
                  ran. Times are of this machine and device."
            .to_owned(),
        columns: COLUMNS.iter().map(column).collect(),
        groups: vec![Group { rows: entries.iter().map(row).collect(), ..Group::default() }],
    })
}

fn bytes_per_token(record: &RateRecord) -> Option<f64> {
    let tokens = record.tokens.filter(|tokens| *tokens > 0)?;
    Some(record.raw_bytes.as_f64() / tokens as f64)
}

/// Seconds a byte of the run's training.
fn training(data: &Data, record: &RateRecord) -> Option<f64> {
    let run = data.runs.iter().find(|run| run.plan.name == record.name)?;
    let last = run.steps.last().filter(|step| step.raw_bytes.0 > 0)?;
    Some(last.seconds / last.raw_bytes.as_f64())
}

/// Seconds a byte of a measurement.
fn evaluating(record: &RateRecord) -> Option<f64> {
    (record.raw_bytes.0 > 0).then(|| record.seconds / record.raw_bytes.as_f64())
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
        assert!(table(&Data::new(Vec::new(), vec![bytes.clone()])).is_none(), "bytes alone");
        let mut bpe = samples::rate("200K", "enwik8", 0.22);
        bpe.name = "bpe".into();
        bpe.tokenization = Some(Tokenization::Bpe(5000));
        bpe.tokens = Some(30_000_000);
        let plan = samples::plan("200K", 0);
        let steps = samples::steps(&plan, 2.0);
        let data = Data::new(vec![(plan, steps)], vec![bpe, bytes]);
        let table = table(&data).expect("a vocabulary");
        let rows = &table.groups[0].rows;
        assert_eq!((rows[0][5].text.as_str(), rows[1][5].text.as_str()), ("1.000", "3.333"));
        // The samples train 11,500 bytes a second, and evaluate 10^8 in 812.3.
        assert_eq!((rows[0][6].text.as_str(), rows[0][7].text.as_str()), ("86.96", "8.12"));
        assert_eq!(rows[1][6].value, None, "no such run");
    }
}
