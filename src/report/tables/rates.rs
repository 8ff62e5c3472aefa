//! The table of rates, in the form of the paper's Table 1: a row for each compressor and run, with raw and adjusted
//! rates for each corpus, and the paper's numbers in separate columns.

use lmtrain_runs::record::{Chunking, Kind};
use lmtrain_runs::{RateRecord, Tokenization};

use crate::report::format;
use crate::report::names;
use crate::report::records::{Measurement, Records};
use crate::report::reported::{self, Reported};
use crate::report::table::{Cell, Column, Group, Table};

/// The table; absent without rates.
pub(super) fn table(records: &Records) -> Option<Table> {
    if records.compared.is_empty() {
        return None;
    }
    let columns = columns(records);
    let rows = rows(records);
    let mut groups: Vec<Group> = Vec::new();
    for row in &rows {
        let head = group_head(row[0]);
        if groups.last().is_none_or(|group| group.head != head) {
            groups.push(Group { head, ..Group::default() });
        }
        if let Some(group) = groups.last_mut() {
            group.rows.push(cells(records, row));
        }
    }
    groups.extend(only_reported(records, &rows));
    Some(Table { caption: caption(records), columns, groups })
}

fn columns(records: &Records) -> Vec<Column> {
    let ours = |over: &str| {
        ["raw %", "adjusted %", "bits/byte"].map(|head| Column::number(head).under(over))
    };
    let over = reported::head();
    let theirs = ["raw %", "adjusted %"]
        .map(|head| Column { reported: true, ..Column::number(head).under(&over) });
    let ours = records.subjects.iter().map(|subject| ours(&subject.label).to_vec()).collect();
    beside(records, vec![Column::text("compressor")], ours, &theirs)
}

/// A row of its first cell, those of each subject, and the reported ones: next to their corpus if
/// we have it, else last.
fn beside<T: Clone>(records: &Records, first: Vec<T>, ours: Vec<Vec<T>>, theirs: &[T]) -> Vec<T> {
    let place = records.subjects.iter().position(|subject| subject.is_whole(reported::CORPUS));
    let mut row = first;
    for (index, cells) in ours.into_iter().enumerate() {
        row.extend(cells);
        if place == Some(index) {
            row.extend_from_slice(theirs);
        }
    }
    if place.is_none() {
        row.extend_from_slice(theirs);
    }
    row
}

/// Entries by row: those of one compressor, cut in one way, on all that it was measured on.
fn rows(records: &Records) -> Vec<Vec<&Measurement>> {
    let mut rows: Vec<Vec<&Measurement>> = Vec::new();
    for measurement in &records.compared {
        let same =
            |row: &&mut Vec<&Measurement>| row[0].record.method() == measurement.record.method();
        match rows.iter_mut().find(same) {
            Some(row) => row.push(measurement),
            None => rows.push(vec![measurement]),
        }
    }
    rows
}

fn group_head(measurement: &Measurement) -> String {
    let record = &measurement.record;
    format!("{}, {}", names::kind(record.kind()), names::chunking(record.chunking))
}

fn cells(records: &Records, row: &[&Measurement]) -> Vec<Cell> {
    let record = &row[0].record;
    let name = names::with_preset(record);
    let count = record.parameters().map(lmtrain_runs::units::short_count);
    let note: Vec<String> =
        record.architecture().map(str::to_owned).into_iter().chain(count).collect();
    let first = vec![Cell::text(name).with_note(note.join(", "))];
    let ours = |subject: usize| {
        let measurement = row.iter().find(|measurement| measurement.subject == subject);
        rate_cells(measurement.map(|measurement| &measurement.record)).to_vec()
    };
    let ours = (0..records.subjects.len()).map(ours).collect();
    beside(records, first, ours, &reported_cells(reported_of(record)))
}

fn rate_cells(record: Option<&RateRecord>) -> [Cell; 3] {
    let Some(record) = record else { return Default::default() };
    let bits = Cell::number(record.bits_per_byte(), |bits| format!("{bits:.3}"));
    let mut notes = Vec::new();
    if let Some([low, high]) = record.raw_rate_interval() {
        notes.push(format!("[{}, {}]", format::percent(low), format::percent(high)));
    }
    if record.in_sample_bytes.0 > 0 {
        notes.push(format!("{} in-sample", format::share(record.in_sample_share())));
    }
    let raw = Cell::percent(record.raw_rate()).with_note(notes.join(", "));
    [raw, Cell::percent(record.adjusted_rate()), bits]
}

/// The paper's row of the same compressor or size: bytes as tokens, and the same chunks.
fn reported_of(record: &RateRecord) -> Option<&'static Reported> {
    reported::TABLE_1.iter().find(|row| {
        let named = match record.kind() {
            Kind::Run => {
                record.tokenization() == Some(&Tokenization::Bytes)
                    && record.size().is_some_and(|size| size.to_string() == row.name)
            }
            _ => record.name.eq_ignore_ascii_case(row.name),
        };
        named && row.kind == record.kind() && row.chunking == record.chunking
    })
}

fn reported_cells(row: Option<&Reported>) -> [Cell; 2] {
    [Cell::reported(row.map(|row| row.raw)), Cell::reported(row.map(|row| row.adjusted))]
}

/// The paper's rows that none of ours stands beside.
fn only_reported(records: &Records, rows: &[Vec<&Measurement>]) -> Option<Group> {
    let has_ours =
        |row: &Reported| rows.iter().any(|ours| reported_of(&ours[0].record) == Some(row));
    let line = |row: &Reported| {
        let name = match row.kind {
            Kind::Run => format!("Transformer {}", row.name),
            _ => row.name.to_owned(),
        };
        let chunking = match row.chunking {
            Chunking::Whole => "whole",
            _ => "2048",
        };
        let first = vec![Cell::text(name).with_note(chunking)];
        let ours = vec![vec![Cell::default(); 3]; records.subjects.len()];
        beside(records, first, ours, &reported_cells(Some(row)))
    };
    let rows: Vec<_> = reported::TABLE_1.iter().filter(|row| !has_ours(row)).map(line).collect();
    let head = format!("Reported by {}, not measured here", reported::SOURCE);
    (!rows.is_empty()).then_some(Group { head, reported: true, rows })
}

fn caption(records: &Records) -> String {
    let any = |holds: fn(&RateRecord) -> bool| {
        records.compared.iter().any(|measurement| holds(&measurement.record))
    };
    let mut text = String::from(
        "Compressed size over raw size in percent; lower is better. The adjusted rate counts the \
         model too: every parameter in its stated code (2 bytes unless another is named) and the tokenizer. Each \
         chunk is compressed from an empty context; the header of a chunked classical compressor counts once.",
    );
    if any(|record| record.raw_rate_interval().is_some()) {
        text += " Brackets are 95 % bootstrap intervals of the raw rate over chunks.";
    }
    if any(|record| record.excerpt.sample.is_some()) {
        text += " If only a sample of the chunks was measured, the adjusted rate is that of the whole corpus \
            at the sample's raw rate.";
    }
    if any(|record| record.kind() == Kind::Pretrained) {
        text += " Pretrained models count with 2 bytes per parameter, as in the paper; their training data \
            are not known here, and may include the data that they compress.";
    }
    if any(|record| record.counts.lost_bits.is_some_and(|bits| bits.0 > 0.0)) {
        text += " If bytes were masked, the lost bits are counted.";
    }
    if any(|record| record.in_sample_bytes.0 > 0) {
        text += " In-sample bytes are those that the model was trained on.";
    }
    text + &format!(
        " Reported: {}, Table 1, on the 10⁹ bytes of enwik9, Transformers trained on enwik8; not ours.",
        reported::SOURCE
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn ours_and_reported_stand_side_by_side() {
        let rates = vec![
            samples::rate("200K", "enwik9", 0.30),
            samples::rate("200K", "enwik8", 0.31),
            samples::compressor("gzip", "enwik9", Chunking::Whole, 0.323),
        ];
        let table = table(&Records::new(vec![(samples::plan("200K", 0), Vec::new())], rates))
            .expect("rates");
        assert_eq!(table.columns.len(), 1 + 2 * 3 + 2);
        assert_eq!(table.groups.len(), 3);
        let gzip = &table.groups[0].rows[0];
        assert_eq!((gzip[0].text.as_str(), gzip[1].text.as_str()), ("gzip 9", ""));
        assert_eq!((gzip[4].text.as_str(), gzip[7].text.as_str()), ("32.31", "32.3"));
        let run = &table.groups[1].rows[0];
        assert_eq!((run[1].note.as_str(), run[7].text.as_str()), ("90\u{a0}% in-sample", "30.9"));
        let last = table.groups.last().expect("what is only reported");
        assert!(last.reported && last.rows.len() == reported::TABLE_1.len() - 2);
        let width = table.columns.len();
        assert!(table.groups.iter().flat_map(|group| &group.rows).all(|row| row.len() == width));
    }

    #[test]
    fn nothing_measured_is_no_table() {
        assert!(table(&Records::new(Vec::new(), Vec::new())).is_none());
    }
}
