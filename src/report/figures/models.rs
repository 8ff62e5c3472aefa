//! Every model, from thousands of parameters to tens of billions: the plane of the paper's Figure 2, far to the
//! right, where pretrained models are; with their weights and without.

use lmtrain_runs::record::Kind;

use super::Figure;
use super::curves::{Measure, Point, curves, table};
use super::levels::color;
use super::series::{Series, Titled, figure as series_figure};
use crate::report::data::Data;
use crate::report::draw::axis::Unit;
use crate::report::draw::scene::{Marker, Stroke};
use crate::report::draw::theme::MUTED;
use crate::report::names;
use crate::report::reported::{self, Reported};
use crate::report::tables::Table;

/// Raw rates; absent unless a pretrained model was measured.
pub(crate) fn raw(data: &Data) -> Option<Figure> {
    figure(data, Measure::Raw)
}

/// Adjusted rates; absent unless a pretrained model was measured.
pub(crate) fn adjusted(data: &Data) -> Option<Figure> {
    figure(data, Measure::Adjusted)
}

fn figure(data: &Data, measure: Measure) -> Option<Figure> {
    let models = models(data, measure);
    if models.is_empty() {
        return None;
    }
    let mut series = runs(data, measure);
    series.extend(models.iter().map(|(subject, point)| of_model(data, *subject, point)));
    series.extend(theirs(measure));
    let x = Titled { title: "parameters, embeddings included", unit: Unit::Count };
    let title = match measure {
        Measure::Raw => "Raw rate: compressed data / raw data",
        Measure::Adjusted => "Adjusted rate: (compressed data + model) / raw data",
    };
    let y = Titled { title, unit: Unit::Percent };
    let key = vec![
        (Marker::Circle, "trained here".to_owned()),
        (Marker::Diamond, "pretrained".to_owned()),
    ];
    series_figure(series, &x, &y, key, (caption(measure), data_table(data, measure, &models)))
}

/// Pretrained models' points, with what they were measured on.
fn models(data: &Data, measure: Measure) -> Vec<(usize, Point)> {
    let entries = data.entries.iter().filter(|entry| entry.record.kind == Kind::Pretrained);
    let mut points: Vec<(usize, Point)> = entries
        .filter_map(|entry| Some((entry.subject, Point::new(&entry.record, measure)?)))
        .collect();
    points.sort_by(|one, other| one.1.parameters.total_cmp(&other.1.parameters));
    points
}

/// A line for each curve of runs.
fn runs(data: &Data, measure: Measure) -> Vec<Series> {
    let line = |points: super::curves::Points| {
        let subject = points.curve.subject;
        let mut series =
            Series::new(data.subjects[subject].label.clone(), color(subject), Marker::Circle);
        series.notes.push("trained here".to_owned());
        series.points = points.best.iter().map(|point| (point.parameters, point.rate)).collect();
        series
    };
    curves(data, measure).into_iter().map(line).collect()
}

/// A pretrained model: a point with its name.
fn of_model(data: &Data, subject: usize, point: &Point) -> Series {
    let name = point.record.name.rsplit('/').next().unwrap_or(&point.record.name);
    let name = names::masked(name, &point.record);
    let mut series = Series::new(name, color(subject), Marker::Diamond);
    series.notes.push(format!(
        "{}, {}",
        data.subjects[subject].label,
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
fn data_table(data: &Data, measure: Measure, models: &[(usize, Point)]) -> Table {
    let mut made = table(data, measure, &curves(data, measure), &[]);
    if let Some(group) = made.groups.first_mut() {
        let rows = models.iter().map(|(subject, point)| {
            let subject = &data.subjects[*subject].label;
            super::curves::line(
                "measured",
                subject,
                &point.record,
                "",
                (point.rate, point.interval),
            )
        });
        group.rows.extend(rows);
        group
            .rows
            .extend(reported::pretrained().map(|row| super::curves::reported_line(row, measure)));
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
        assert!(raw(&Data::new(Vec::new(), vec![run.clone()])).is_none(), "none was measured");
        let model = samples::pretrained("OWNER/Big-1B", "enwik8", 1_000_000_000, 0.11);
        let data = Data::new(vec![(samples::plan("200K", 0), Vec::new())], vec![run, model]);
        for make in [raw, adjusted] {
            let figure = make(&data).expect("a model was measured");
            let csv = figure.data.csv();
            for words in ["Big-1B", "200K", "Chinchilla 70B", "Llama 2 7B"] {
                assert!(csv.contains(words), "{words}: {csv}");
            }
        }
    }
}
