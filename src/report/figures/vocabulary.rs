//! Raw rate against vocabulary: the paper's Table 2 as a figure, one line a size, the paper's own
//! numbers hollow beside.

use std::collections::BTreeMap;

use lmtrain_runs::{RateRecord, Size};

use super::Figure;
use super::curves::{Curve, Measure};
use super::learning::size_color;
use super::series::{Series, Titled, figure as series_figure};
use crate::report::data::Data;
use crate::report::draw::axis::Unit;
use crate::report::draw::scene::Marker;
use crate::report::draw::theme::MUTED;
use crate::report::names;
use crate::report::reported::{self, TABLE_2, TABLE_2_SIZES};
use crate::report::tables::vocabulary::table;

/// What was measured of one curve: the record of the lowest raw rate by vocabulary, for each size.
pub(crate) type Vocabularies<'a> = BTreeMap<Size, BTreeMap<usize, &'a RateRecord>>;

/// The curves for which some size was measured with several vocabularies, and their records; the
/// one of most vocabularies first, then what was held out, then the longest.
pub(crate) fn vocabularies(data: &Data) -> Vec<(Curve, Vocabularies<'_>)> {
    let mut curves: BTreeMap<Curve, Vocabularies<'_>> = BTreeMap::new();
    for entry in &data.entries {
        let record = &entry.record;
        let (Some(curve), Some(size), Some(tokenization)) =
            (Curve::of(entry), record.size, &record.tokenization)
        else {
            continue;
        };
        let of_size = curves.entry(curve).or_default().entry(size).or_default();
        let best = of_size.entry(tokenization.vocabulary()).or_insert(record);
        if record.raw_rate() < best.raw_rate() {
            *best = record;
        }
    }
    let several = |sizes: &Vocabularies<'_>| sizes.values().any(|of_size| of_size.len() > 1);
    let mut curves: Vec<_> = curves.into_iter().filter(|(_, sizes)| several(sizes)).collect();
    let count = |sizes: &Vocabularies<'_>| sizes.values().map(BTreeMap::len).sum::<usize>();
    curves.sort_by_key(|(_, sizes)| {
        let records = || sizes.values().flat_map(BTreeMap::values);
        let held_out = records().all(|record| record.in_sample_bytes.0 == 0);
        let length = records().map(|record| record.span.end - record.span.start).max();
        std::cmp::Reverse((count(sizes), held_out, length))
    });
    curves
}

/// The figure; absent if no size was measured with several vocabularies.
pub(crate) fn figure(data: &Data) -> Option<Figure> {
    let (curve, sizes) = vocabularies(data).into_iter().next()?;
    let ours = sizes.iter().filter(|(_, of_size)| of_size.len() > 1).map(|(size, of_size)| {
        let mut series = Series::new(size.to_string(), size_color(*size), Marker::Circle);
        let rate = |(vocabulary, record): (&usize, &&RateRecord)| {
            Some((*vocabulary as f64, Measure::Raw.of(record)?))
        };
        series.points = of_size.iter().filter_map(rate).collect();
        series
    });
    let theirs = TABLE_2_SIZES.iter().enumerate().map(|(column, name)| {
        let mut series = Series::reported(format!("{name}, as reported"), MUTED, Marker::Circle);
        series.points =
            TABLE_2.iter().map(|(vocabulary, rates)| (*vocabulary as f64, rates[column])).collect();
        series
    });
    let series = ours.chain(theirs).collect();
    let x = Titled { title: "tokens of the vocabulary (256: bytes)", unit: Unit::Count };
    let y = Titled { title: "Raw rate: compressed data / raw data", unit: Unit::Percent };
    let caption = format!(
        "What a larger vocabulary does to each size on {}, {}: tokens are fewer and each is harder \
         to predict. The lowest rate of each size and vocabulary; the tokenizer's own bytes are not \
         in it (they are in the adjusted rate). Darker is larger (on a dark screen, brighter). Both \
         axes are logarithmic. Hollow: as reported by {}, Table 2, for enwik9; not ours.",
        data.subjects[curve.subject].label,
        names::chunking(curve.chunking),
        reported::SOURCE
    );
    series_figure(series, &x, &y, Vec::new(), (caption, table(data)?))
}
