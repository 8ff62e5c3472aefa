//! The labels of a figure of rates against size: for each curve, what it shows and its lowest rate; and the labels of
//! the paper's points.

use super::panels::Panel;
use crate::report::draw::labels::{Label, Swatch};
use crate::report::draw::scene::{Marker, Stroke};
use crate::report::draw::text::Weight;
use crate::report::draw::theme::MUTED;
use crate::report::format;
use crate::report::names;
use crate::report::records::Records;
use crate::report::reported;
use crate::report::views::curves::{Condition, Curve, InSample, Measure};

/// A label for each curve of a panel.
pub(super) fn curve_labels(records: &Records, panel: &Panel, curves: &[Curve]) -> Vec<Label> {
    let varies = |of: fn(&Condition) -> String| {
        curves.iter().any(|curve| of(&curve.condition) != of(&curves[0].condition))
    };
    let is_trained_variously = varies(|condition| condition.trained_on.clone().unwrap_or_default());
    let is_cut_variously = varies(|condition| condition.chunking.to_string());
    let label = |curve: &Curve| {
        let Condition { subject, chunking, trained_on, .. } = &curve.condition;
        let (last, lowest) = (curve.best.last()?, curve.lowest()?);
        let color = panel.color(*subject, trained_on.as_deref());
        let mut notes = Vec::new();
        if panel.is_by_training() {
            notes.push(in_sample(curve));
        } else {
            let length = format::short_bytes(records.subjects[*subject].bytes());
            notes.push(format!("{length}, {}", in_sample(curve)));
            let trained_on = trained_on.iter().filter(|_| is_trained_variously);
            notes.extend(trained_on.map(|on| format!("trained on {}", records.trained_on(on))));
        }
        notes.extend(is_cut_variously.then(|| names::chunking(*chunking)));
        let size = lowest
            .record
            .size()
            .map_or_else(|| lowest.record.name.clone(), |size| size.to_string());
        notes.push(format!("lowest {} % at {size}", format::percent(lowest.rate / 100.0)));
        if panel.is_by_training() {
            notes = vec![notes.join(", ")];
        }
        Some(Label {
            at: (last.parameters, last.rate),
            name: panel.name(records, *subject, trained_on.as_deref()),
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

/// That of the paper's Transformers.
pub(super) fn reported_label(measure: Measure) -> Option<Label> {
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
