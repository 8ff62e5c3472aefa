//! Every model, from thousands to tens of billions of parameters: the paper's Figure 2 extended to the right, to
//! pretrained models; with and without their weights.

use lmtrain_runs::record::Kind;

use super::panels::{Measured, Panel, panels, stacked};
use super::{axes, curve_table};
use crate::report::draw::chart::{Chart, Layout};
use crate::report::draw::scene::{Marker, Stroke};
use crate::report::draw::series::{self, Series};
use crate::report::draw::theme::MUTED;
use crate::report::figure::Figure;
use crate::report::names;
use crate::report::records::Records;
use crate::report::reported::{self, Reported};
use crate::report::table::Table;
use crate::report::views::curves::{Curve, Measure, RatePoint, curves};

/// Raw rates; absent unless a pretrained model was measured.
pub(super) fn raw(records: &Records) -> Option<Figure> {
    figure(records, Measure::Raw)
}

/// Adjusted rates; absent unless a pretrained model was measured.
pub(super) fn adjusted(records: &Records) -> Option<Figure> {
    figure(records, Measure::Adjusted)
}

fn figure(records: &Records, measure: Measure) -> Option<Figure> {
    let models = models(records, measure);
    if models.is_empty() {
        return None;
    }
    let curves = curves(records, measure);
    let run = |curve: &Curve| -> Measured {
        (curve.condition.subject, curve.condition.trained_on.clone())
    };
    let measured = curves.iter().map(run).chain(models.iter().map(|(subject, _)| (*subject, None)));
    let panels = panels(records, &measured.collect::<Vec<_>>());
    let with_reported = panels.iter().any(|panel| panel.is_text);
    let drawn: Vec<(Chart, Vec<Series>)> = panels
        .iter()
        .filter_map(|panel| {
            let own = curves.iter().filter(|curve| panel.holds(curve.condition.subject));
            let mut series: Vec<Series> =
                own.map(|curve| of_curve(records, panel, curve)).collect();
            let own = models.iter().filter(|(subject, _)| panel.holds(*subject));
            series.extend(own.map(|(subject, point)| of_model(records, panel, *subject, point)));
            series.extend(theirs(measure).into_iter().filter(|_| panel.is_text));
            Some((chart(panel, measure, &series)?, series))
        })
        .collect();
    let draw = move |layout: Layout| {
        stacked(layout, drawn.len(), |index, layout| {
            let (chart, series) = &drawn[index];
            chart.compose(layout, |scene, frame| series::draw(scene, frame, series))
        })
    };
    Some(Figure {
        caption: caption(measure, panels.len(), with_reported),
        data: table(records, measure, &models),
        draw: Box::new(draw),
    })
}

fn chart(panel: &Panel, measure: Measure, series: &[Series]) -> Option<Chart> {
    let [x, (_, y)] = series::axes(series, &axes::PARAMETERS, &axes::rate(measure))?;
    let key = vec![
        (Marker::Circle, "trained here".to_owned()),
        (Marker::Diamond, "pretrained".to_owned()),
    ];
    Some(series::chart(series, [x, (panel.title(measure), y)], key))
}

/// Pretrained models' points, with what they were measured on.
fn models(records: &Records, measure: Measure) -> Vec<(usize, RatePoint)> {
    let measurements =
        records.compared.iter().filter(|measurement| measurement.record.kind() == Kind::Pretrained);
    let mut points: Vec<(usize, RatePoint)> = measurements
        .filter_map(|measurement| {
            Some((measurement.subject, RatePoint::new(&measurement.record, measure)?))
        })
        .collect();
    points.sort_by(|one, other| one.1.parameters.total_cmp(&other.1.parameters));
    points
}

/// The line of a curve of runs.
fn of_curve(records: &Records, panel: &Panel, curve: &Curve) -> Series {
    let (subject, training) = (curve.condition.subject, curve.condition.trained_on.as_deref());
    let name = panel.name(records, subject, training);
    let mut series = Series::new(name, panel.color(subject, training), Marker::Circle);
    if !panel.is_by_training() {
        series.notes.push("trained here".to_owned());
    }
    series.points = curve.best.iter().map(|point| (point.parameters, point.rate)).collect();
    series
}

/// A pretrained model: a point with its name.
fn of_model(records: &Records, panel: &Panel, subject: usize, point: &RatePoint) -> Series {
    let name = point.record.name.rsplit('/').next().unwrap_or(&point.record.name);
    let name = names::masked(name, &point.record);
    let mut series = Series::new(name, panel.color(subject, None), Marker::Diamond);
    let chunking = names::short_chunking(point.record.chunking);
    series.notes.push(match panel.is_by_training() {
        true => chunking,
        false => format!("{}, {chunking}", records.subjects[subject].label),
    });
    series.points = vec![(point.parameters, point.rate)];
    series
}

/// What the paper reports: its Transformers, Chinchilla at three sizes, Llama 2.
fn theirs(measure: Measure) -> Vec<Series> {
    let line = |name: &str, marker, rows: Vec<&Reported>| {
        let mut series = Series::reported(format!("{name}, as reported"), MUTED, marker);
        let place = |row: &&Reported| (row.parameters, measure.reported(row));
        series.points = rows.iter().map(place).collect();
        if series.points.len() == 1 {
            series.stroke = Stroke::solid(MUTED, 1.1);
        }
        series
    };
    let named = |name: &str| {
        reported::pretrained().filter(|row| row.name.starts_with(name)).collect::<Vec<_>>()
    };
    vec![
        line("Transformers", Marker::Circle, reported::transformers().collect()),
        line("Chinchilla", Marker::Diamond, named("Chinchilla")),
        line("Llama 2 7B", Marker::Diamond, named("Llama 2")),
    ]
}

fn caption(measure: Measure, panels: usize, with_reported: bool) -> String {
    let what = match measure {
        Measure::Raw => {
            "Compressed size over raw size, the models not counted: more parameters predict better"
        }
        Measure::Adjusted => {
            "Compressed data plus model over raw data, with 2 bytes for every parameter: a large model costs \
             far more than it saves, unless the data are much longer"
        }
    };
    let mut text = format!(
        "{what}. Both axes are logarithmic. Of the runs, the best of each size is shown. Pretrained models \
         are labelled with their names; their training data are not known here, and may include the data \
         that they compress."
    );
    if panels > 1 {
        text += " Each panel has its own axes.";
    }
    if with_reported {
        let source = reported::SOURCE;
        text += &format!(" Hollow: as reported by {source}, on enwik9; not ours.");
    }
    text
}

/// The curves' table, and the pretrained models in it.
fn table(records: &Records, measure: Measure, models: &[(usize, RatePoint)]) -> Table {
    let mut made = curve_table::table(records, measure, &curves(records, measure), &[]);
    if let Some(group) = made.groups.first_mut() {
        let rows = models.iter().map(|(subject, point)| {
            let subject = &records.subjects[*subject].label;
            let rates = (point.rate, point.interval);
            curve_table::line("measured", subject, &point.record, "", rates)
        });
        group.rows.extend(rows);
        let theirs = reported::pretrained().map(|row| curve_table::reported_line(row, measure));
        group.rows.extend(theirs);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn pretrained_models_stand_beside_runs_and_what_is_reported() {
        let run = samples::rate("200K", "enwik8", 0.3);
        assert!(raw(&Records::new(Vec::new(), vec![run.clone()])).is_none(), "none was measured");
        let model = samples::pretrained("OWNER/Big-1B", "enwik8", 1_000_000_000, 0.11);
        let records = Records::new(vec![(samples::plan("200K", 0), Vec::new())], vec![run, model]);
        for make in [raw, adjusted] {
            let figure = make(&records).expect("a model was measured");
            let csv = figure.data.csv();
            for words in ["Big-1B", "200K", "Chinchilla 70B", "Llama 2 7B"] {
                assert!(csv.contains(words), "{words}: {csv}");
            }
        }
    }
}
