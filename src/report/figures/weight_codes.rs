//! Adjusted rate under several codes of the weights, each measured by decoding the weights and evaluating them: fewer
//! bits worsen the prediction a little and reduce the size of the model a lot.

use lmtrain_runs::Tokenization;
use lmtrain_runs::record::WeightCode;

use super::axes;
use crate::report::draw::scene::Marker;
use crate::report::draw::series::Series;
use crate::report::draw::theme::CATEGORIES;
use crate::report::figure::Figure;
use crate::report::names;
use crate::report::records::{Measurement, Records};
use crate::report::views::curves::Measure;
use crate::report::views::weight_codes::{coded, rates};

/// The figure; absent before a run was measured under several codes.
pub(super) fn figure(records: &Records) -> Option<Figure> {
    let (condition, mut measurements) = coded(records).into_iter().next()?;
    // One line a code: runs of the tokenization that most were measured with.
    let of_tokenization = |name: &Option<&Tokenization>| {
        measurements.iter().filter(|measurement| measurement.record.tokenization() == *name).count()
    };
    let most = measurements.iter().map(|measurement| measurement.record.tokenization());
    let most = most.max_by_key(|name| of_tokenization(name))?.cloned();
    measurements.retain(|measurement| measurement.record.tokenization() == most.as_ref());
    let series = WeightCode::RECORDED.iter().enumerate().map(|(index, of)| {
        let marker = Marker::ALL[index % Marker::ALL.len()];
        let mut series = Series::new(of.name(), CATEGORIES[index], marker);
        let own = measurements.iter().filter(|measurement| measurement.code() == *of);
        let point = |measurement: &&Measurement| {
            Some((
                measurement.record.parameters()? as f64,
                Measure::Adjusted.of(&measurement.record)?,
            ))
        };
        series.points = own.filter_map(point).collect();
        series
            .points
            .sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
        series.points.dedup_by_key(|point| point.0);
        series
    });
    let series: Vec<Series> = series.filter(|series| !series.points.is_empty()).collect();
    let caption = format!(
        "The adjusted rate on {}, {}, by the code of the weights. For each code, the weights are encoded and \
         decoded, the network is evaluated with the decoded weights, and the encoded bytes count as the \
         model's size. Runs save their best weights in f16, so f16 is what all other figures show, and f32 \
         is the same numbers in twice the space. int8 and int4 are integers with scales, coded by the range \
         coder; the network computes with these integers. int8-xz, in older records, is 8 bits with one \
         scale per row, compressed by LZMA2. The lowest of each size is shown. Both axes are logarithmic.",
        records.subjects[condition.subject].label,
        names::chunking(condition.chunking),
    );
    let (x, y) = (&axes::PARAMETERS, &axes::rate(Measure::Adjusted));
    Figure::of_series(series, x, y, Vec::new(), (caption, rates(records)?))
}
