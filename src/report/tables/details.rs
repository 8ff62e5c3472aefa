//! Every measurement in its own row, with its counts, its rates and where it was made: for checking numbers and
//! computing others.

use lmtrain_runs::record::Kind;
use lmtrain_runs::units::short_seconds;
use lmtrain_runs::{Bytes, RateRecord};

use crate::report::format;
use crate::report::records::{Measurement, Records};
use crate::report::table::{Cell, Filled, Table};

/// A column and what a row has in it. To add a column, add a row.
const COLUMNS: &[Filled<Records, Measurement>] = &[
    ("corpus", false, |records, row| Cell::text(&records.subjects[row.subject].label)),
    ("compressor", false, |_, row| Cell::text(&row.record.name)),
    ("preset", false, |_, row| text(row.record.preset())),
    ("chunks of", false, |_, row| Cell::text(row.record.chunking.to_string())),
    ("raw %", true, |_, row| Cell::percent(row.record.raw_rate())),
    ("raw % from", true, |_, row| {
        Cell::percent(row.record.raw_rate_interval().map(|ends| ends[0]))
    }),
    ("to", true, |_, row| Cell::percent(row.record.raw_rate_interval().map(|ends| ends[1]))),
    ("adjusted %", true, |_, row| Cell::percent(row.record.adjusted_rate())),
    ("adjusted % as stored", true, |_, row| Cell::percent(row.record.adjusted_rate_as_stored())),
    ("bits/byte", true, |_, row| {
        Cell::number(row.record.bits_per_byte(), |bits| format!("{bits:.4}"))
    }),
    ("coding overhead %", true, |_, row| {
        let overhead = row.record.coding_overhead().map(|overhead| 100.0 * overhead);
        Cell::number(overhead, |overhead| format!("{overhead:.4}"))
    }),
    ("in-sample %", true, |_, row| {
        let trained = row.record.kind() == Kind::Run;
        Cell::percent(trained.then(|| row.record.in_sample_share()))
    }),
    ("chunks", true, |_, row| chunks(&row.record)),
    ("cut", true, |_, row| Cell::count(row.record.counts.cut_chunks)),
    ("raw bytes", true, |_, row| Cell::count(Some(row.record.counts.raw_bytes.0))),
    ("tokens", true, |_, row| Cell::count(row.record.counts.tokens)),
    ("ideal bits", true, |_, row| {
        Cell::number(row.record.counts.ideal_bits.map(|bits| bits.0), format::grouped)
    }),
    ("cross-entropy bits", true, |_, row| {
        Cell::number(row.record.counts.cross_entropy_bits.map(|bits| bits.0), format::grouped)
    }),
    ("coded bytes", true, |_, row| bytes(row.record.counts.coded_bytes)),
    ("header bytes of these", true, |_, row| bytes(Some(row.record.counts.header_bytes))),
    ("lost bits", true, |_, row| {
        Cell::number(row.record.counts.lost_bits.map(|bits| bits.0), format::grouped)
    }),
    ("architecture", false, |_, row| text(row.record.architecture())),
    ("parameters", true, |_, row| Cell::count(row.record.parameters())),
    ("bytes/parameter", true, |_, row| {
        Cell::plain(row.record.facts.network().and_then(|network| network.bytes_per_parameter))
    }),
    ("tokenizer bytes", true, |_, row| bytes(row.record.tokenizer_bytes())),
    ("tokens trained", true, |_, row| {
        Cell::short_count(row.record.facts.run().and_then(|run| run.tokens_trained))
    }),
    ("time", true, |_, row| Cell::number(Some(row.record.counts.seconds), short_seconds)),
    ("arithmetic", true, |_, row| Cell::count(row.record.arithmetic().map(u64::from))),
    ("library", false, |_, row| text(row.record.library())),
    ("device", false, |_, row| Cell::text(&row.record.provenance.device)),
    ("machine", false, |_, row| Cell::text(&row.record.provenance.machine)),
    ("commit", false, |_, row| text(row.record.provenance.commit.as_deref())),
    ("command", false, |_, row| Cell::text(&row.record.provenance.command)),
];

const CAPTION: &str = "One row for each measurement, with its counts; rates are computed from the counts. \
    Raw and adjusted rates use the bytes that the coder emitted or, if it did not run, the ideal code \
    length; the coding overhead is the excess of the former over the latter. In-sample is the share of the \
    raw bytes that the model was trained on.";

/// The table; absent without rates.
pub(super) fn table(records: &Records) -> Option<Table> {
    let table = without_empty_columns(Table::filled(COLUMNS, records, &records.rates));
    let caption = CAPTION.to_owned();
    (!records.rates.is_empty()).then_some(Table { caption, ..table })
}

/// A column that no measurement fills only widens the table.
fn without_empty_columns(mut table: Table) -> Table {
    let is_filled = |index: usize| {
        table.groups.iter().flat_map(|group| &group.rows).any(|row| !row[index].text.is_empty())
    };
    let filled: Vec<bool> = (0..table.columns.len()).map(is_filled).collect();
    keep(&mut table.columns, &filled);
    table.groups.iter_mut().flat_map(|group| &mut group.rows).for_each(|row| keep(row, &filled));
    table
}

/// Keeps the items in the places that are to be kept.
fn keep<T>(items: &mut Vec<T>, places: &[bool]) {
    let mut places = places.iter();
    items.retain(|_| places.next() == Some(&true));
}

fn text(text: Option<&str>) -> Cell {
    text.map(Cell::text).unwrap_or_default()
}

fn bytes(bytes: Option<Bytes>) -> Cell {
    Cell::count(bytes.map(|bytes| bytes.0))
}

fn chunks(record: &RateRecord) -> Cell {
    let cell = Cell::count(Some(record.counts.chunks));
    match record.excerpt.sample {
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
        let records = Records::new(Vec::new(), vec![samples::rate("200K", "enwik8", 0.3)]);
        let table = table(&records).expect("a rate");
        let csv = table.csv();
        let (heads, row) = csv.trim_end().split_once('\n').expect("a head and a row");
        let place = |name: &str| heads.split(',').position(|head| head == name).expect("a column");
        let fields: Vec<&str> = row.split(',').collect();
        assert_eq!(fields[place("coded bytes")], "30006000");
        assert_eq!(fields[place("in-sample %")], "90");
        assert!(!heads.contains("lost bits"), "nothing was lost: {heads}");
    }
}
