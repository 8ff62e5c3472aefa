//! Curves of rates against model size: the runs' rates on a corpus, joined only if they measure the same thing and the
//! models were trained in the same way.

use lmtrain_runs::RateRecord;
use lmtrain_runs::record::{Chunking, Kind};

use crate::report::records::{Measurement, Records};
use crate::report::reported::Reported;

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
pub(crate) struct RatePoint {
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
    /// None of it.
    HeldOut,
    /// Some of it.
    Partly,
    /// All of it.
    Wholly,
}

/// What rates must have in common to be joined by a curve, and to follow one law.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Condition {
    /// What was compressed: index into the records' subjects.
    pub(crate) subject: usize,
    /// How it was cut.
    pub(crate) chunking: Chunking,
    /// Corpus that the models were trained on.
    pub(crate) trained_on: Option<String>,
    /// How much of the subject that was.
    pub(crate) in_sample: InSample,
}

/// The rates under one condition, by parameters: the best of each size, and the others.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    /// The condition.
    pub(crate) condition: Condition,
    /// The lowest of each size.
    pub(crate) best: Vec<RatePoint>,
    /// The rest.
    pub(crate) others: Vec<RatePoint>,
}

impl Measure {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Adjusted => "Adjusted rate",
            Self::Raw => "Raw rate",
        }
    }

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

impl RatePoint {
    /// That of a record, if it was measured.
    pub(crate) fn new(record: &RateRecord, measure: Measure) -> Option<Self> {
        let rate = measure.of(record)?;
        let model = rate - 100.0 * record.raw_rate()?;
        let interval = record.raw_rate_interval();
        let interval = interval.map(|ends| ends.map(|end| 100.0 * end + model));
        let parameters = record.parameters()? as f64;
        Some(Self { parameters, rate, interval, record: record.clone() })
    }
}

impl InSample {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HeldOut => "held out",
            Self::Partly => "partly in-sample",
            Self::Wholly => "in-sample",
        }
    }

    fn of(record: &RateRecord) -> Self {
        match record.in_sample_bytes.0 {
            0 => Self::HeldOut,
            bytes if bytes < record.counts.raw_bytes.0 => Self::Partly,
            _ => Self::Wholly,
        }
    }
}

impl Condition {
    /// That of a run's rate; none of masked bytes, which are in tables alone.
    pub(crate) fn of(Measurement { subject, record }: &Measurement) -> Option<Self> {
        let is_joined = record.kind() == Kind::Run && record.method().mask.is_none();
        is_joined.then(|| Self {
            subject: *subject,
            chunking: record.chunking,
            trained_on: record.facts.run().and_then(|run| run.trained_on.clone()),
            in_sample: InSample::of(record),
        })
    }
}

/// The runs' rates as curves, by subject.
#[must_use]
pub(crate) fn curves(records: &Records, measure: Measure) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for measurement in &records.compared {
        let Some(condition) = Condition::of(measurement) else { continue };
        let Some(point) = RatePoint::new(&measurement.record, measure) else { continue };
        match curves.iter_mut().find(|curve| curve.condition == condition) {
            Some(curve) => curve.others.push(point),
            None => curves.push(Curve { condition, best: Vec::new(), others: vec![point] }),
        }
    }
    curves.sort_by(|one, other| one.condition.cmp(&other.condition));
    for curve in &mut curves {
        curve.take_best();
    }
    curves
}

impl Curve {
    /// Moves the lowest point of each size from the others to the best.
    fn take_best(&mut self) {
        let mut points = std::mem::take(&mut self.others);
        points.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        for point in points {
            let same = |other: &RatePoint| match point.record.size() {
                Some(size) => other.record.size() == Some(size),
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
    pub(crate) fn all(&self) -> impl Iterator<Item = &RatePoint> {
        self.best.iter().chain(&self.others)
    }

    /// The size that compresses best.
    pub(crate) fn lowest(&self) -> Option<&RatePoint> {
        self.best.iter().min_by(|one, other| one.rate.total_cmp(&other.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use lmtrain_runs::Bytes;
    use lmtrain_runs::record::Mask;

    fn run(size: &str, corpus: &str, rate: f64) -> RateRecord {
        samples::rate(size, corpus, rate)
    }

    #[test]
    fn the_lowest_of_each_size_is_joined() {
        let mut other = run("200K", "enwik8", 0.35);
        other.name = "200K-bytes-modern-s1".into();
        let masked = RateRecord { mask: Some(Mask::Cleared), ..run("800K", "enwik8", 0.20) };
        let rates = vec![run("800K", "enwik8", 0.24), other, run("200K", "enwik8", 0.30), masked];
        let curves = curves(&Records::new(Vec::new(), rates), Measure::Raw);
        assert_eq!(curves.len(), 1);
        let points = |points: &[RatePoint]| {
            points.iter().map(|point| point.rate.round()).collect::<Vec<_>>()
        };
        assert_eq!(points(&curves[0].best), [30.0, 24.0], "smallest first");
        assert_eq!(points(&curves[0].others), [35.0]);
        assert_eq!(curves[0].lowest().map(|point| point.rate.round()), Some(24.0));
    }

    #[test]
    fn what_measures_different_things_is_not_joined() {
        let mut split = run("200K", "enwik8", 0.31);
        split.excerpt.span.start = 95_000_000;
        let mut held_out = run("200K", "enwik8", 0.32);
        held_out.name = "a".into();
        held_out.in_sample_bytes = Bytes(0);
        let mut foreign = run("200K", "enwik8", 0.33);
        foreign.name = "b".into();
        samples::run_facts(&mut foreign).trained_on = Some("wiki15-8".into());
        let rates = vec![run("200K", "enwik8", 0.30), split, held_out, foreign];
        assert_eq!(curves(&Records::new(Vec::new(), rates), Measure::Adjusted).len(), 4);
    }

    #[test]
    fn the_interval_of_an_adjusted_rate_moves_with_the_model() {
        let mut record = run("200K", "enwik7", 0.30);
        record.counts.coded_bytes = None;
        let bits = record.counts.ideal_bits.expect("measured").0;
        record.counts.bits_interval =
            Some([0.9, 1.1].map(|factor| lmtrain_runs::Bits(factor * bits)));
        let point = RatePoint::new(&record, Measure::Adjusted).expect("measured");
        let model = 100.0 * record.model_bytes() / 1e7;
        let [low, high] = point.interval.expect("an interval");
        assert!((low - 27.0 - model).abs() < 1e-9 && (high - 33.0 - model).abs() < 1e-9);
    }
}
