//! Every model, from thousands of parameters to tens of billions: the plane of the paper's Figure 2, far to the
//! right, where pretrained models are; with their weights and without.

use lmtrain_runs::record::Kind;

use super::{axes, colors, curve_table};
use crate::report::draw::scene::{Marker, Stroke};
use crate::report::draw::series::Series;
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
    let mut series = runs(records, measure);
    series.extend(models.iter().map(|(subject, point)| of_model(records, *subject, point)));
    series.extend(theirs(measure));
    let key = vec![
        (Marker::Circle, "trained here".to_owned()),
        (Marker::Diamond, "pretrained".to_owned()),
    ];
    let (x, y) = (&axes::PARAMETERS, &axes::rate(measure));
    Figure::of_series(series, x, y, key, (caption(measure), table(records, measure, &models)))
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

/// A line for each curve of runs.
fn runs(records: &Records, measure: Measure) -> Vec<Series> {
    let line = |curve: Curve| {
        let subject = curve.condition.subject;
        let (name, color) = (records.subjects[subject].label.clone(), colors::of_subject(subject));
        let mut series = Series::new(name, color, Marker::Circle);
        series.notes.push("trained here".to_owned());
        series.points = curve.best.iter().map(|point| (point.parameters, point.rate)).collect();
        series
    };
    curves(records, measure).into_iter().map(line).collect()
}

/// A pretrained model: a point with its name.
fn of_model(records: &Records, subject: usize, point: &RatePoint) -> Series {
    let name = point.record.name.rsplit('/').next().unwrap_or(&point.record.name);
    let name = names::masked(name, &point.record);
    let mut series = Series::new(name, colors::of_subject(subject), Marker::Diamond);
    series.notes.push(format!(
        "{}, {}",
        records.subjects[subject].label,
        names::short_chunking(point.record.chunking)
    ));
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

fn caption(measure: Measure) -> String {
    let what = match measure {
        Measure::Raw => {
            "Compressed over raw data, the models not counted: more parameters predict better"
        }
        Measure::Adjusted => {
            "Compressed data and model over raw data, every parameter in 2 bytes: what a large model saves is far \
             less than it weighs, until the data are far longer"
        }
    };
    format!(
        "{what}. Both axes are logarithmic. Of runs the best of each size. Pretrained models are told by their \
         names; what they were trained on is not known here, and may hold what they compress. Hollow: as reported \
         by {}, on enwik9; not ours.",
        reported::SOURCE
    )
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
