//! Raw rate against vocabulary: the paper's Table 2 as a figure, one line for each size, with the paper's own numbers
//! as hollow points.

use lmtrain_runs::RateRecord;

use super::{axes, colors};
use crate::report::draw::axis::Unit;
use crate::report::draw::scene::Marker;
use crate::report::draw::series::{Series, Titled};
use crate::report::draw::theme::MUTED;
use crate::report::figure::Figure;
use crate::report::names;
use crate::report::records::Records;
use crate::report::reported::{self, TABLE_2, TABLE_2_SIZES};
use crate::report::views::curves::Measure;
use crate::report::views::vocabulary::{rates, vocabularies};

/// The figure; absent if no size was measured with several vocabularies.
pub(super) fn figure(records: &Records) -> Option<Figure> {
    let (condition, sizes) = vocabularies(records).into_iter().next()?;
    let ours = sizes.iter().filter(|(_, of_size)| of_size.len() > 1).map(|(size, of_size)| {
        let mut series = Series::new(size.to_string(), colors::of_size(*size), Marker::Circle);
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
    let caption = format!(
        "The raw rate of each size against the size of the vocabulary, on {}, {}: with a larger vocabulary \
         there are fewer tokens, but each is harder to predict. The lowest rate of each size and vocabulary \
         is shown; the tokenizer's own bytes are not counted (they are in the adjusted rate). Larger \
         networks are darker (brighter on a dark screen). Both axes are logarithmic. Hollow: as reported by \
         {}, Table 2, for enwik9; not ours.",
        records.subjects[condition.subject].label,
        names::chunking(condition.chunking),
        reported::SOURCE
    );
    Figure::of_series(series, &x, &axes::rate(Measure::Raw), Vec::new(), (caption, rates(records)?))
}
