//! The compute frontier: validation loss in bits per byte against training compute, one line for each run, and below
//! them the lowest loss that any run reached with at most that much compute.

use super::learning_lines::{draw_validation, labels};
use crate::report::draw::axis::{Axis, Unit};
use crate::report::draw::chart::{Chart, Layout};
use crate::report::draw::scene::Stroke;
use crate::report::draw::theme::INK;
use crate::report::figure::Figure;
use crate::report::records::Records;
use crate::report::table::{Cell, Column, Table};
use crate::report::views::learning::{LearningCurve, learning_curves};

/// Validations before this share of the most arithmetic would squeeze the rest.
const SHOWN: f64 = 1.0 / 10_000.0;

/// The figure; absent before a run was validated.
pub(super) fn figure(records: &Records) -> Option<Figure> {
    let mut curves = learning_curves(records, |run, step| {
        step.tokens as f64 * run.plan.flops_per_token() as f64
    });
    curves.retain(|curve| !curve.validation.is_empty());
    let values = || curves.iter().flat_map(|curve| &curve.validation);
    let most = values().map(|value| value.0).fold(0.0, f64::max);
    let shown = || values().filter(|value| value.0 >= SHOWN * most);
    let x = Axis::over(shown().map(|value| value.0), 1.06, Unit::Power)?;
    let y = Axis::over(shown().map(|value| value.1), 1.03, Unit::Number)?;
    let chart = Chart {
        y_title: "Bits per byte in validation".into(),
        x_title: "training compute, floating-point operations".into(),
        labels: labels(&curves, &y),
        key: Vec::new(),
        x,
        y,
    };
    let frontiers = frontiers(&curves);
    let table = table(&frontiers);
    let draw = move |layout: Layout| {
        chart.compose(layout, |scene, frame| {
            for (_, points) in &frontiers {
                let shown = points.iter().filter(|it| frame.x.holds(it.0) && frame.y.holds(it.1));
                let line: Vec<_> = shown.map(|it| frame.at(it.0, it.1)).collect();
                scene.line(&line, Stroke::solid(INK, 7.0).faint(0.13));
            }
            curves.iter().for_each(|curve| draw_validation(scene, frame, curve));
        })
    };
    Some(Figure { caption: CAPTION.to_owned(), data: table, draw: Box::new(draw) })
}

const CAPTION: &str = "Validation loss of each run against the training compute used up to that step (three \
    forward passes per token, attention included; see “Runs”). Larger networks are darker (brighter on a \
    dark screen). The broad band is the frontier: the lowest loss that any run on that corpus reached with \
    at most that much compute. Both axes are logarithmic. The learning rate falls at the end of a run, so a \
    shorter run may lie below a longer one.";

/// For each corpus the points that no other beats with less arithmetic.
fn frontiers(curves: &[LearningCurve]) -> Vec<(String, Vec<(f64, f64)>)> {
    let mut corpora: Vec<&str> = curves.iter().map(|curve| curve.corpus.as_str()).collect();
    corpora.sort_unstable();
    corpora.dedup();
    let frontier = |corpus: &str| {
        let own = curves.iter().filter(|curve| curve.corpus == corpus);
        let mut points: Vec<(f64, f64)> =
            own.flat_map(|curve| curve.validation.iter().copied()).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut lowest = f64::INFINITY;
        points.retain(|point| {
            let better = point.1 < lowest;
            lowest = lowest.min(point.1);
            better
        });
        (corpus.to_owned(), points)
    };
    corpora.into_iter().map(frontier).collect()
}

fn table(frontiers: &[(String, Vec<(f64, f64)>)]) -> Table {
    let columns = vec![
        Column::text("corpus"),
        Column::number("FLOPs"),
        Column::number("lowest validation bits/byte"),
    ];
    let number = |value: f64| Cell::plain(Some(value));
    let row = |corpus: &String, point: &(f64, f64)| {
        vec![Cell::text(corpus), number(point.0), number(point.1)]
    };
    let rows = frontiers
        .iter()
        .flat_map(|(corpus, points)| points.iter().map(move |point| row(corpus, point)))
        .collect();
    Table::of(columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_frontier_only_falls_and_no_run_is_below_it() {
        let runs = [("200K", 2.4), ("800K", 2.1), ("3.2M", 1.9)].map(|(size, floor)| {
            let plan = samples::plan(size, 0);
            let steps = samples::steps(&plan, floor);
            (plan, steps)
        });
        let records = Records::new(runs.into(), Vec::new());
        let curves = learning_curves(&records, |_, step| step.tokens as f64);
        let (_, frontier) = frontiers(&curves).remove(0);
        assert!(frontier.windows(2).all(|two| two[0].0 <= two[1].0 && two[0].1 > two[1].1));
        for point in curves.iter().flat_map(|curve| &curve.validation) {
            assert!(frontier.iter().any(|best| best.0 <= point.0 && best.1 <= point.1));
        }
        let figure = figure(&records).expect("validations");
        assert!(figure.data.csv().lines().count() > 10);
    }
}
