//! A panel of a figure of rates against size: curves of runs with their laws, horizontal lines of classical
//! compressors, and, for text, the paper's points.

use lmtrain_runs::Tokenization;

use super::curve_points::{draw_line, draw_points, marker};
use super::law_curve::LawCurve;
use super::panels::Panel;
use super::scaling_labels::{curve_labels, reported_label};
use super::{axes, level_lines};
use crate::report::draw::axis::{Axis, Unit};
use crate::report::draw::chart::{Chart, Frame, Layout};
use crate::report::draw::scene::{Marker, Scene, Stroke};
use crate::report::draw::theme::{Color, MUTED};
use crate::report::law::Laws;
use crate::report::records::Records;
use crate::report::reported;
use crate::report::views::curves::{Curve, Measure};
use crate::report::views::levels::Level;

/// What all panels of a figure have in common.
pub(super) struct Common<'a> {
    pub(super) records: &'a Records,
    pub(super) laws: &'a Laws,
    pub(super) measure: Measure,
    /// The horizontal axis.
    pub(super) x: Axis,
    /// Each has a marker of its own.
    pub(super) tokenizations: Vec<Tokenization>,
}

/// A panel that can be drawn.
pub(super) struct SizePanel {
    panel: Panel,
    measure: Measure,
    chart: Chart,
    curves: Vec<Curve>,
    /// For each curve its law, if there is one.
    pub(super) laws: Vec<Option<LawCurve>>,
    levels: Vec<Level>,
    tokenizations: Vec<Tokenization>,
}

impl SizePanel {
    /// Of a figure's curves and levels those that belong to a panel; none without a curve.
    pub(super) fn new(
        common: &Common<'_>,
        panel: Panel,
        curves: &[Curve],
        levels: &[Level],
    ) -> Option<Self> {
        let Common { records, laws, measure, x, tokenizations } = common;
        let own = curves.iter().filter(|curve| panel.holds(curve.condition.subject));
        let curves: Vec<Curve> = own.cloned().collect();
        let own = levels.iter().filter(|level| panel.holds(level.subject));
        let levels: Vec<Level> = own.cloned().collect();
        let mut chart = chart(common, &panel, &curves, &levels)?;
        let ends = [0.0, 1.0].map(|end| x.value(end));
        let law = |curve: &Curve| {
            LawCurve::of(records, laws, curve, color(&panel, curve), *measure, ends)
        };
        let laws: Vec<Option<LawCurve>> = curves.iter().map(law).collect();
        for (label, law) in chart.labels.iter_mut().zip(&laws) {
            label.notes.extend(law.as_ref().and_then(LawCurve::note));
            label.at = law.as_ref().and_then(|law| law.end(&chart.y)).unwrap_or(label.at);
        }
        let tokenizations = tokenizations.clone();
        Some(Self { panel, measure: *measure, chart, curves, laws, levels, tokenizations })
    }

    pub(super) fn draw(&self, layout: Layout) -> Scene {
        self.chart.compose(layout, |scene, frame| self.draw_marks(scene, frame))
    }

    fn draw_marks(&self, scene: &mut Scene, frame: &Frame<'_>) {
        let Self { panel, measure, curves, laws, levels, tokenizations, .. } = self;
        level_lines::draw(scene, frame, levels, |level| panel.level_color(level.subject));
        if panel.is_text {
            draw_reported(scene, frame, *measure);
        }
        laws.iter().flatten().for_each(|law| law.draw(scene, frame));
        for (index, (curve, law)) in curves.iter().zip(laws).enumerate() {
            let own = color(panel, curve);
            let again = curves[..index].iter().any(|it| color(panel, it) == own);
            if law.is_none() {
                draw_line(scene, frame, curve, own, again);
            }
            draw_points(scene, frame, curve, own, law.as_ref(), tokenizations);
        }
        laws.iter().flatten().for_each(|law| law.draw_optimum(scene, frame));
    }
}

fn color(panel: &Panel, curve: &Curve) -> Color {
    panel.color(curve.condition.subject, curve.condition.trained_on.as_deref())
}

fn chart(common: &Common<'_>, panel: &Panel, curves: &[Curve], levels: &[Level]) -> Option<Chart> {
    let Common { records, measure, x, tokenizations, .. } = common;
    let points = || curves.iter().flat_map(Curve::all);
    points().next()?;
    let ends = points().flat_map(|point| point.interval.into_iter().flatten());
    let rates = points().map(|point| point.rate).chain(ends);
    let rates = rates.chain(levels.iter().map(|level| level.rate));
    let theirs = reported::transformers().filter(|_| panel.is_text);
    let rates = rates.chain(theirs.map(|row| measure.reported(row)));
    let y = Axis::over(rates, 1.08, Unit::Percent)?;
    let mut key: Vec<(Marker, String)> =
        tokenizations.iter().map(|it| (marker(tokenizations, Some(it)), it.to_string())).collect();
    if key.len() < 2 {
        key.clear();
    }
    let mut labels = curve_labels(records, panel, curves);
    let level_color = |level: &Level| panel.level_color(level.subject);
    labels.extend(level_lines::labels(records, levels, x.high(), level_color));
    labels.extend(reported_label(*measure).filter(|_| panel.is_text));
    Some(Chart {
        y_title: panel.title(*measure),
        x_title: axes::PARAMETERS.title.into(),
        x: x.clone(),
        y,
        labels,
        key,
    })
}

fn draw_reported(scene: &mut Scene, frame: &Frame<'_>, measure: Measure) {
    let points: Vec<_> = reported::transformers()
        .map(|row| frame.at(row.parameters, measure.reported(row)))
        .collect();
    scene.line(&points, Stroke::solid(MUTED, 1.1).dashed(1.5, 3.0));
    for point in points {
        scene.hollow_marker(Marker::Circle, point, 4.6, MUTED);
    }
}
