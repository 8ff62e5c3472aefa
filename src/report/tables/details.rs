//! Every measurement in a row of its own, with its counts, its rates and where it was made: the
//! table to check a number by, and to compute others from.

use lmtrain_runs::record::Kind;
use lmtrain_runs::units::{short_count, short_seconds};
use lmtrain_runs::{Bytes, RateRecord};

use super::{Cell, Column, Filled, Group, Table};
use crate::report::data::{Data, Entry};
use crate::report::format;

/// A column and what a row has in it. To add a column, add a row.
const COLUMNS: &[Filled<Entry>] = &[
    ("corpus", false, |data, entry| Cell::text(&data.subjects[entry.subject].label)),
    ("compressor", false, |_, entry| Cell::text(&entry.record.name)),
    ("preset", false, |_, entry| text(entry.record.preset.as_ref())),
    ("chunks of", false, |_, entry| Cell::text(entry.record.chunking.to_string())),
    ("raw %", true, |_, entry| rate(entry.record.raw_rate())),
    ("raw % from", true, |_, entry| rate(entry.record.raw_rate_interval().map(|ends| ends[0]))),
    ("to", true, |_, entry| rate(entry.record.raw_rate_interval().map(|ends| ends[1]))),
    ("adjusted %", true, |_, entry| rate(entry.record.adjusted_rate())),
    ("adjusted % as stored", true, |_, entry| rate(entry.record.adjusted_rate_as_stored())),
    ("bits/byte", true, |_, entry| {
        Cell::number(entry.record.bits_per_byte(), |bits| format!("{bits:.4}"))
    }),
    ("coding overhead %", true, |_, entry| {
        let overhead = entry.record.coding_overhead().map(|overhead| 100.0 * overhead);
        Cell::number(overhead, |overhead| format!("{overhead:.4}"))
    }),
    ("in-sample %", true, |_, entry| {
        let trained = entry.record.kind == Kind::Run;
        rate(trained.then(|| entry.record.in_sample_share()))
    }),
    ("chunks", true, |_, entry| chunks(&entry.record)),
    ("cut", true, |_, entry| count(entry.record.cut_chunks)),
    ("raw bytes", true, |_, entry| count(Some(entry.record.raw_bytes.0))),
    ("tokens", true, |_, entry| count(entry.record.tokens)),
    ("ideal bits", true, |_, entry| {
        Cell::number(entry.record.ideal_bits.map(|bits| bits.0), format::grouped)
    }),
    ("cross-entropy bits", true, |_, entry| {
        Cell::number(entry.record.cross_entropy_bits.map(|bits| bits.0), format::grouped)
    }),
    ("coded bytes", true, |_, entry| bytes(entry.record.coded_bytes)),
    ("of that header", true, |_, entry| bytes(Some(entry.record.header_bytes))),
    ("lost bits", true, |_, entry| {
        Cell::number(entry.record.lost_bits.map(|bits| bits.0), format::grouped)
    }),
    ("architecture", false, |_, entry| text(entry.record.architecture.as_ref())),
    ("parameters", true, |_, entry| count(entry.record.parameters)),
    ("bytes/parameter", true, |_, entry| {
        Cell::number(entry.record.bytes_per_parameter, |bytes| format!("{bytes}"))
    }),
    ("tokenizer bytes", true, |_, entry| bytes(entry.record.tokenizer_bytes)),
    ("tokens trained", true, |_, entry| {
        let tokens = entry.record.tokens_trained;
        Cell::number(tokens.map(|tokens| tokens as f64), |_| {
            tokens.map(short_count).unwrap_or_default()
        })
    }),
    ("time", true, |_, entry| Cell::number(Some(entry.record.seconds), short_seconds)),
    ("arithmetic", true, |_, entry| count(entry.record.arithmetic.map(u64::from))),
    ("library", false, |_, entry| text(entry.record.library.as_ref())),
    ("device", false, |_, entry| Cell::text(&entry.record.provenance.device)),
    ("machine", false, |_, entry| Cell::text(&entry.record.provenance.machine)),
    ("commit", false, |_, entry| text(entry.record.provenance.commit.as_ref())),
    ("command", false, |_, entry| Cell::text(&entry.record.provenance.command)),
];

/// The table; absent without rates.
pub(crate) fn table(data: &Data) -> Option<Table> {
    let row = |entry: &Entry| COLUMNS.iter().map(|(_, _, cell)| cell(data, entry)).collect();
    let rows: Vec<Vec<Cell>> = data.rates.iter().map(row).collect();
    if rows.is_empty() {
        return None;
    }
    // A column that no measurement fills only widens the table.
    let filled = |index: usize| rows.iter().any(|row: &Vec<Cell>| !row[index].text.is_empty());
    let kept: Vec<usize> = (0..COLUMNS.len()).filter(|&index| filled(index)).collect();
    let columns = kept.iter().map(|&index| {
        let (head, number, _) = COLUMNS[index];
        if number { Column::number(head) } else { Column::text(head) }
    });
    let narrow = |row: &Vec<Cell>| kept.iter().map(|&index| row[index].clone()).collect();
    Some(Table {
        caption: "One row a measurement, as counted; rates follow from the counts. Raw and \
                  adjusted rates take what the coder emitted where it ran, else the ideal code \
                  length; the coding overhead is the one over the other. In-sample is the share \
                  of the raw bytes that the model was trained on."
            .to_owned(),
        columns: columns.collect(),
        groups: vec![Group { rows: rows.iter().map(narrow).collect(), ..Group::default() }],
    })
}

fn text(text: Option<&String>) -> Cell {
    text.map(Cell::text).unwrap_or_default()
}

fn count(count: Option<u64>) -> Cell {
    Cell::number(count.map(|count| count as f64), format::grouped)
}

fn bytes(bytes: Option<Bytes>) -> Cell {
    count(bytes.map(|bytes| bytes.0))
}

fn rate(rate: Option<f64>) -> Cell {
    Cell::number(rate.map(|rate| 100.0 * rate), |value| format::percent(value / 100.0))
}

fn chunks(record: &RateRecord) -> Cell {
    let cell = count(Some(record.chunks));
    match record.sample {
        Some(sample) => cell.with_note(format!("of {}", format::grouped(sample.of as f64))),
        None => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn counts_are_kept_exactly() {
        let data = Data::new(Vec::new(), vec![samples::rate("200K", "enwik8", 0.3)]);
        let table = table(&data).expect("a rate");
        let csv = table.csv();
        let (heads, row) = csv.trim_end().split_once('\n').expect("a head and a row");
        let place = |name: &str| heads.split(',').position(|head| head == name).expect("a column");
        let fields: Vec<&str> = row.split(',').collect();
        assert_eq!(fields[place("coded bytes")], "30006000");
        assert_eq!(fields[place("in-sample %")], "90");
        assert!(!heads.contains("lost bits"), "nothing was lost: {heads}");
    }
}
