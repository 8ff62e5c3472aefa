//! The scaling laws: their coefficients with intervals, and the best sizes that follow for corpora of several lengths.

use lmtrain_runs::Bytes;

use crate::report::format;
use crate::report::law::{Fit, Law, Laws, Trend};
use crate::report::records::Records;
use crate::report::table::{Cell, Column, Table};

/// Lengths in bytes for which the best size is given, besides the corpus's own.
const LENGTHS: [u64; 4] = [10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000];

/// The table; absent without runs' rates.
pub(super) fn table(records: &Records, laws: &Laws) -> Option<Table> {
    let trends = laws.trends();
    let of_tokens = trends.iter().any(|trend| trend.of_tokens && trend.fit.is_ok());
    let mut columns: Vec<Column> =
        ["corpus", "tokenization", "lowest adjusted rate"].map(Column::text).into();
    columns.push(Column::number("runs"));
    columns.extend(["E %", "A", "α"].map(Column::number));
    if of_tokens {
        columns.extend(["B", "β"].map(Column::number));
    }
    columns.extend(LENGTHS.map(|length| {
        Column::number(&format::short_bytes(Bytes(length))).under("best parameters for")
    }));
    columns.extend(["recipe", "trained on"].map(Column::text));
    let row = |trend: &Trend| {
        let subject = &records.subjects[trend.condition.subject];
        let trained_on = trend.condition.trained_on.clone().unwrap_or_default();
        let mut row: Vec<Cell> = vec![
            Cell::text(&subject.label).with_note(trend.condition.in_sample.name()),
            Cell::text(trend.tokenization.to_string()),
            Cell::text(trend.answer(subject.bytes().0)),
            Cell::count(Some(trend.runs.len() as u64)),
        ];
        row.extend(numbers(trend, of_tokens));
        row.extend(LENGTHS.map(|length| best(trend, length)));
        let recipe = trend.recipe.map(|recipe| recipe.to_string()).unwrap_or_default();
        row.extend([recipe, trained_on].map(Cell::text));
        row
    };
    let rows = trends.iter().map(row).collect();
    let table = Table::of(columns, rows);
    (!trends.is_empty()).then(|| Table { caption: CAPTION.to_owned(), ..table })
}

const CAPTION: &str = "The raw rate as a law of size, E + A / N^α, where N counts all parameters, embeddings \
    included, as in the adjusted rate. It is fitted to the longest trained runs of each size, so training \
    grows with N as it did in these runs. If runs of one size differ in their training tokens D, the law is \
    E + A / N^α + B / D^β, and best sizes are those at the largest D. The fit minimises the Huber loss of \
    log rates from several starting points; brackets are 95 % intervals from 1,000 bootstrap draws of the \
    residuals. The best size for a length of text of the same kind is the one at which compressed data and \
    weights together are smallest. Italics are extrapolated beyond the measured sizes; a field is empty if \
    the best size is too far from these, or too uncertain.";

/// The law's numbers, each with its interval; empty cells without a law.
fn numbers(trend: &Trend, of_tokens: bool) -> Vec<Cell> {
    let mut cells = vec![Cell::default(); if of_tokens { 5 } else { 3 }];
    let Ok(fit) = &trend.fit else { return cells };
    let floor = |law: &Law| 100.0 * law.floor();
    let percent = |value: f64| format::percent(value / 100.0);
    cells[0] = with_interval(floor(&fit.law), fit.interval(floor), percent);
    cells[1..3].clone_from_slice(&term(fit, 0));
    if trend.of_tokens {
        cells[3..5].clone_from_slice(&term(fit, 1));
    }
    cells
}

/// A and α of a term.
fn term(fit: &Fit, term: usize) -> [Cell; 2] {
    let factor = fit.interval(|law| law.factor(term));
    let exponent = fit.interval(|law| law.exponent(term));
    [
        with_interval(fit.law.factor(term), factor, three_digits),
        with_interval(fit.law.exponent(term), exponent, |value| format!("{value:.3}")),
    ]
}

fn with_interval(value: f64, [low, high]: [f64; 2], write: impl Fn(f64) -> String) -> Cell {
    let note = format!("[{}, {}]", write(low), write(high));
    Cell { interval: Some([low, high]), ..Cell::number(Some(value), write).with_note(note) }
}

/// A number of any size in three digits: `0.0123`, `45.6`, `7,890`.
fn three_digits(value: f64) -> String {
    match value {
        _ if value >= 1000.0 => format::grouped(value),
        _ => {
            let after = (2 - value.log10().floor() as i32).clamp(0, 6) as usize;
            format!("{value:.after$}")
        }
    }
}

fn best(trend: &Trend, length: u64) -> Cell {
    let Some(optimum) = trend.telling_optimum(length as f64) else { return Cell::default() };
    let cell = with_interval(optimum.parameters, optimum.interval, format::short_count);
    Cell { extrapolated: optimum.extrapolated, ..cell }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use lmtrain_runs::RateRecord;

    #[test]
    fn a_law_has_numbers_and_what_has_none_a_sentence() {
        let rates = samples::on_a_law("enwik8");
        let of = |rates: &[RateRecord]| {
            let records = Records::new(Vec::new(), rates.to_vec());
            table(&records, &Laws::of(&records.compared)).expect("rates")
        };
        let few = of(&rates[..2]);
        let row = &few.groups[0].rows[0];
        assert!(row[4].text.is_empty() && row[2].text.contains("coefficients needs"));
        let full = of(&rates);
        let row = &full.groups[0].rows[0];
        assert_eq!(row.len(), full.columns.len());
        assert!(row[4].note.starts_with('[') && row[6].value.is_some_and(|it| it > 0.1));
        assert!(row[2].text.starts_with("for 100 MB: about "));
        let (within, beyond) = (&row[8], &row[10]);
        assert!(!within.extrapolated && beyond.extrapolated, "{within:?} {beyond:?}");
        let csv = full.csv();
        let heads = csv.lines().next().expect("heads");
        assert!(heads.contains("α,α from,α to,best parameters for: 10 MB,"), "{heads}");
        let commas =
            |line: &str| line.split('"').step_by(2).collect::<String>().matches(',').count();
        assert!(csv.lines().all(|line| commas(line) == commas(heads)), "{csv}");
        assert_eq!([0.01234, 45.61, 7890.4].map(three_digits), ["0.0123", "45.6", "7,890"]);
    }
}
