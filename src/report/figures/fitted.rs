//! Scaling laws on a figure of rates against model size: the curve, its 95 % band, and the size of
//! the least adjusted rate.

use lmtrain_runs::units::short_count;

use super::curves::{Measure, Points};
use super::levels::color;
use crate::report::data::Data;
use crate::report::draw::axis::Axis;
use crate::report::draw::chart::Frame;
use crate::report::draw::scene::{Marker, Scene, Stroke};
use crate::report::draw::theme::Color;
use crate::report::law::{self, Optimum, Study};

/// Places at which a curve is computed.
const STEPS: usize = 80;
/// How much of what is below a band shows through.
const BAND: f64 = 0.14;

/// A law as a curve: x, y, and the ends of its interval there.
#[derive(Clone, Debug)]
pub(crate) struct Fitted {
    /// Its colour.
    pub(crate) color: Color,
    /// Its points.
    pub(crate) points: Vec<(f64, f64, [f64; 2])>,
    /// The runs that it was fitted to.
    pub(crate) runs: Vec<String>,
    /// Where there are measurements.
    pub(crate) measured: [f64; 2],
    /// The size of the least rate, and the rate in percent.
    pub(crate) optimum: Option<Optimum>,
}

impl Fitted {
    /// The law of a figure's curve, over all of the figure's sizes; absent if there is none.
    pub(crate) fn of(
        data: &Data,
        points: &Points,
        measure: Measure,
        ends: [f64; 2],
    ) -> Option<Self> {
        let study = law::shown(data).into_iter().find(|study| study.curve == points.curve)?;
        let length = data.subjects[points.curve.subject].bytes().as_f64();
        let step = |index: usize| {
            let parameters = ends[0] * (ends[1] / ends[0]).powf(index as f64 / STEPS as f64);
            let (rate, interval) = study.rate(parameters)?;
            let cost = match measure {
                Measure::Adjusted => study.cost(parameters, length),
                Measure::Raw => 0.0,
            };
            let percent = |rate: f64| 100.0 * (rate + cost);
            Some((parameters, percent(rate), interval.map(percent)))
        };
        Some(Self {
            color: color(points.curve.subject),
            points: (0..=STEPS).filter_map(step).collect(),
            runs: study.points.iter().map(|point| point.name.clone()).collect(),
            measured: study.measured(),
            optimum: optimum(study, measure, length),
        })
    }

    /// Draws the band and the curve; what is marked goes above the measurements.
    pub(crate) fn draw(&self, scene: &mut Scene, frame: &Frame<'_>) {
        band(scene, frame, &self.points, self.color);
        let [low, high] = self.measured;
        let stroke = Stroke::solid(self.color, 2.0);
        for (inside, stroke) in [(true, stroke), (false, stroke.dashed(5.0, 4.0))] {
            let shown = |point: &(f64, f64, [f64; 2])| {
                frame.y.holds(point.1) && (low..=high).contains(&point.0) == inside
            };
            for stretch in self.points.chunk_by(|one, other| shown(one) == shown(other)) {
                if shown(&stretch[0]) {
                    let line: Vec<_> = stretch.iter().map(|it| frame.at(it.0, it.1)).collect();
                    scene.line(&line, stroke);
                }
            }
        }
    }

    /// Marks the size of the least rate, and its interval.
    pub(crate) fn draw_optimum(&self, scene: &mut Scene, frame: &Frame<'_>) {
        let Some(Optimum { parameters, interval, rate, .. }) = self.optimum else { return };
        if !frame.x.holds(parameters) || !frame.y.holds(rate) {
            return;
        }
        let y = frame.up(rate);
        let [left, right] = interval.map(|end| frame.across(frame.x.clamp(end)));
        let bar = Stroke::solid(self.color, 1.3);
        scene.line(&[(left, y), (right, y)], bar);
        for end in [left, right] {
            scene.line(&[(end, y - 4.0), (end, y + 4.0)], bar);
        }
        scene.hollow_marker(Marker::Diamond, (frame.across(parameters), y), 5.2, self.color);
    }

    /// Where it leaves the figure, and so is named.
    pub(crate) fn end(&self, y: &Axis) -> Option<(f64, f64)> {
        let shown = self.points.iter().rev().find(|point| y.holds(point.1))?;
        Some((shown.0, shown.1))
    }

    /// What the law says of the best size, as a note below a curve's name.
    pub(crate) fn note(&self) -> Option<String> {
        let Optimum { parameters, interval: [low, high], .. } = self.optimum?;
        let count = |parameters: f64| short_count(parameters.round() as u64);
        Some(format!("law: least at {} ({} to {})", count(parameters), count(low), count(high)))
    }
}

/// The optimum in percent, where the model counts and the sizes tell.
fn optimum(study: &Study, measure: Measure, length: f64) -> Option<Optimum> {
    let optimum = study.optimum(length).filter(|_| measure == Measure::Adjusted)?;
    study.tells(&optimum).then_some(Optimum { rate: 100.0 * optimum.rate, ..optimum })
}

/// Draws the band between the ends of intervals.
pub(crate) fn band(
    scene: &mut Scene,
    frame: &Frame<'_>,
    points: &[(f64, f64, [f64; 2])],
    color: Color,
) {
    let end =
        |point: &(f64, f64, [f64; 2]), end: usize| frame.at(point.0, frame.y.clamp(point.2[end]));
    let below = points.iter().map(|point| end(point, 0));
    let above = points.iter().rev().map(|point| end(point, 1));
    scene.area(below.chain(above).collect(), color, BAND);
}

/// What a caption says of the laws; nothing if there are none.
pub(crate) fn caption(measure: Measure, laws: &[Option<Fitted>]) -> String {
    if laws.iter().all(Option::is_none) {
        return String::new();
    }
    let optimum = match measure {
        Measure::Adjusted => {
            "; a hollow diamond is the size of the least adjusted rate, its bar that size's interval"
        }
        Measure::Raw => "",
    };
    format!(
        " Curves are power laws with a floor, fitted to the longest trained runs of each size of the \
         tokenization that has most sizes (table “Scaling laws”), bands their 95 % bootstrap \
         intervals, dashes extrapolation{optimum}."
    )
}
