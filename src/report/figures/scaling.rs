//! Rate against model size: the paper's Figure 2, with the adjusted rate, and the same with the
//! raw one. One curve for each corpus joins the best run of each size; classical compressors are
//! level lines; the paper's own points are hollow.

use lmtrain_runs::record::Chunking;

use super::curve_points::{draw_line, draw_points, marker, tokenizations};
use super::law_curve::{self, LawCurve};
use super::{axes, colors, curve_table, level_lines};
use crate::report::draw::axis::{Axis, Unit};
use crate::report::draw::chart::{Chart, Frame, Layout};
use crate::report::draw::labels::{Label, Swatch};
use crate::report::draw::scene::{Marker, Scene, Stroke};
use crate::report::draw::text::Weight;
use crate::report::draw::theme::MUTED;
use crate::report::figure::Figure;
use crate::report::format;
use crate::report::law::Laws;
use crate::report::names;
use crate::report::records::Records;
use crate::report::reported;
use crate::report::views::curves::{Condition, Curve, InSample, Measure, curves};
use crate::report::views::levels::{Level, levels};

/// The paper's Figure 2.
pub(super) fn adjusted(records: &Records, laws: &Laws) -> Option<Figure> {
    figure(records, laws, Measure::Adjusted)
}

/// The same without the model's own size.
pub(super) fn raw(records: &Records, laws: &Laws) -> Option<Figure> {
    figure(records, laws, Measure::Raw)
}

fn figure(records: &Records, laws: &Laws, measure: Measure) -> Option<Figure> {
    let curves = curves(records, measure);
    let mut subjects: Vec<usize> = curves.iter().map(|curve| curve.condition.subject).collect();
    subjects.dedup();
    let levels = levels(records, &subjects);
    let mut chart = chart(records, measure, &curves, &levels)?;
    let ends = [0.0, 1.0].map(|end| chart.x.value(end));
    let of_law = |curve| LawCurve::of(records, laws, curve, measure, ends);
    let laws: Vec<Option<LawCurve>> = curves.iter().map(of_law).collect();
    for (label, law) in chart.labels.iter_mut().zip(&laws) {
        label.notes.extend(law.as_ref().and_then(LawCurve::note));
        label.at = law.as_ref().and_then(|law| law.end(&chart.y)).unwrap_or(label.at);
    }
    let caption = caption(measure, &curves, &levels) + &law_curve::caption(measure, &laws);
    let table = curve_table::table(records, measure, &curves, &levels);
    let tokenizations = tokenizations(&curves);
    let draw = move |layout: Layout| {
        chart.compose(layout, |scene, frame| {
            level_lines::draw(scene, frame, &levels);
            draw_reported(scene, frame, measure);
            laws.iter().flatten().for_each(|law| law.draw(scene, frame));
            for (index, (curve, law)) in curves.iter().zip(&laws).enumerate() {
                let subject = curve.condition.subject;
                let again = curves[..index].iter().any(|it| it.condition.subject == subject);
                if law.is_none() {
                    draw_line(scene, frame, curve, again);
                }
                draw_points(scene, frame, curve, law.as_ref(), &tokenizations);
            }
            laws.iter().flatten().for_each(|law| law.draw_optimum(scene, frame));
        })
    };
    Some(Figure { caption, data: table, draw: Box::new(draw) })
}

fn chart(records: &Records, measure: Measure, curves: &[Curve], levels: &[Level]) -> Option<Chart> {
    curves.first()?;
    let points = || curves.iter().flat_map(Curve::all);
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
    let tokenizations = tokenizations(curves);
    let mut key: Vec<(Marker, String)> =
        tokenizations.iter().map(|it| (marker(&tokenizations, Some(it)), it.to_string())).collect();
    if key.len() < 2 {
        key.clear();
    }
    let mut labels = curve_labels(records, curves);
    labels.extend(level_lines::labels(records, levels, x.high()));
    labels.extend(reported_label(measure));
    Some(Chart {
        y_title: axes::rate(measure).title.into(),
        x_title: axes::PARAMETERS.title.into(),
        x,
        y,
        labels,
        key,
    })
}

fn curve_labels(records: &Records, curves: &[Curve]) -> Vec<Label> {
    let varies = |of: fn(&Condition) -> String| {
        curves.iter().any(|curve| of(&curve.condition) != of(&curves[0].condition))
    };
    let trained = varies(|condition| condition.trained_on.clone().unwrap_or_default());
    let cut = varies(|condition| condition.chunking.to_string());
    let label = |curve: &Curve| {
        let Condition { subject, chunking, trained_on, .. } = &curve.condition;
        let (last, lowest) = (curve.best.last()?, curve.lowest()?);
        let color = colors::of_subject(*subject);
        let subject = &records.subjects[*subject];
        let mut notes =
            vec![format!("{}, {}", format::short_bytes(subject.bytes()), in_sample(curve))];
        notes.extend(trained_on.iter().filter(|_| trained).map(|on| format!("trained on {on}")));
        notes.extend(cut.then(|| names::chunking(*chunking)));
        let size = lowest
            .record
            .size()
            .map_or_else(|| lowest.record.name.clone(), |size| size.to_string());
        notes.push(format!("lowest {} % at {size}", format::percent(lowest.rate / 100.0)));
        Some(Label {
            at: (last.parameters, last.rate),
            name: subject.label.clone(),
            notes,
            color,
            weight: Weight::Bold,
            swatch: Swatch::Line(Stroke::solid(color, 2.2)),
        })
    };
    curves.iter().filter_map(label).collect()
}

/// How much of its data the models of a curve were trained on.
fn in_sample(curve: &Curve) -> String {
    let shares = curve.all().map(|point| point.record.in_sample_share());
    let (low, high) =
        shares.fold((1.0f64, 0.0f64), |(low, high), share| (low.min(share), high.max(share)));
    match curve.condition.in_sample {
        InSample::HeldOut => "held out".to_owned(),
        InSample::Wholly => "in-sample".to_owned(),
        InSample::Partly if format::share(low) == format::share(high) => {
            format!("{} in-sample", format::share(low))
        }
        InSample::Partly => format!("{} to {} in-sample", format::share(low), format::share(high)),
    }
}

fn reported_label(measure: Measure) -> Option<Label> {
    let last = reported::transformers().last()?;
    let swatch = Swatch::Hollow(Marker::Circle, Stroke::solid(MUTED, 1.0).dashed(1.5, 3.0));
    Some(Label {
        at: (last.parameters, measure.reported(last)),
        name: reported::head(),
        notes: Vec::new(),
        color: MUTED,
        weight: Weight::Bold,
        swatch,
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

fn caption(measure: Measure, curves: &[Curve], levels: &[Level]) -> String {
    let all = || curves.iter().flat_map(Curve::all);
    let mut cuts: Vec<Chunking> = curves.iter().map(|curve| curve.condition.chunking).collect();
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
    if curves.iter().any(|curve| !curve.others.is_empty()) {
        text += " Faint are runs that no law is fitted to, nor, where there is none, a line joins as \
                 the lowest of their size.";
    }
    text += " “Held out” bytes were never trained on, “in-sample” ones were.";
    if all().any(|point| point.record.excerpt.sample.is_some()) {
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
        let figure = adjusted(&Records::new(Vec::new(), rates), &Laws::default()).expect("runs");
        for layout in [WIDE, NARROW] {
            let texts: Vec<String> =
                (figure.draw)(layout).texts.into_iter().map(|text| text.text).collect();
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
        assert!(raw(&Records::new(Vec::new(), rates), &Laws::default()).is_none());
    }
}
