//! The paper's Figure 2 turned into an answer: for a corpus of any length, the model size that makes data and weights
//! together smallest.

use lmtrain_runs::Bytes;

use super::colors;
use crate::report::draw::axis::Unit;
use crate::report::draw::scene::{Marker, Stroke};
use crate::report::draw::series::{Series, Titled};
use crate::report::figure::Figure;
use crate::report::format;
use crate::report::law::{Laws, Optimum, Trend};
use crate::report::records::Records;
use crate::report::table::{Cell, Column, Table};

/// Lengths that are asked about, in bytes: from the shortest to the longest.
const LENGTHS: [f64; 2] = [1e6, 1e11];
/// Steps of a decade of lengths.
const STEPS: i32 = 12;

/// The figure; absent without a law.
pub(super) fn figure(records: &Records, laws: &Laws) -> Option<Figure> {
    let trends = laws.shown();
    let series = trends.iter().flat_map(|trend| lines(records, trend)).collect();
    let x = Titled { title: "length of the corpus", unit: Unit::Bytes };
    let y = Titled {
        title: "Parameters with the lowest adjusted rate, embeddings included",
        unit: Unit::Count,
    };
    let numbers = table(records, &trends);
    Figure::of_series(series, &x, &y, Vec::new(), (CAPTION.to_owned(), numbers))
}

const CAPTION: &str = "The best model size for a corpus of any length, of the same kind of data: the size at \
    which the fitted raw rate plus the cost of the weights is lowest. Bands are 95 % bootstrap intervals. \
    Dashed lines are extrapolated beyond the measured sizes. A disc marks the length of the measured corpus. \
    Both axes are logarithmic.";

/// The lengths for which a law tells, and the best size for each.
fn optima(trend: &Trend) -> Vec<(f64, Optimum)> {
    let [first, last] = LENGTHS.map(|length| (length.log10() * f64::from(STEPS)) as i32);
    let optimum = |step: i32| {
        let length = 10f64.powf(f64::from(step) / f64::from(STEPS));
        Some((length, trend.telling_optimum(length)?))
    };
    (first..=last).filter_map(optimum).collect()
}

/// A line each for what was measured and what is extrapolated, and the corpus itself.
fn lines(records: &Records, trend: &Trend) -> Vec<Series> {
    let subject = &records.subjects[trend.condition.subject];
    let color = colors::of_subject(trend.condition.subject);
    let optima = optima(trend);
    let mut series: Vec<Series> = Vec::new();
    let point = |(length, best): &(f64, Optimum)| (*length, best.parameters);
    let stretches = optima.chunk_by(|(_, one), (_, other)| one.extrapolated == other.extrapolated);
    for (index, stretch) in stretches.enumerate() {
        let stroke = Stroke::solid(color, 2.0);
        let mut line = Series::new("", color, Marker::Circle);
        line.marker = None;
        line.stroke = if stretch[0].1.extrapolated { stroke.dashed(5.0, 4.0) } else { stroke };
        // Stretches touch.
        let before = series.last().and_then(|before: &Series| before.points.last().copied());
        line.points = before.into_iter().chain(stretch.iter().map(point)).collect();
        if index == 0 {
            let ends = |(length, best): &(f64, Optimum)| (*length, best.parameters, best.interval);
            line.band = optima.iter().map(ends).collect();
        }
        series.push(line);
    }
    if let Some(last) = series.last_mut() {
        last.name = format!("{}, {}", subject.label, trend.tokenization);
    }
    let length = subject.bytes().as_f64();
    if let Some(optimum) = trend.telling_optimum(length) {
        let mut own = Series::new("", color, Marker::Circle);
        own.points = vec![(length, optimum.parameters)];
        series.push(own);
    }
    series
}

fn table(records: &Records, trends: &[&Trend]) -> Table {
    let mut columns: Vec<Column> = ["corpus", "tokenization"].map(Column::text).into();
    columns.extend(["length, bytes", "best parameters", "from", "to"].map(Column::number));
    columns.push(Column::text("extrapolated"));
    let mut rows = Vec::new();
    for trend in trends {
        let subject = &records.subjects[trend.condition.subject].label;
        for (length, Optimum { parameters, interval: [low, high], extrapolated, .. }) in
            optima(trend)
        {
            let mut row = vec![Cell::text(subject), Cell::text(trend.tokenization.to_string())];
            let numbers = [length, parameters, low, high];
            row.extend(numbers.map(|value| {
                Cell::number(Some(value.round()), |_| format::short_bytes(Bytes(value as u64)))
            }));
            row.push(Cell::text(if extrapolated { "yes" } else { "no" }));
            rows.push(row);
        }
    }
    Table::of(columns, rows)
}
