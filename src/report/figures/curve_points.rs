//! The measurements of a curve: a marker for each run, in the shape of its tokenization, with the
//! bar of its interval, and the line that joins the best of each size.

use lmtrain_runs::Tokenization;

use super::law_curve::LawCurve;
use crate::report::draw::chart::Frame;
use crate::report::draw::scene::{Marker, Scene, Stroke};
use crate::report::draw::theme::{Color, PAPER};
use crate::report::views::curves::{Curve, RatePoint};

/// How far from its centre a marker and its rim hide what is below.
const HIDDEN: f64 = 5.8;

/// The tokenizations that occur; each has a marker of its own.
pub(super) fn tokenizations(curves: &[Curve]) -> Vec<Tokenization> {
    let all = curves.iter().flat_map(Curve::all);
    let mut found: Vec<_> = all.filter_map(|point| point.record.tokenization().cloned()).collect();
    found.sort();
    found.dedup();
    found
}

/// The marker of one of them.
pub(super) fn marker(tokenizations: &[Tokenization], own: Option<&Tokenization>) -> Marker {
    let place = tokenizations.iter().position(|other| Some(other) == own).unwrap_or_default();
    Marker::ALL[place % Marker::ALL.len()]
}

/// Joins the best of each size: what is drawn where no law is.
pub(super) fn draw_line(
    scene: &mut Scene,
    frame: &Frame<'_>,
    curve: &Curve,
    color: Color,
    again: bool,
) {
    let place = |point: &RatePoint| frame.at(point.parameters, point.rate);
    let line: Vec<_> = curve.best.iter().map(place).collect();
    let stroke = Stroke::solid(color, 2.2);
    scene.line(&line, if again { stroke.dashed(8.0, 4.0) } else { stroke });
}

/// Draws the points: faint those that neither a law was fitted to nor a line joins.
pub(super) fn draw_points(
    scene: &mut Scene,
    frame: &Frame<'_>,
    curve: &Curve,
    color: Color,
    law: Option<&LawCurve>,
    tokenizations: &[Tokenization],
) {
    let place = |point: &RatePoint| frame.at(point.parameters, point.rate);
    let shape = |point: &RatePoint| marker(tokenizations, point.record.tokenization());
    let is_best = |point: &RatePoint| curve.best.iter().any(|best| std::ptr::eq(best, point));
    let (strong, faint): (Vec<&RatePoint>, Vec<&RatePoint>) =
        curve.all().partition(|point| match law {
            Some(law) => law.runs.contains(&point.record.name),
            None => is_best(point),
        });
    for point in faint {
        scene.faint_marker(shape(point), place(point), 3.6, color);
    }
    for point in curve.all() {
        draw_interval(scene, frame, point, color);
    }
    for point in strong {
        // A rim of the ground parts markers that touch.
        scene.marker(shape(point), place(point), HIDDEN, PAPER);
        scene.marker(shape(point), place(point), 4.4, color);
    }
}

/// The bar of an interval, where it is longer than the marker hides.
fn draw_interval(scene: &mut Scene, frame: &Frame<'_>, point: &RatePoint, color: Color) {
    let x = frame.across(point.parameters);
    let Some([low, high]) = point.interval.map(|ends| ends.map(|end| frame.up(end))) else {
        return;
    };
    if low - high > 2.0 * HIDDEN {
        let bar = Stroke::solid(color, 1.3);
        scene.line(&[(x, low), (x, high)], bar);
        for end in [low, high] {
            scene.line(&[(x - 4.0, end), (x + 4.0, end)], bar);
        }
    }
}
