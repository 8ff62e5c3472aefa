//! The best size under each code of the weights, for corpora of several lengths: with fewer bits per parameter, the
//! best size has more parameters.

use lmtrain_runs::Bytes;
use lmtrain_runs::record::WeightCode;

use crate::report::format;
use crate::report::law::{Optimum, Trend};
use crate::report::records::Records;
use crate::report::table::{Cell, Column, Table};
use crate::report::views::weight_codes::laws;

/// Lengths in bytes for which the best size is given.
const LENGTHS: [u64; 4] = [1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

const CAPTION: &str = "For each code of the weights and each length of a corpus of the same kind, the size \
    with the lowest adjusted rate, with the weights counted in that code. A separate law is fitted to the \
    raw rates measured with each code. Brackets are 95 % intervals from 1,000 bootstrap draws of the \
    residuals. × is the ratio to the best size with f16. Italics are extrapolated beyond the measured sizes.";

/// The table; absent without laws under two codes.
pub(super) fn table(records: &Records) -> Option<Table> {
    let laws = laws(records);
    let fitted = |code: &WeightCode| {
        let laws = laws.iter().find(|(other, _)| other == code);
        let trends = laws.map(|(_, laws)| laws.trends()).unwrap_or_default();
        trends.iter().filter(|trend| trend.fit.is_ok()).collect::<Vec<&Trend>>()
    };
    let halves = fitted(&WeightCode::F16);
    let (mut rows, mut codes) = (Vec::new(), 0);
    for code in &WeightCode::ALL {
        let trends = fitted(code);
        codes += usize::from(!trends.is_empty());
        for trend in trends {
            let is_it = |other: &&&Trend| {
                (other.condition == trend.condition && other.recipe == trend.recipe)
                    && other.tokenization == trend.tokenization
            };
            rows.push(row(records, *code, trend, halves.iter().find(is_it).copied()));
        }
    }
    let mut columns: Vec<Column> = ["corpus", "tokenization", "code"].map(Column::text).into();
    columns.push(Column::number("bits/parameter"));
    columns.extend(LENGTHS.map(|length| {
        Column::number(&format::short_bytes(Bytes(length))).under("best parameters for")
    }));
    (codes >= 2).then(|| Table { caption: CAPTION.to_owned(), ..Table::of(columns, rows) })
}

fn row(records: &Records, code: WeightCode, trend: &Trend, halves: Option<&Trend>) -> Vec<Cell> {
    let bits = 8.0 * trend.bytes_per_parameter;
    let mut row = vec![
        Cell::text(&records.subjects[trend.condition.subject].label),
        Cell::text(trend.tokenization.to_string()),
        Cell::text(code.name()),
        Cell::number(Some(bits), |bits| format!("{bits:.2}")),
    ];
    let halves = halves.filter(|_| code != WeightCode::F16);
    row.extend(LENGTHS.map(|length| {
        let of = |trend: &Trend| trend.telling_optimum(length as f64);
        of(trend).map_or_else(Cell::default, |best| cell(&best, halves.and_then(of).as_ref()))
    }));
    row
}

/// A best size with its interval, and beside that under f16.
fn cell(best: &Optimum, halves: Option<&Optimum>) -> Cell {
    let [low, high] = best.interval;
    let times = halves.map(|halves| format!(", × {:.1}", best.parameters / halves.parameters));
    let count = format::short_count;
    let note = format!("[{}, {}]{}", count(low), count(high), times.unwrap_or_default());
    let cell = Cell::number(Some(best.parameters), count).with_note(note);
    Cell { interval: Some([low, high]), extrapolated: best.extrapolated, ..cell }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn fewer_bits_make_larger_networks_best() {
        let saved = samples::on_a_law("enwik8");
        let coded = saved.iter().map(|rate| {
            let bytes = Bytes(rate.parameters().expect("a run has them") / 2);
            samples::coded(rate, WeightCode::Int4, 1.0, bytes)
        });
        let of = |rates: Vec<_>| table(&Records::new(Vec::new(), rates));
        assert!(of(saved.clone()).is_none(), "one code");
        let both = of(saved.iter().cloned().chain(coded).collect()).expect("two codes");
        let rows = &both.groups[0].rows;
        let texts = |column: usize| rows.iter().map(|row| &*row[column].text).collect::<Vec<_>>();
        assert_eq!((texts(2), texts(3)), (vec!["f16", "int4"], vec!["16.00", "4.00"]));
        let best = |row: usize| rows[row][6].value.expect("for 100 MB");
        // E + A / N^0.4 has its best N at a power of 1/1.4 of what a parameter costs.
        assert!((best(1) / best(0) / 4.0_f64.powf(1.0 / 1.4) - 1.0).abs() < 0.05);
        assert!(rows[1][6].note.ends_with("× 2.7") && !rows[0][6].note.contains('×'));
    }
}
