//! Adjusted rate under several codes of the weights, each measured by decoding and evaluating them:
//! fewer bits cost a little prediction and save much model.

use lmtrain_runs::Tokenization;
use lmtrain_runs::record::WeightCode;

use super::Figure;
use super::curves::{Curve, Measure};
use super::series::{Series, Titled, figure as series_figure};
use crate::report::data::{Data, Entry};
use crate::report::draw::axis::Unit;
use crate::report::draw::scene::Marker;
use crate::report::draw::theme::CATEGORIES;
use crate::report::names;
use crate::report::tables::weight_codes::table;

/// The rates of runs that were measured under several codes, on one subject in one chunking: those
/// of most codes first.
pub(crate) fn coded(data: &Data) -> Vec<(Curve, Vec<&Entry>)> {
    let mut curves: Vec<(Curve, Vec<&Entry>)> = Vec::new();
    for entry in &data.rates {
        let Some(curve) = Curve::of(entry) else { continue };
        match curves.iter_mut().find(|other| other.0 == curve) {
            Some(other) => other.1.push(entry),
            None => curves.push((curve, vec![entry])),
        }
    }
    for (_, entries) in &mut curves {
        let all = entries.clone();
        // Codes are compared on the same bytes with the same weights.
        entries.retain(|entry| {
            all.iter().any(|other| {
                other.record.name == entry.record.name
                    && other.record.sample == entry.record.sample
                    && code(other) != code(entry)
            })
        });
    }
    curves.retain(|(_, entries)| !entries.is_empty());
    curves.sort_by_key(|(_, entries)| std::cmp::Reverse(entries.len()));
    curves
}

/// The code that a rate was measured under.
pub(crate) fn code(entry: &Entry) -> WeightCode {
    entry.record.weight_code.unwrap_or(WeightCode::F16)
}

/// The figure; absent before a run was measured under several codes.
pub(crate) fn figure(data: &Data) -> Option<Figure> {
    let (curve, mut entries) = coded(data).into_iter().next()?;
    // One line a code: runs of the tokenization that most were measured with.
    let of_tokenization = |name: &Option<Tokenization>| {
        entries.iter().filter(|entry| entry.record.tokenization == *name).count()
    };
    let most = entries.iter().map(|entry| &entry.record.tokenization);
    let most = most.max_by_key(|name| of_tokenization(name))?.clone();
    entries.retain(|entry| entry.record.tokenization == most);
    let series = WeightCode::ALL.iter().enumerate().map(|(index, of)| {
        let marker = Marker::ALL[index % Marker::ALL.len()];
        let mut series = Series::new(of.name(), CATEGORIES[index], marker);
        let own = entries.iter().filter(|entry| code(entry) == *of);
        let point = |entry: &&Entry| {
            Some((entry.record.parameters? as f64, Measure::Adjusted.of(&entry.record)?))
        };
        series.points = own.filter_map(point).collect();
        series
            .points
            .sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
        series.points.dedup_by_key(|point| point.0);
        series
    });
    let series: Vec<Series> = series.filter(|series| !series.points.is_empty()).collect();
    let x = Titled { title: "parameters, embeddings included", unit: Unit::Count };
    let y = Titled {
        title: "Adjusted rate: (compressed data + model) / raw data",
        unit: Unit::Percent,
    };
    let caption = format!(
        "The adjusted rate on {}, {}, by how the weights are stored. Each code is measured: the \
         weights are coded, decoded, and the network evaluated with what came back; the model's cost \
         is the bytes of that code. Runs save their best weights in half precision, so f16 is what \
         all other figures show, and f32 is the same numbers in twice the room. int8 has a \
         half-precision scale for each row of a matrix; int8-xz is the same under LZMA2, preset 9e. \
         The lowest of each size; both axes are logarithmic.",
        data.subjects[curve.subject].label,
        names::chunking(curve.chunking),
    );
    series_figure(series, &x, &y, Vec::new(), (caption, table(data)?))
}
