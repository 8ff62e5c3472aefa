//! Results on standard output: aligned tables for people, one JSON document for programs.

use std::fmt::Display;
use std::io::Write;

use anyhow::Result;
use lmtrain_runs::record::{Kind, RunFacts, WeightCode};
use lmtrain_runs::units::short_count;
use lmtrain_runs::{Bits, RateRecord};
use serde::Serialize;

use super::measure::{Results, Unmeasured};

/// Prints one JSON document.
pub(super) fn print_json<T: Serialize>(value: &T) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Prints a line.
pub(super) fn print_line(line: &dyn Display) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
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
    #[serde(skip_serializing_if = "Option::is_none")]
    adjusted_rate_as_stored: Option<f64>,
    /// With a mask only.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_as_in_the_paper: Option<f64>,
    bits_per_byte: Option<f64>,
    token_perplexity: Option<f64>,
    tokens_per_s: Option<f64>,
    /// Absent of pretrained models: what they were trained on is not known.
    in_sample_share: Option<f64>,
    coding_overhead: Option<f64>,
}

impl<'a> RateWithRatios<'a> {
    pub(super) fn new(record: &'a RateRecord) -> Self {
        Self {
            record,
            raw_rate: record.raw_rate(),
            raw_rate_interval: record.raw_rate_interval(),
            adjusted_rate: record.adjusted_rate(),
            adjusted_rate_as_stored: record.adjusted_rate_as_stored(),
            rate_as_in_the_paper: record.rate_as_in_the_paper(),
            bits_per_byte: record.bits_per_byte(),
            token_perplexity: record.token_perplexity(),
            tokens_per_s: record.tokens_per_second(),
            in_sample_share: in_sample_share(record),
            coding_overhead: record.coding_overhead(),
        }
    }
}

/// Share of the raw bytes that the model was trained on, if that is known.
fn in_sample_share(record: &RateRecord) -> Option<f64> {
    (record.kind() != Kind::Pretrained).then(|| record.in_sample_share())
}

/// What `eval` and `sweep` print in JSON, in one list.
#[derive(Serialize)]
#[serde(untagged)]
enum Printed<'a> {
    Rate(Box<RateWithRatios<'a>>),
    Unmeasured(&'a Unmeasured),
}

/// Prints what came of measurements, as JSON or as a table. A table has rates alone: to people, what other shares must
/// still measure was said.
pub(super) fn print_results(results: &Results, json: bool) -> Result<()> {
    let Results { records, unmeasured } = results;
    if json {
        let rates = records.iter().map(|rate| Printed::Rate(Box::new(RateWithRatios::new(rate))));
        let rest = unmeasured.iter().map(Printed::Unmeasured);
        return print_json(&rates.chain(rest).collect::<Vec<_>>());
    }
    if records.is_empty() { Ok(()) } else { print_rates(records, json) }
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
                percent(in_sample_share(record)),
            ]
        })
        .collect();
    let header =
        ["", "corpus", "chunks", "raw %", "95 %", "adjusted %", "bits/byte", "in-sample %"];
    print_table(&header, &rows)?;
    print_masked(records)?;
    print_models(records)
}

/// Of masked bytes, what was lost, and the rate as the paper's code has it.
fn print_masked(records: &[RateRecord]) -> Result<()> {
    let row = |record: &RateRecord| {
        let mask = record.mask?;
        let percent = |bits: Option<Bits>| {
            let share = bits.unwrap_or_default().0 / record.counts.raw_bytes.as_bits().0;
            format!("{:.2}", 100.0 * share)
        };
        let scaled = record.rate_as_in_the_paper();
        Some(vec![
            name_label(record),
            corpus_label(record),
            mask.to_string(),
            percent(record.counts.lost_bits),
            percent(record.counts.missed_bits),
            scaled.map_or("–".to_owned(), |rate| format!("{:.2}", 100.0 * rate)),
        ])
    };
    let rows: Vec<Vec<String>> = records.iter().filter_map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    print_line(&"")?;
    let header =
        ["", "corpus", "bits", "lost, in raw %", "missed %", "scaled as in the paper, raw %"];
    print_table(&header, &rows)
}

/// Of pretrained models, what evaluations of language models say besides, and what they cost.
fn print_models(records: &[RateRecord]) -> Result<()> {
    let of = |number: Option<f64>, digits: usize| {
        number.map_or("–".to_owned(), |number| format!("{number:.digits$}"))
    };
    let row = |record: &RateRecord| {
        vec![
            record.name.clone(),
            corpus_label(record),
            record.architecture().unwrap_or_default().to_owned(),
            record.parameters().map_or("–".to_owned(), short_count),
            of(record.token_perplexity(), 3),
            of(record.tokens_per_second(), 0),
            of(record.adjusted_rate().map(|rate| 100.0 * rate), 2),
            of(record.adjusted_rate_as_stored().map(|rate| 100.0 * rate), 2),
            record.tokenizer_bytes().map_or("–".to_owned(), |bytes| bytes.to_string()),
        ]
    };
    let models = records.iter().filter(|record| record.kind() == Kind::Pretrained);
    let rows: Vec<Vec<String>> = models.map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let header = [
        "",
        "corpus",
        "architecture",
        "parameters",
        "perplexity/token",
        "tokens/s",
        "adjusted % at 2 bytes",
        "as stored",
        "tokenizer",
    ];
    print_line(&"")?;
    print_table(&header, &rows)
}

/// The name, with the code of the weights if they are not as they were saved.
fn name_label(record: &RateRecord) -> String {
    let saved = record.facts.run().map_or(WeightCode::F16, RunFacts::saved_code);
    match record.weight_code() {
        Some(code) if code != saved => format!("{} ({code})", record.name),
        _ => record.name.clone(),
    }
}

/// The corpus, with the range or the sample that was measured if it is not all.
fn corpus_label(record: &RateRecord) -> String {
    let span = record.excerpt.span;
    let mut label = record.excerpt.corpus.clone();
    if span.start > 0 {
        label += &format!(" from {}", span.start);
    }
    if let Some(sample) = record.excerpt.sample {
        label += &format!(" ({} of {} chunks)", sample.chunks, sample.of);
    }
    label
}
