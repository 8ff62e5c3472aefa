//! Learning curves: bits per byte against tokens seen, one line a run; validation thick, training
//! thin.

use lmtrain_runs::{LADDER, Size, StepRecord};

use super::Figure;
use crate::report::data::{Data, RunData};
use crate::report::draw::axis::{Axis, Unit};
use crate::report::draw::chart::{Chart, Format, Frame};
use crate::report::draw::labels::{Label, Sample};
use crate::report::draw::scene::{Marker, Point, Scene, Stroke};
use crate::report::draw::text::Weight;
use crate::report::draw::theme::{Color, RAMP};
use crate::report::names;
use crate::report::tables::{Cell, Column, Group, Table};

/// One run's curves: (what was spent, bits per byte).
#[derive(Clone, Debug)]
pub(super) struct Curve {
    name: String,
    size: Size,
    color: Color,
    /// What it learned and was validated on.
    pub(super) corpus: String,
    /// How many runs of the same size come before it.
    sibling: usize,
    training: Vec<(f64, f64)>,
    pub(super) validation: Vec<(f64, f64)>,
}

/// More labels than this would be a list, not a figure: then each size is named once.
const MOST_LABELS: usize = 20;
/// The highest value that is shown, in bits per byte: that of knowing nothing.
const NOTHING_KNOWN: f64 = 8.0;

/// The figure; absent before a run has logged a step.
pub(crate) fn figure(data: &Data) -> Option<Figure> {
    let curves = curves(data, |_, step| step.tokens as f64);
    let values = || curves.iter().flat_map(|curve| curve.training.iter().chain(&curve.validation));
    // The first steps of all runs look alike, and would leave little room for the others.
    let most = values().map(|value| value.0).fold(0.0, f64::max);
    let begin = values().map(|value| value.0).fold(most, f64::min).max(most / 3000.0);
    let x = Axis::over([begin, most], 1.04, Unit::Count)?;
    let heights = values().filter(|value| value.0 >= begin).map(|value| value.1);
    let y = Axis::over(heights.filter(|bits| *bits <= NOTHING_KNOWN), 1.03, Unit::Number)?;
    let chart = Chart {
        y_title: "Bits per byte, validation (thick) and training (thin)".into(),
        x_title: "training tokens seen".into(),
        labels: labels(&curves, &y),
        key: Vec::new(),
        x,
        y,
    };
    let (caption, table) = (caption(data), table(data));
    let draw = move |format: Format| {
        chart.compose(format, |scene, frame| {
            for curve in &curves {
                let training = binned(frame, &curve.training);
                scene.line(&training, Stroke::solid(curve.color, 0.8).faint(0.5));
            }
            for curve in &curves {
                draw_validation(scene, frame, curve);
            }
        })
    };
    Some(Figure { caption, data: table, draw: Box::new(draw) })
}

/// The curves of all runs against what a step had spent.
pub(super) fn curves(data: &Data, spent: fn(&RunData, &StepRecord) -> f64) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for run in &data.runs {
        let RunData { plan, steps, label } = run;
        if steps.is_empty() {
            continue;
        }
        let training = steps.iter().map(|step| (spent(run, step), step.train_bits_per_byte));
        let validation = steps
            .iter()
            .filter_map(|step| Some((spent(run, step), step.validation_bits_per_byte?)));
        curves.push(Curve {
            name: label.clone(),
            size: plan.size,
            color: size_color(plan.size),
            corpus: plan.corpus.clone(),
            sibling: curves.iter().filter(|before| before.size == plan.size).count(),
            training: training.filter(|value| value.1.is_finite()).collect(),
            validation: validation.filter(|value| value.1.is_finite()).collect(),
        });
    }
    curves
}

/// The colour of a size: its place on the ladder.
pub(super) fn size_color(size: Size) -> Color {
    let place = LADDER.iter().rposition(|(_, row)| *row <= size).unwrap_or_default();
    RAMP[place.min(RAMP.len() - 1)]
}

fn stroke(curve: &Curve) -> Stroke {
    let line = Stroke::solid(curve.color, 2.0);
    match curve.sibling % 4 {
        0 => line,
        1 => line.dashed(8.0, 3.0),
        2 => line.dashed(4.0, 2.5),
        _ => line.dashed(1.5, 2.5),
    }
}

pub(super) fn labels(curves: &[Curve], y: &Axis) -> Vec<Label> {
    let crowded = curves.len() > MOST_LABELS;
    let label = |curve: &Curve| {
        let shown =
            |values: &[(f64, f64)]| values.iter().rev().find(|value| y.holds(value.1)).copied();
        let end = shown(&curve.validation).or_else(|| shown(&curve.training))?;
        Some(Label {
            at: end,
            name: if crowded { of_size(curves, curve) } else { curve.name.clone() },
            notes: Vec::new(),
            color: curve.color,
            weight: Weight::Bold,
            sample: Sample::Line(stroke(curve)),
        })
    };
    curves.iter().filter(|curve| !crowded || curve.sibling == 0).filter_map(label).collect()
}

/// The name that all curves of a size share: `3.2M, 9 runs`.
fn of_size(curves: &[Curve], curve: &Curve) -> String {
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

/// Draws the thick line of a run, and its end.
pub(super) fn draw_validation(scene: &mut Scene, frame: &Frame<'_>, curve: &Curve) {
    let shown = curve.validation.iter();
    let shown = shown.filter(|value| frame.x.holds(value.0) && frame.y.holds(value.1));
    let points: Vec<Point> = shown.map(|value| frame.at(value.0, value.1)).collect();
    scene.line(&points, stroke(curve));
    let training = || binned(frame, &curve.training).last().copied();
    if let Some(last) = points.last().copied().or_else(training) {
        scene.marker(Marker::Circle, last, 3.6, curve.color);
    }
}

fn caption(data: &Data) -> String {
    let mut corpora: Vec<String> = Vec::new();
    for run in data.runs.iter().filter(|run| !run.steps.is_empty()) {
        if !corpora.contains(&run.plan.corpus) {
            corpora.push(run.plan.corpus.clone());
        }
    }
    let crowded = data.runs.len() > MOST_LABELS;
    let named = if crowded {
        " Runs of a size share a colour and a name; the CSV tells them apart."
    } else {
        ""
    };
    format!(
        "How the runs on {} learn: thick, bits per byte on the part of the corpus kept for \
         validation; thin, the mean training loss in the same unit. Darker is larger (on a dark \
         screen, brighter). Both axes are logarithmic; the first steps, and what lies above 8 bits \
         per byte, are left out.{named}",
        names::sentence(&corpora)
    )
}

fn table(data: &Data) -> Table {
    let mut columns = vec![Column::text("run")];
    columns.extend(
        ["step", "tokens", "training bits/byte", "validation bits/byte"].map(Column::number),
    );
    let mut rows = Vec::new();
    for run in &data.runs {
        for step in &run.steps {
            let numbers = [
                Some(step.step as f64),
                Some(step.tokens as f64),
                Some(step.train_bits_per_byte),
                step.validation_bits_per_byte,
            ];
            let numbers = numbers.map(Cell::plain);
            rows.push([Cell::text(&run.plan.name)].into_iter().chain(numbers).collect());
        }
    }
    Table { columns, groups: vec![Group { rows, ..Group::default() }], ..Table::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::draw::chart::WIDE;
    use crate::report::samples;

    #[test]
    fn a_run_is_a_line_and_many_are_named_by_size() {
        let run = |seed| {
            let plan = samples::plan("200K", seed);
            let steps = samples::steps(&plan, 2.0);
            (plan, steps)
        };
        for count in [1, 3, 25] {
            let data = Data::new((0..count).map(run).collect(), Vec::new());
            let figure = figure(&data).expect("steps");
            let scene = (figure.draw)(WIDE);
            let names = scene.texts.iter().filter(|text| text.weight == Weight::Bold);
            let labels = names.filter(|text| text.text.starts_with("200K")).count();
            assert_eq!(labels, if count == 25 { 1 } else { usize::try_from(count).expect("few") });
            assert!(scene.width == WIDE.width && scene.height < 700.0);
        }
    }

    #[test]
    fn no_steps_no_figure() {
        assert!(
            figure(&Data::new(vec![(samples::plan("200K", 0), Vec::new())], Vec::new())).is_none()
        );
    }
}
