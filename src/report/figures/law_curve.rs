//! Scaling laws on a figure of rates against model size: the curve, its 95 % band, and the size of
//! the lowest adjusted rate.

use crate::report::draw::axis::Axis;
use crate::report::draw::chart::Frame;
use crate::report::draw::scene::{Marker, Scene, Stroke};
use crate::report::draw::series::band;
use crate::report::draw::theme::Color;
use crate::report::format;
use crate::report::law::{Laws, Optimum, Trend};
use crate::report::records::Records;
use crate::report::views::curves::{Curve, Measure};

/// Places at which a curve is computed.
const STEPS: usize = 80;

/// A law as a curve: x, y, and the ends of its interval there.
#[derive(Clone, Debug)]
pub(super) struct LawCurve {
    /// Its colour.
    pub(super) color: Color,
    /// Its points.
    pub(super) points: Vec<(f64, f64, [f64; 2])>,
    /// The runs that it was fitted to.
    pub(super) runs: Vec<String>,
    /// Where there are measurements.
    pub(super) measured: [f64; 2],
    /// The size of the least rate, and the rate in percent.
    pub(super) optimum: Option<Optimum>,
}

impl LawCurve {
    /// The law of a figure's curve, over all of the figure's sizes; absent if there is none.
    pub(super) fn of(
        records: &Records,
        laws: &Laws,
        curve: &Curve,
        color: Color,
        measure: Measure,
        ends: [f64; 2],
    ) -> Option<Self> {
        let trend = laws.shown().into_iter().find(|trend| trend.condition == curve.condition)?;
        let subject = curve.condition.subject;
        let length = records.subjects[subject].bytes().as_f64();
        let step = |index: usize| {
            let parameters = ends[0] * (ends[1] / ends[0]).powf(index as f64 / STEPS as f64);
            let (rate, interval) = trend.rate(parameters)?;
            let cost = match measure {
                Measure::Adjusted => trend.cost(parameters, length),
                Measure::Raw => 0.0,
            };
            let percent = |rate: f64| 100.0 * (rate + cost);
            Some((parameters, percent(rate), interval.map(percent)))
        };
        Some(Self {
            color,
            points: (0..=STEPS).filter_map(step).collect(),
            runs: trend.runs.iter().map(|run| run.name.clone()).collect(),
            measured: trend.measured(),
            optimum: optimum(trend, measure, length),
        })
    }

    /// Draws the band and the curve; what is marked goes above the measurements.
    pub(super) fn draw(&self, scene: &mut Scene, frame: &Frame<'_>) {
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
    pub(super) fn draw_optimum(&self, scene: &mut Scene, frame: &Frame<'_>) {
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
    pub(super) fn end(&self, y: &Axis) -> Option<(f64, f64)> {
        let shown = self.points.iter().rev().find(|point| y.holds(point.1))?;
        Some((shown.0, shown.1))
    }

    /// The best size according to the law, as a note below a curve's name.
    pub(super) fn note(&self) -> Option<String> {
        let Optimum { parameters, interval: [low, high], .. } = self.optimum?;
        let count = format::short_count;
        Some(format!("law: lowest at {} ({}–{})", count(parameters), count(low), count(high)))
    }
}

/// The optimum in percent, where the model counts and the sizes tell.
fn optimum(trend: &Trend, measure: Measure, length: f64) -> Option<Optimum> {
    let optimum = trend.telling_optimum(length).filter(|_| measure == Measure::Adjusted)?;
    Some(Optimum { rate: 100.0 * optimum.rate, ..optimum })
}

/// What a caption says of the laws; nothing if there are none.
pub(super) fn caption(measure: Measure, laws: &[Option<&LawCurve>]) -> String {
    if laws.iter().all(Option::is_none) {
        return String::new();
    }
    let optimum = match measure {
        Measure::Adjusted => {
            "; a hollow diamond marks the size with the lowest adjusted rate, and its bar the interval of \
             that size"
        }
        Measure::Raw => "",
    };
    format!(
        " Curves are power laws with a floor, fitted to the longest trained runs of each size, for the \
         tokenization with the most sizes (table “Scaling laws”). Bands are their 95 % bootstrap intervals; \
         dashed lines are extrapolated{optimum}."
    )
}
