//! Rate against model size: the paper's Figure 2, with the adjusted rate, and the same with the
//! raw one. One curve for each corpus joins the best run of each size; classical compressors are
//! level lines; the paper's own points are hollow.

use lmtrain_runs::Tokenization;
use lmtrain_runs::record::Chunking;

use super::Figure;
use super::curves::{Curve, InSample, Measure, Point, Points, curves};
use super::fitted::{self, Fitted};
use super::levels::{self, Level, color};
use crate::report::data::Data;
use crate::report::draw::axis::{Axis, Unit};
use crate::report::draw::chart::{Chart, Format, Frame};
use crate::report::draw::labels::{Label, Sample};
use crate::report::draw::scene::{Marker, Scene, Stroke};
use crate::report::draw::text::Weight;
use crate::report::draw::theme::{Color, MUTED, PAPER};
use crate::report::format;
use crate::report::names;
use crate::report::reported;

/// How far from its centre a marker and its rim hide what is below.
const HIDDEN: f64 = 5.8;

/// The paper's Figure 2.
pub(crate) fn adjusted(data: &Data) -> Option<Figure> {
    figure(data, Measure::Adjusted)
}

/// The same without the model's own size.
pub(crate) fn raw(data: &Data) -> Option<Figure> {
    figure(data, Measure::Raw)
}

fn figure(data: &Data, measure: Measure) -> Option<Figure> {
    let curves = curves(data, measure);
    let mut subjects: Vec<usize> = curves.iter().map(|points| points.curve.subject).collect();
    subjects.dedup();
    let levels = levels::levels(data, &subjects);
    let mut chart = chart(data, measure, &curves, &levels)?;
    let ends = [0.0, 1.0].map(|end| chart.x.value(end));
    let laws: Vec<Option<Fitted>> =
        curves.iter().map(|points| Fitted::of(data, points, measure, ends)).collect();
    for (label, law) in chart.labels.iter_mut().zip(&laws) {
        label.notes.extend(law.as_ref().and_then(Fitted::note));
        label.at = law.as_ref().and_then(|law| law.end(&chart.y)).unwrap_or(label.at);
    }
    let caption = caption(measure, &curves, &levels) + &fitted::caption(measure, &laws);
    let table = super::curves::table(data, measure, &curves, &levels);
    let kinds = tokenizations(&curves);
    let draw = move |format: Format| {
        chart.compose(format, |scene, frame| {
            levels::draw(scene, frame, &levels);
            draw_reported(scene, frame, measure);
            laws.iter().flatten().for_each(|law| law.draw(scene, frame));
            for (index, (points, law)) in curves.iter().zip(&laws).enumerate() {
                let again =
                    curves[..index].iter().any(|other| other.curve.subject == points.curve.subject);
                if law.is_none() {
                    draw_line(scene, frame, points, again);
                }
                draw_points(scene, frame, points, law.as_ref(), &kinds);
            }
            laws.iter().flatten().for_each(|law| law.draw_optimum(scene, frame));
        })
    };
    Some(Figure { caption, data: table, draw: Box::new(draw) })
}

fn chart(data: &Data, measure: Measure, curves: &[Points], levels: &[Level]) -> Option<Chart> {
    curves.first()?;
    let points = || curves.iter().flat_map(Points::all);
    let sizes = points().map(|point| point.parameters);
    let x = Axis::over(
        sizes.chain(reported::transformers().map(|row| row.parameters)),
        1.3,
        Unit::Count,
    )?;
    let ends = points().flat_map(|point| point.interval.into_iter().flatten());
    let rates = points().map(|point| point.rate).chain(ends);
    let rates = rates.chain(levels.iter().map(|level| level.rate));
    let y = Axis::over(
        rates.chain(reported::transformers().map(|row| measure.reported(row))),
        1.08,
        Unit::Percent,
    )?;
    let kinds = tokenizations(curves);
    let mut key: Vec<(Marker, String)> =
        kinds.iter().map(|kind| (marker(&kinds, Some(kind)), kind.to_string())).collect();
    if key.len() < 2 {
        key.clear();
    }
    let mut labels = curve_labels(data, curves);
    labels.extend(levels::labels(data, levels, x.high()));
    labels.extend(reported_label(measure));
    Some(Chart {
        y_title: match measure {
            Measure::Adjusted => "Adjusted rate: (compressed data + model) / raw data".into(),
            Measure::Raw => "Raw rate: compressed data / raw data".into(),
        },
        x_title: "parameters, embeddings included".into(),
        x,
        y,
        labels,
        key,
    })
}

/// The tokenizations that occur; each has a marker of its own.
fn tokenizations(curves: &[Points]) -> Vec<Tokenization> {
    let all = curves.iter().flat_map(Points::all);
    let mut kinds: Vec<_> = all.filter_map(|point| point.record.tokenization.clone()).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn marker(kinds: &[Tokenization], kind: Option<&Tokenization>) -> Marker {
    let place = kinds.iter().position(|other| Some(other) == kind).unwrap_or_default();
    Marker::ALL[place % Marker::ALL.len()]
}

fn curve_labels(data: &Data, curves: &[Points]) -> Vec<Label> {
    let varies = |of: fn(&Curve) -> String| {
        curves.iter().any(|points| of(&points.curve) != of(&curves[0].curve))
    };
    let trained = varies(|curve| curve.trained_on.clone().unwrap_or_default());
    let cut = varies(|curve| curve.chunking.to_string());
    let label = |points: &Points| {
        let Points { curve, .. } = points;
        let (last, lowest) = (points.best.last()?, points.lowest()?);
        let subject = &data.subjects[curve.subject];
        let mut notes =
            vec![format!("{}, {}", format::short_bytes(subject.bytes()), in_sample(points))];
        notes.extend(
            curve.trained_on.iter().filter(|_| trained).map(|on| format!("trained on {on}")),
        );
        notes.extend(cut.then(|| names::chunking(curve.chunking)));
        let size =
            lowest.record.size.map_or_else(|| lowest.record.name.clone(), |size| size.to_string());
        notes.push(format!("lowest {} % at {size}", format::percent(lowest.rate / 100.0)));
        Some(Label {
            at: (last.parameters, last.rate),
            name: subject.label.clone(),
            notes,
            color: color(curve.subject),
            weight: Weight::Bold,
            sample: Sample::Line(Stroke::solid(color(curve.subject), 2.2)),
        })
    };
    curves.iter().filter_map(label).collect()
}

/// How much of its data the models of a curve were trained on.
fn in_sample(points: &Points) -> String {
    let shares = points.all().map(|point| point.record.in_sample_share());
    let (low, high) =
        shares.fold((1.0f64, 0.0f64), |(low, high), share| (low.min(share), high.max(share)));
    match points.curve.in_sample {
        InSample::Nothing => "held out".to_owned(),
        InSample::Everything => "in-sample".to_owned(),
        InSample::Part if format::share(low) == format::share(high) => {
            format!("{} in-sample", format::share(low))
        }
        InSample::Part => format!("{} to {} in-sample", format::share(low), format::share(high)),
    }
}

fn reported_label(measure: Measure) -> Option<Label> {
    let last = reported::transformers().last()?;
    let sample = Sample::Hollow(Marker::Circle, Stroke::solid(MUTED, 1.0).dashed(1.5, 3.0));
    Some(Label {
        at: (last.parameters, measure.reported(last)),
        name: format!("{}, as reported", reported::CORPUS),
        notes: Vec::new(),
        color: MUTED,
        weight: Weight::Bold,
        sample,
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

/// Joins the best of each size: what is drawn where no law is.
fn draw_line(scene: &mut Scene, frame: &Frame<'_>, points: &Points, again: bool) {
    let place = |point: &Point| frame.at(point.parameters, point.rate);
    let line: Vec<_> = points.best.iter().map(place).collect();
    let stroke = Stroke::solid(color(points.curve.subject), 2.2);
    scene.line(&line, if again { stroke.dashed(8.0, 4.0) } else { stroke });
}

/// Draws the points: faint those that neither a law was fitted to nor a line joins.
fn draw_points(
    scene: &mut Scene,
    frame: &Frame<'_>,
    points: &Points,
    law: Option<&Fitted>,
    kinds: &[Tokenization],
) {
    let color = color(points.curve.subject);
    let place = |point: &Point| frame.at(point.parameters, point.rate);
    let shape = |point: &Point| marker(kinds, point.record.tokenization.as_ref());
    let is_best = |point: &Point| points.best.iter().any(|best| std::ptr::eq(best, point));
    let (strong, faint): (Vec<&Point>, Vec<&Point>) = points.all().partition(|point| match law {
        Some(law) => law.runs.contains(&point.record.name),
        None => is_best(point),
    });
    for point in faint {
        scene.faint_marker(shape(point), place(point), 3.6, color);
    }
    for point in points.all() {
        draw_interval(scene, frame, point, color);
    }
    for point in strong {
        // A rim of the ground parts markers that touch.
        scene.marker(shape(point), place(point), HIDDEN, PAPER);
        scene.marker(shape(point), place(point), 4.4, color);
    }
}

/// The bar of an interval, where it is longer than the marker hides.
fn draw_interval(scene: &mut Scene, frame: &Frame<'_>, point: &Point, color: Color) {
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

fn caption(measure: Measure, curves: &[Points], levels: &[Level]) -> String {
    let all = || curves.iter().flat_map(Points::all);
    let mut cuts: Vec<Chunking> = curves.iter().map(|points| points.curve.chunking).collect();
    cuts.sort();
    cuts.dedup();
    let cuts: Vec<String> = cuts.into_iter().map(names::chunking).collect();
    let what = match measure {
        Measure::Adjusted => {
            "Compressed data plus model (every parameter at its stated code, and the tokenizer) \
             over raw data: small models predict worse, large ones cost more than they save"
        }
        Measure::Raw => "Compressed over raw data, the model not counted",
    };
    let mut text = format!(
        "{what}. Both axes are logarithmic. Runs compress {}, each from an empty context.",
        names::sentence(&cuts)
    );
    if curves.iter().any(|points| !points.others.is_empty()) {
        text += " Faint are runs that no law is fitted to, nor, where there is none, a line joins as \
                 the lowest of their size.";
    }
    text += " “Held out” bytes were never trained on, “in-sample” ones were.";
    if all().any(|point| point.record.sample.is_some()) {
        text += " Bars are 95 % bootstrap intervals over the sampled chunks, where they exceed the markers.";
    } else if all().any(|point| point.interval.is_some()) {
        text += " Bars are 95 % bootstrap intervals over chunks, where they exceed the markers.";
    }
    if !levels.is_empty() {
        text += " Level lines are classical compressors on the same bytes, dashed where they are \
                 given chunks and solid where they are given the whole.";
    }
    text + &format!(
        " Hollow: as reported by {}, Table 1, for the 10⁹ bytes of enwik9; not ours.",
        reported::SOURCE
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::draw::chart::{NARROW, WIDE};
    use crate::report::samples;

    #[test]
    fn curves_levels_and_reported_points_are_named() {
        let rates = vec![
            samples::rate("200K", "enwik8", 0.30),
            samples::rate("800K", "enwik8", 0.24),
            samples::compressor("gzip", "enwik8", Chunking::Whole, 0.36),
        ];
        let figure = adjusted(&Data::new(Vec::new(), rates)).expect("runs");
        for format in [WIDE, NARROW] {
            let texts: Vec<String> =
                (figure.draw)(format).texts.into_iter().map(|text| text.text).collect();
            for name in ["enwik8", "gzip 9, whole", "enwik9, as reported"] {
                assert_eq!(
                    texts.iter().filter(|text| *text == name).count(),
                    1,
                    "{name}: {texts:?}"
                );
            }
        }
        let csv = figure.data.csv();
        assert_eq!(csv.lines().count(), 1 + 2 + 1 + 3);
        assert_eq!(csv.matches(reported::SOURCE).count(), 3);
    }

    #[test]
    fn compressors_alone_are_no_curve() {
        let rates = vec![samples::compressor("gzip", "enwik8", Chunking::Whole, 0.36)];
        assert!(raw(&Data::new(Vec::new(), rates)).is_none());
    }
}
