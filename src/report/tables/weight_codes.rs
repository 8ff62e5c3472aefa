//! Rates of the same weights under several codes.

use super::{Cell, Column, Group, Table};
use crate::report::data::{Data, Entry};
use crate::report::figures::weight_codes::{code, coded};
use crate::report::format;

/// The table; absent before a run was measured under several codes.
pub(crate) fn table(data: &Data) -> Option<Table> {
    let mut columns = vec![Column::text("run"), Column::text("code")];
    let heads = ["weights, bytes", "bits/parameter", "raw %", "adjusted %"];
    columns.extend(heads.map(Column::number));
    let mut groups = Vec::new();
    for (curve, mut entries) in coded(data) {
        entries.sort_by_key(|entry| (entry.record.size, entry.record.name.clone(), code(entry)));
        groups.push(Group {
            head: format!("{}, {}", data.subjects[curve.subject].label, curve.in_sample.name()),
            rows: entries.into_iter().map(row).collect(),
            ..Group::default()
        });
    }
    (!groups.is_empty()).then(|| Table {
        caption:
            "The same weights, stored in several codes, decoded and evaluated. Bytes are those \
                  that the code made, tokenizer not included. Runs are saved in half precision, so \
                  f32 holds the same numbers as f16."
                .to_owned(),
        columns,
        groups,
    })
}

fn row(entry: &Entry) -> Vec<Cell> {
    let record = &entry.record;
    let tokenizer = record.tokenizer_bytes.map_or(0.0, lmtrain_runs::Bytes::as_f64);
    let bytes = record.model_bytes() - tokenizer;
    let bits = record.parameters.map(|count| 8.0 * bytes / count as f64);
    let percent = |rate: Option<f64>| {
        Cell::number(rate.map(|rate| 100.0 * rate), |value| format::percent(value / 100.0))
    };
    vec![
        Cell::text(&record.name),
        Cell::text(code(entry).name()),
        Cell::number(Some(bytes), format::grouped),
        Cell::number(bits, |bits| format!("{bits:.2}")),
        percent(record.raw_rate()),
        percent(record.adjusted_rate()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use lmtrain_runs::Bytes;
    use lmtrain_runs::record::WeightCode;

    #[test]
    fn codes_of_the_same_weights_are_compared_and_alone_are_none() {
        let saved = samples::rate("200K", "enwik8", 0.25);
        assert!(table(&Data::new(Vec::new(), vec![saved.clone()])).is_none(), "one code");
        let coded = samples::coded(&saved, WeightCode::Int8, 1.01, Bytes(231_000));
        let data = Data::new(Vec::new(), vec![coded, saved]);
        assert_eq!(data.entries.len(), 1, "elsewhere only as saved");
        let table = table(&data).expect("two codes");
        let rows = &table.groups[0].rows;
        let texts =
            |row: &[Cell]| row[1..3].iter().map(|cell| cell.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&rows[0]), ["f16", "458,912"]);
        assert_eq!(texts(&rows[1]), ["int8", "231,000"]);
    }
}
