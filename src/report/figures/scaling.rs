//! Rate against model size: the paper's Figure 2 with the adjusted rate, and the same with the raw rate. One curve for
//! each corpus joins the best run of each size; classical compressors are horizontal lines, and the paper's own points
//! are hollow. Each medium has its own panel.

use lmtrain_runs::record::Chunking;

use super::curve_points::tokenizations;
use super::curve_table;
use super::law_curve::{self, LawCurve};
use super::panels::{Measured, Panel, panels, stacked};
use super::size_panel::{Common, SizePanel};
use crate::report::draw::axis::{Axis, Unit};
use crate::report::draw::chart::Layout;
use crate::report::figure::Figure;
use crate::report::law::Laws;
use crate::report::names;
use crate::report::records::Records;
use crate::report::reported;
use crate::report::views::curves::{Curve, Measure, curves};
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
    let measured = |curve: &Curve| -> Measured {
        (curve.condition.subject, curve.condition.trained_on.clone())
    };
    let panels = panels(records, &curves.iter().map(measured).collect::<Vec<_>>());
    let with_reported = panels.iter().any(|panel| panel.is_text);
    let x = sizes(&curves, with_reported)?;
    let tokenizations = tokenizations(&curves);
    let common = Common { records, laws, measure, x, tokenizations };
    let panel = |panel: &Panel| SizePanel::new(&common, panel.clone(), &curves, &levels);
    let drawn: Vec<SizePanel> = panels.iter().filter_map(panel).collect();
    let laws: Vec<Option<&LawCurve>> =
        drawn.iter().flat_map(|panel| panel.laws.iter().map(Option::as_ref)).collect();
    let mut caption = caption(measure, &curves, &levels);
    caption += &law_curve::caption(measure, &laws);
    caption += panels_caption(&panels);
    if with_reported {
        caption += &format!(
            " Hollow: as reported by {}, Table 1, for the 10⁹ bytes of enwik9; not ours.",
            reported::SOURCE
        );
    }
    let table = curve_table::table(records, measure, &curves, &levels);
    let draw = move |layout: Layout| {
        stacked(layout, drawn.len(), |index, layout| drawn[index].draw(layout))
    };
    Some(Figure { caption, data: table, draw: Box::new(draw) })
}

/// The axis of all sizes, so that those of all panels stand below each other.
fn sizes(curves: &[Curve], with_reported: bool) -> Option<Axis> {
    let sizes = curves.iter().flat_map(Curve::all).map(|point| point.parameters);
    let theirs = reported::transformers().filter(|_| with_reported);
    Axis::over(sizes.chain(theirs.map(|row| row.parameters)), 1.3, Unit::Count)
}

/// What is said of several panels.
fn panels_caption(panels: &[Panel]) -> &'static str {
    match panels.iter().any(Panel::is_by_training) {
        true => {
            " Each panel is of one corpus, and has its own vertical axis. A colour stands for the training \
             data, and is the same in all panels; the table of runs gives the parts of a mixture."
        }
        false if panels.len() > 1 => " Each medium has a panel with its own vertical axis.",
        false => "",
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
            "Compressed data plus model (every parameter in its stated code, and the tokenizer) over raw \
             data: small models predict worse, large ones cost more than they save"
        }
        Measure::Raw => "Compressed size over raw size, the model not counted",
    };
    let mut text = format!(
        "{what}. Both axes are logarithmic. Runs compress {}, each from an empty context.",
        names::sentence(&cuts)
    );
    if curves.iter().any(|curve| !curve.others.is_empty()) {
        text += " Faint markers are runs that the fitted law does not use or, if there is no law, that are \
            not the lowest of their size.";
    }
    text +=
        " The model was never trained on “held out” bytes; it was trained on “in-sample” bytes.";
    if all().any(|point| point.record.excerpt.sample.is_some()) {
        text += " Bars are 95 % bootstrap intervals over the sampled chunks, where they are longer than the \
            markers.";
    } else if all().any(|point| point.interval.is_some()) {
        text += " Bars are 95 % bootstrap intervals over chunks, where they are longer than the markers.";
    }
    if !levels.is_empty() {
        text += " Horizontal lines are classical compressors on the same bytes: dashed on chunks, solid on \
            the whole.";
    }
    text
}

#[cfg(test)]
mod tests {
    use lmtrain_runs::Medium;

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
    fn each_medium_has_a_panel_and_the_paper_is_beside_text_alone() {
        let rate = |corpus: &str, medium, trained_on: &str, share| {
            let mut rate = samples::rate("200K", corpus, share);
            rate.excerpt.medium = Some(medium);
            rate.name = format!("200K-{trained_on}");
            samples::run_facts(&mut rate).trained_on = Some(trained_on.into());
            rate
        };
        let mut rates = Vec::new();
        for (corpus, medium) in [("kodak", Medium::PATCHES), ("enwik8", Medium::Text)] {
            rates.push(rate(corpus, medium, "enwik8", 0.3));
            rates.push(rate(corpus, medium, "kodak", 0.9));
            let mut gzip = samples::compressor("gzip", corpus, Chunking::Whole, 0.5);
            gzip.excerpt.medium = Some(medium);
            rates.push(gzip);
        }
        let mut records = Records::new(Vec::new(), rates);
        let figure = raw(&records, &Laws::default()).expect("runs");
        for layout in [WIDE, NARROW] {
            let scene = (figure.draw)(layout);
            let places = |start: &str| -> Vec<f64> {
                let own = scene.texts.iter().filter(|text| text.text.starts_with(start));
                own.map(|text| text.at.1).collect()
            };
            let (text, image) = (places("Raw rate of enwik8: text"), places("Raw rate of kodak"));
            assert!(text[0] < image[0], "text first: {:?}", scene.texts);
            for name in ["gzip 9, whole", "trained on enwik8", "trained on kodak"] {
                let of = places(name);
                assert_eq!(of.len(), 2, "{name}: {:?}", scene.texts);
                assert!(of[0] < image[0] && image[0] < of[1], "one in each panel");
            }
            let reported = places("enwik9, as reported");
            assert!(reported.len() == 1 && reported[0] < image[0], "beside text");
            assert!(scene.texts.iter().all(|text| text.at.1 < scene.height));
        }
        assert!(figure.caption.contains("Each panel is of one corpus"), "{}", figure.caption);
        records.compared.retain(|it| records.subjects[it.subject].medium != Medium::Text);
        let images = raw(&records, &Laws::default()).expect("runs");
        let scene = (images.draw)(WIDE);
        assert!(scene.texts.iter().all(|text| !text.text.contains("reported")), "no text");
        assert!(!images.caption.contains("Hollow"), "{}", images.caption);
    }

    #[test]
    fn compressors_alone_are_no_curve() {
        let rates = vec![samples::compressor("gzip", "enwik8", Chunking::Whole, 0.36)];
        assert!(raw(&Records::new(Vec::new(), rates), &Laws::default()).is_none());
    }
}
