//! Learning curves: bits per byte against tokens seen, one line a run; validation thick, training
//! thin.

use super::learning_lines::{MOST_LABELS, draw_training, draw_validation, labels};
use crate::report::draw::axis::{Axis, Unit};
use crate::report::draw::chart::{Chart, Layout};
use crate::report::figure::Figure;
use crate::report::names;
use crate::report::records::Records;
use crate::report::table::{Cell, Column, Table};
use crate::report::views::learning::learning_curves;

/// The highest value that is shown, in bits per byte: that of knowing nothing.
const NOTHING_KNOWN: f64 = 8.0;

/// The figure; absent before a run has logged a step.
pub(super) fn figure(records: &Records) -> Option<Figure> {
    let curves = learning_curves(records, |_, step| step.tokens as f64);
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
    let (caption, table) = (caption(records), table(records));
    let draw = move |layout: Layout| {
        chart.compose(layout, |scene, frame| {
            curves.iter().for_each(|curve| draw_training(scene, frame, curve));
            curves.iter().for_each(|curve| draw_validation(scene, frame, curve));
        })
    };
    Some(Figure { caption, data: table, draw: Box::new(draw) })
}

fn caption(records: &Records) -> String {
    let mut corpora: Vec<String> = Vec::new();
    for run in records.runs.iter().filter(|run| !run.steps.is_empty()) {
        if !corpora.contains(&run.plan.corpus) {
            corpora.push(run.plan.corpus.clone());
        }
    }
    let crowded = records.runs.len() > MOST_LABELS;
    let named = if crowded {
        " Runs of one size share a colour and a name; the CSV file distinguishes them."
    } else {
        ""
    };
    format!(
        "Learning curves of the runs on {}: thick lines are bits per byte on the validation part of the \
         corpus, thin lines the mean training loss in the same unit. Larger networks are darker (brighter on \
         a dark screen). Both axes are logarithmic. The first steps, and values above 8 bits per byte, are \
         left out.{named}",
        names::sentence(&corpora)
    )
}

fn table(records: &Records) -> Table {
    let mut columns = vec![Column::text("run")];
    columns.extend(
        ["step", "tokens", "training bits/byte", "validation bits/byte"].map(Column::number),
    );
    let mut rows = Vec::new();
    for run in &records.runs {
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
    Table::of(columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::draw::chart::WIDE;
    use crate::report::draw::text::Weight;
    use crate::report::samples;

    #[test]
    fn a_run_is_a_line_and_many_are_named_by_size() {
        let run = |seed| {
            let plan = samples::plan("200K", seed);
            let steps = samples::steps(&plan, 2.0);
            (plan, steps)
        };
        for count in [1, 3, 25] {
            let records = Records::new((0..count).map(run).collect(), Vec::new());
            let figure = figure(&records).expect("steps");
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
            figure(&Records::new(vec![(samples::plan("200K", 0), Vec::new())], Vec::new()))
                .is_none()
        );
    }
}
