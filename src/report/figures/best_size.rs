//! The paper's Figure 2 as an answer: for a corpus of any length, the size of model that makes data
//! and weights together smallest.

use lmtrain_runs::Bytes;

use super::Figure;
use super::levels::color;
use super::series::{Series, Titled, figure as series_figure};
use crate::report::data::Data;
use crate::report::draw::axis::Unit;
use crate::report::draw::scene::{Marker, Stroke};
use crate::report::format;
use crate::report::law::{self, Study};
use crate::report::tables::{Cell, Column, Group, Table};

/// Lengths that are asked about, in bytes: from the shortest to the longest.
const LENGTHS: [f64; 2] = [1e6, 1e11];
/// Steps of a decade of lengths.
const STEPS: i32 = 12;

/// The figure; absent without a law.
pub(crate) fn figure(data: &Data) -> Option<Figure> {
    let studies = law::shown(data);
    let series = studies.iter().flat_map(|study| lines(data, study)).collect();
    let x = Titled { title: "length of the corpus", unit: Unit::Bytes };
    let y = Titled {
        title: "Parameters of the least adjusted rate, embeddings included",
        unit: Unit::Count,
    };
    series_figure(series, &x, &y, Vec::new(), (CAPTION.to_owned(), table(data, &studies)))
}

const CAPTION: &str = "Which size of model pays, were there more or less data of the same kind: where the fitted raw \
     rate and the cost of the weights add up to the least. Bands are 95 % bootstrap intervals; \
     dashes lead beyond the sizes measured and are extrapolation; a disc is the length of the corpus \
     that was measured. Both axes are logarithmic.";

/// A place on the curve of best sizes.
type Place = (f64, f64, [f64; 2], bool);

/// The lengths for which a law tells, and the best size for each.
fn places(study: &Study) -> Vec<Place> {
    let [first, last] = LENGTHS.map(|length| (length.log10() * f64::from(STEPS)) as i32);
    let place = |step: i32| {
        let length = 10f64.powf(f64::from(step) / f64::from(STEPS));
        let optimum = study.optimum(length).filter(|optimum| study.tells(optimum))?;
        Some((length, optimum.parameters, optimum.interval, optimum.extrapolated))
    };
    (first..=last).filter_map(place).collect()
}

/// A line each for what was measured and what is extrapolated, and the corpus itself.
fn lines(data: &Data, study: &Study) -> Vec<Series> {
    let subject = &data.subjects[study.curve.subject];
    let color = color(study.curve.subject);
    let places = places(study);
    let mut series: Vec<Series> = Vec::new();
    let point = |place: &Place| (place.0, place.1);
    for (index, stretch) in places.chunk_by(|one, other| one.3 == other.3).enumerate() {
        let stroke = Stroke::solid(color, 2.0);
        let mut line = Series::new("", color, Marker::Circle);
        line.marker = None;
        line.stroke = if stretch[0].3 { stroke.dashed(5.0, 4.0) } else { stroke };
        // Stretches touch.
        let before = series.last().and_then(|before: &Series| before.points.last().copied());
        line.points = before.into_iter().chain(stretch.iter().map(point)).collect();
        if index == 0 {
            line.band = places.iter().map(|place| (place.0, place.1, place.2)).collect();
        }
        series.push(line);
    }
    if let Some(last) = series.last_mut() {
        last.name = format!("{}, {}", subject.label, study.tokenization);
    }
    let length = subject.bytes().as_f64();
    if let Some(optimum) = study.optimum(length).filter(|optimum| study.tells(optimum)) {
        let mut own = Series::new("", color, Marker::Circle);
        own.points = vec![(length, optimum.parameters)];
        series.push(own);
    }
    series
}

fn table(data: &Data, studies: &[&Study]) -> Table {
    let mut columns: Vec<Column> = ["corpus", "tokenization"].map(Column::text).into();
    columns.extend(["length, bytes", "best parameters", "from", "to"].map(Column::number));
    columns.push(Column::text("extrapolated"));
    let mut rows = Vec::new();
    for study in studies {
        for (length, best, [low, high], extrapolated) in places(study) {
            let texts =
                [data.subjects[study.curve.subject].label.clone(), study.tokenization.to_string()];
            let mut row: Vec<Cell> = texts.map(Cell::text).into();
            let numbers = [length, best, low, high];
            row.extend(numbers.map(|value| {
                Cell::number(Some(value.round()), |_| format::short_bytes(Bytes(value as u64)))
            }));
            row.push(Cell::text(if extrapolated { "yes" } else { "no" }));
            rows.push(row);
        }
    }
    Table { columns, groups: vec![Group { rows, ..Group::default() }], ..Table::default() }
}
