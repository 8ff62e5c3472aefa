//! Results on standard output: aligned tables for people, one JSON document for programs.

use std::io::Write;

use anyhow::Result;
use lmtrain_runs::RateRecord;
use lmtrain_runs::record::WeightCode;
use serde::Serialize;

/// Prints one JSON document.
pub(super) fn print_json<T: Serialize>(value: &T) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Prints a table: the first column to the left, the others to the right.
pub(super) fn print_table(header: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = rows.iter().chain([&header]).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        })
        .collect();
    for row in std::iter::once(&header).chain(rows) {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// A record as it is printed in JSON: its counts, and the rates that follow from them.
#[derive(Serialize)]
pub(super) struct RateWithRatios<'a> {
    #[serde(flatten)]
    record: &'a RateRecord,
    raw_rate: Option<f64>,
    raw_rate_interval: Option<[f64; 2]>,
    adjusted_rate: Option<f64>,
    bits_per_byte: Option<f64>,
    in_sample_share: f64,
    coding_overhead: Option<f64>,
}

impl<'a> RateWithRatios<'a> {
    pub(super) fn new(record: &'a RateRecord) -> Self {
        Self {
            record,
            raw_rate: record.raw_rate(),
            raw_rate_interval: record.raw_rate_interval(),
            adjusted_rate: record.adjusted_rate(),
            bits_per_byte: record.bits_per_byte(),
            in_sample_share: record.in_sample_share(),
            coding_overhead: record.coding_overhead(),
        }
    }
}

/// Prints rates as a table or as JSON.
pub(super) fn print_rates(records: &[RateRecord], json: bool) -> Result<()> {
    if json {
        return print_json(&records.iter().map(RateWithRatios::new).collect::<Vec<_>>());
    }
    let percent =
        |rate: Option<f64>| rate.map_or("–".to_owned(), |rate| format!("{:.2}", 100.0 * rate));
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|record| {
            let interval = record.raw_rate_interval().map_or("–".to_owned(), |[low, high]| {
                format!("{:.2}–{:.2}", 100.0 * low, 100.0 * high)
            });
            vec![
                name_label(record),
                corpus_label(record),
                record.chunking.to_string(),
                percent(record.raw_rate()),
                interval,
                percent(record.adjusted_rate()),
                record.bits_per_byte().map_or("–".to_owned(), |bits| format!("{bits:.4}")),
                percent(Some(record.in_sample_share())),
            ]
        })
        .collect();
    let header =
        ["", "corpus", "chunks", "raw %", "95 %", "adjusted %", "bits/byte", "in-sample %"];
    print_table(&header, &rows)
}

/// The name, with the code of the weights if they are not as they were saved.
fn name_label(record: &RateRecord) -> String {
    match record.weight_code {
        None | Some(WeightCode::F16) => record.name.clone(),
        Some(code) => format!("{} ({code})", record.name),
    }
}

/// The corpus, with the range or the sample that was measured if it is not all.
fn corpus_label(record: &RateRecord) -> String {
    let span = record.span;
    let mut label = record.corpus.clone();
    if span.start > 0 {
        label += &format!(" from {}", span.start);
    }
    if let Some(sample) = record.sample {
        label += &format!(" ({} of {} chunks)", sample.chunks, sample.of);
    }
    label
}
