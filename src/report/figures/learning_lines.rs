//! Lines of learning curves: validation thick, training thin, in the colour of the run's size.

use super::colors;
use crate::report::draw::axis::Axis;
use crate::report::draw::chart::Frame;
use crate::report::draw::labels::{Label, Swatch};
use crate::report::draw::scene::{Marker, Point, Scene, Stroke};
use crate::report::draw::text::Weight;
use crate::report::views::learning::LearningCurve;

/// More labels than this would be a list, not a figure: then each size is named once.
pub(super) const MOST_LABELS: usize = 20;

fn stroke(curve: &LearningCurve) -> Stroke {
    let line = Stroke::solid(colors::of_size(curve.size), 2.0);
    match curve.sibling % 4 {
        0 => line,
        1 => line.dashed(8.0, 3.0),
        2 => line.dashed(4.0, 2.5),
        _ => line.dashed(1.5, 2.5),
    }
}

/// The runs' names where their lines end, or those of their sizes where runs are many.
pub(super) fn labels(curves: &[LearningCurve], y: &Axis) -> Vec<Label> {
    let crowded = curves.len() > MOST_LABELS;
    let label = |curve: &LearningCurve| {
        let shown =
            |values: &[(f64, f64)]| values.iter().rev().find(|value| y.holds(value.1)).copied();
        let end = shown(&curve.validation).or_else(|| shown(&curve.training))?;
        Some(Label {
            at: end,
            name: if crowded { of_size(curves, curve) } else { curve.name.clone() },
            notes: Vec::new(),
            color: colors::of_size(curve.size),
            weight: Weight::Bold,
            swatch: Swatch::Line(stroke(curve)),
        })
    };
    curves.iter().filter(|curve| !crowded || curve.sibling == 0).filter_map(label).collect()
}

/// The name that all curves of a size share: `3.2M, 9 runs`.
fn of_size(curves: &[LearningCurve], curve: &LearningCurve) -> String {
    match curves.iter().filter(|other| other.size == curve.size).count() {
        1 => curve.size.to_string(),
        count => format!("{}, {count} runs", curve.size),
    }
}

/// Means of the values in strips two pixels wide, so that a long training stays a line.
fn binned(frame: &Frame<'_>, values: &[(f64, f64)]) -> Vec<Point> {
    let strip = |value: &(f64, f64)| (frame.across(value.0) / 2.0).floor();
    let shown = values.iter().filter(|value| frame.x.holds(value.0) && frame.y.holds(value.1));
    let shown: Vec<(f64, f64)> = shown.copied().collect();
    let mean = |strip: &[(f64, f64)]| {
        let count = strip.len() as f64;
        let sum = strip.iter().fold((0.0, 0.0), |sum, value| (sum.0 + value.0, sum.1 + value.1));
        frame.at(sum.0 / count, sum.1 / count)
    };
    shown.chunk_by(|one, other| strip(one) == strip(other)).map(mean).collect()
}

/// Draws the thin line of a run.
pub(super) fn draw_training(scene: &mut Scene, frame: &Frame<'_>, curve: &LearningCurve) {
    let stroke = Stroke::solid(colors::of_size(curve.size), 0.8).faint(0.5);
    scene.line(&binned(frame, &curve.training), stroke);
}

/// Draws the thick line of a run, and its end.
pub(super) fn draw_validation(scene: &mut Scene, frame: &Frame<'_>, curve: &LearningCurve) {
    let shown = curve.validation.iter();
    let shown = shown.filter(|value| frame.x.holds(value.0) && frame.y.holds(value.1));
    let points: Vec<Point> = shown.map(|value| frame.at(value.0, value.1)).collect();
    scene.line(&points, stroke(curve));
    let training = || binned(frame, &curve.training).last().copied();
    if let Some(last) = points.last().copied().or_else(training) {
        scene.marker(Marker::Circle, last, 3.6, colors::of_size(curve.size));
    }
}
