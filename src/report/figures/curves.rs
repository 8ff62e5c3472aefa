//! Curves of rates against model size: the runs' rates on a corpus, joined only where they measure
//! the same thing of models trained alike.

use lmtrain_runs::RateRecord;
use lmtrain_runs::record::{Chunking, Kind};

use super::levels::Level;
use crate::report::data::{Data, Entry};
use crate::report::names;
use crate::report::reported::{self, Reported};
use crate::report::tables::{Cell, Column, Group, Table};

/// Which of the two rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// With the model.
    Adjusted,
    /// Without.
    Raw,
}

/// A run's rate on a subject.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// All of the model's.
    pub(crate) parameters: f64,
    /// In percent.
    pub(crate) rate: f64,
    /// In percent, 95 %.
    pub(crate) interval: Option<[f64; 2]>,
    /// The measurement.
    pub(crate) record: RateRecord,
}

/// How much of a subject its model was trained on; rates of different kinds are never joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InSample {
    /// Held out.
    Nothing,
    /// Some of it.
    Part,
    /// All of it.
    Everything,
}

/// What the points of a curve have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Curve {
    /// What was compressed: index into the data's subjects.
    pub(crate) subject: usize,
    /// How it was cut.
    pub(crate) chunking: Chunking,
    /// Corpus that the models were trained on.
    pub(crate) trained_on: Option<String>,
    /// How much of the subject that was.
    pub(crate) in_sample: InSample,
}

/// A curve with its points by parameters: the best of each size, and the others.
#[derive(Clone, Debug)]
pub(crate) struct Points {
    /// What they have in common.
    pub(crate) curve: Curve,
    /// The lowest of each size.
    pub(crate) best: Vec<Point>,
    /// The rest.
    pub(crate) others: Vec<Point>,
}

impl Measure {
    /// The rate of a record in percent, if it was measured.
    pub(crate) fn of(self, record: &RateRecord) -> Option<f64> {
        let rate = match self {
            Self::Adjusted => record.adjusted_rate(),
            Self::Raw => record.raw_rate(),
        };
        rate.map(|rate| 100.0 * rate)
    }

    /// The rate that a row of the paper reports, in percent.
    pub(crate) fn reported(self, row: &Reported) -> f64 {
        match self {
            Self::Adjusted => row.adjusted,
            Self::Raw => row.raw,
        }
    }
}

impl Point {
    /// That of a record, if it was measured.
    pub(crate) fn new(record: &RateRecord, measure: Measure) -> Option<Self> {
        let rate = measure.of(record)?;
        let model = rate - 100.0 * record.raw_rate()?;
        let interval = record.raw_rate_interval();
        let interval = interval.map(|ends| ends.map(|end| 100.0 * end + model));
        let parameters = record.parameters? as f64;
        Some(Self { parameters, rate, interval, record: record.clone() })
    }
}

impl InSample {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "held out",
            Self::Part => "partly in-sample",
            Self::Everything => "in-sample",
        }
    }

    fn of(record: &RateRecord) -> Self {
        match record.in_sample_bytes.0 {
            0 => Self::Nothing,
            bytes if bytes < record.raw_bytes.0 => Self::Part,
            _ => Self::Everything,
        }
    }
}

impl Curve {
    /// That of a run's rate.
    pub(crate) fn of(Entry { subject, record }: &Entry) -> Option<Self> {
        (record.kind == Kind::Run).then(|| Self {
            subject: *subject,
            chunking: record.chunking,
            trained_on: record.trained_on.clone(),
            in_sample: InSample::of(record),
        })
    }
}

/// The runs' rates as curves, by subject.
#[must_use]
pub(crate) fn curves(data: &Data, measure: Measure) -> Vec<Points> {
    let mut curves: Vec<Points> = Vec::new();
    for entry in &data.entries {
        let Some(curve) = Curve::of(entry) else { continue };
        let Some(point) = Point::new(&entry.record, measure) else { continue };
        match curves.iter_mut().find(|points| points.curve == curve) {
            Some(points) => points.others.push(point),
            None => curves.push(Points { curve, best: Vec::new(), others: vec![point] }),
        }
    }
    curves.sort_by(|one, other| one.curve.cmp(&other.curve));
    for points in &mut curves {
        points.take_best();
    }
    curves
}

impl Points {
    /// Moves the lowest point of each size from the others to the best.
    fn take_best(&mut self) {
        let mut points = std::mem::take(&mut self.others);
        points.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        for point in points {
            let same = |other: &Point| match point.record.size {
                Some(size) => other.record.size == Some(size),
                None => other.record.name == point.record.name,
            };
            if self.best.iter().any(same) {
                self.others.push(point);
            } else {
                self.best.push(point);
            }
        }
        self.best.sort_by(|one, other| one.parameters.total_cmp(&other.parameters));
    }

    /// Every point.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Point> {
        self.best.iter().chain(&self.others)
    }

    /// The size that compresses best.
    pub(crate) fn lowest(&self) -> Option<&Point> {
        self.best.iter().min_by(|one, other| one.rate.total_cmp(&other.rate))
    }
}

/// Every point and level as a row, and the paper's.
#[must_use]
pub(crate) fn table(data: &Data, measure: Measure, curves: &[Points], levels: &[Level]) -> Table {
    let mut columns: Vec<Column> =
        ["source", "corpus", "name", "size", "tokenization", "chunks of", "lowest of its size"]
            .map(Column::text)
            .into();
    columns.extend(["parameters", "rate %", "from", "to", "in-sample %"].map(Column::number));
    let mut rows = Vec::new();
    for points in curves {
        let best = points.best.iter().map(|point| (point, "yes"));
        for (point, lowest) in best.chain(points.others.iter().map(|point| (point, "no"))) {
            let subject = &data.subjects[points.curve.subject].label;
            let rates = (point.rate, point.interval);
            rows.push(line("measured", subject, &point.record, lowest, rates));
        }
    }
    for level in levels {
        let subject = &data.subjects[level.subject].label;
        rows.push(line("measured", subject, &level.record, "", (level.rate, None)));
    }
    rows.extend(reported::transformers().map(|row| reported_line(row, measure)));
    Table { columns, groups: vec![Group { rows, ..Group::default() }], ..Table::default() }
}

/// A row of what the paper reports.
pub(crate) fn reported_line(row: &Reported, measure: Measure) -> Vec<Cell> {
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
pub(crate) fn line(
    source: &str,
    subject: &str,
    record: &RateRecord,
    lowest: &str,
    (rate, interval): (f64, Option<[f64; 2]>),
) -> Vec<Cell> {
    let size = record.size.map(|size| size.to_string()).unwrap_or_default();
    let tokenization = record.tokenization.as_ref().map(ToString::to_string).unwrap_or_default();
    let chunking = record.chunking.to_string();
    let name = names::with_preset(record);
    let texts = [source, subject, &name, &size, &tokenization, &chunking, lowest];
    let mut cells: Vec<Cell> = texts.map(Cell::text).into();
    let numbers = [
        record.parameters.map(|count| count as f64),
        Some(rate),
        interval.map(|ends| ends[0]),
        interval.map(|ends| ends[1]),
        Some(100.0 * record.in_sample_share()),
    ];
    cells.extend(numbers.map(Cell::plain));
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use lmtrain_runs::Bytes;

    fn run(size: &str, corpus: &str, rate: f64) -> RateRecord {
        samples::rate(size, corpus, rate)
    }

    #[test]
    fn the_lowest_of_each_size_is_joined() {
        let mut other = run("200K", "enwik8", 0.35);
        other.name = "200K-bytes-modern-s1".into();
        let rates = vec![run("800K", "enwik8", 0.24), other, run("200K", "enwik8", 0.30)];
        let curves = curves(&Data::new(Vec::new(), rates), Measure::Raw);
        assert_eq!(curves.len(), 1);
        let points =
            |points: &[Point]| points.iter().map(|point| point.rate.round()).collect::<Vec<_>>();
        assert_eq!(points(&curves[0].best), [30.0, 24.0], "smallest first");
        assert_eq!(points(&curves[0].others), [35.0]);
        assert_eq!(curves[0].lowest().map(|point| point.rate.round()), Some(24.0));
    }

    #[test]
    fn what_measures_different_things_is_not_joined() {
        let mut split = run("200K", "enwik8", 0.31);
        split.span.start = 95_000_000;
        let mut held_out = run("200K", "enwik8", 0.32);
        held_out.name = "a".into();
        held_out.in_sample_bytes = Bytes(0);
        let mut foreign = run("200K", "enwik8", 0.33);
        foreign.name = "b".into();
        foreign.trained_on = Some("wiki15-8".into());
        let rates = vec![run("200K", "enwik8", 0.30), split, held_out, foreign];
        assert_eq!(curves(&Data::new(Vec::new(), rates), Measure::Adjusted).len(), 4);
    }

    #[test]
    fn the_interval_of_an_adjusted_rate_moves_with_the_model() {
        let mut record = run("200K", "enwik7", 0.30);
        record.coded_bytes = None;
        let bits = record.ideal_bits.expect("measured").0;
        record.bits_interval = Some([0.9, 1.1].map(|factor| lmtrain_runs::Bits(factor * bits)));
        let point = Point::new(&record, Measure::Adjusted).expect("measured");
        let model = 100.0 * record.model_bytes() / 1e7;
        let [low, high] = point.interval.expect("an interval");
        assert!((low - 27.0 - model).abs() < 1e-9 && (high - 33.0 - model).abs() < 1e-9);
    }
}
