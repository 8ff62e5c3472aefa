//! The numbers of a figure of rates against model size: a row for each point and each horizontal line, and for each of
//! the paper's points.

use lmtrain_runs::RateRecord;
use lmtrain_runs::record::Kind;

use crate::report::names;
use crate::report::records::Records;
use crate::report::reported::{self, Reported};
use crate::report::table::{Cell, Column, Table};
use crate::report::views::curves::{Curve, Measure};
use crate::report::views::levels::Level;

/// Every point and level as a row, and the paper's.
#[must_use]
pub(super) fn table(
    records: &Records,
    measure: Measure,
    curves: &[Curve],
    levels: &[Level],
) -> Table {
    let mut columns: Vec<Column> =
        ["source", "corpus", "name", "size", "tokenization", "chunks of", "lowest of its size"]
            .map(Column::text)
            .into();
    columns.extend(["parameters", "rate %", "from", "to", "in-sample %"].map(Column::number));
    let mut rows = Vec::new();
    for curve in curves {
        let best = curve.best.iter().map(|point| (point, "yes"));
        for (point, lowest) in best.chain(curve.others.iter().map(|point| (point, "no"))) {
            let subject = &records.subjects[curve.condition.subject].label;
            let rates = (point.rate, point.interval);
            rows.push(line("measured", subject, &point.record, lowest, rates));
        }
    }
    for level in levels {
        let subject = &records.subjects[level.subject].label;
        rows.push(line("measured", subject, &level.record, "", (level.rate, None)));
    }
    rows.extend(reported::transformers().map(|row| reported_line(row, measure)));
    Table::of(columns, rows)
}

/// A row of what the paper reports.
pub(super) fn reported_line(row: &Reported, measure: Measure) -> Vec<Cell> {
    let (name, size, tokens) = match row.kind {
        Kind::Run => ("", row.name, "bytes"),
        _ => (row.name, "", ""),
    };
    let texts = [reported::SOURCE, reported::CORPUS, name, size, tokens, "2048 bytes", ""];
    let mut cells: Vec<Cell> = texts.map(Cell::text).into();
    let numbers = [Some(row.parameters), Some(measure.reported(row)), None, None, None];
    cells.extend(numbers.map(Cell::plain));
    cells
}

/// A row of what was measured.
pub(super) fn line(
    source: &str,
    subject: &str,
    record: &RateRecord,
    lowest: &str,
    (rate, interval): (f64, Option<[f64; 2]>),
) -> Vec<Cell> {
    let size = record.size().map(|size| size.to_string()).unwrap_or_default();
    let tokenization = record.tokenization().as_ref().map(ToString::to_string).unwrap_or_default();
    let chunking = record.chunking.to_string();
    let name = names::with_preset(record);
    let texts = [source, subject, &name, &size, &tokenization, &chunking, lowest];
    let mut cells: Vec<Cell> = texts.map(Cell::text).into();
    let numbers = [
        record.parameters().map(|count| count as f64),
        Some(rate),
        interval.map(|ends| ends[0]),
        interval.map(|ends| ends[1]),
        Some(100.0 * record.in_sample_share()),
    ];
    cells.extend(numbers.map(Cell::plain));
    cells
}
