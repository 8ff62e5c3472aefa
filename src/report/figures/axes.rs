//! Axes that several figures share.

use crate::report::draw::axis::Unit;
use crate::report::draw::series::Titled;
use crate::report::views::curves::Measure;

/// The size of a model.
pub(super) const PARAMETERS: Titled =
    Titled { title: "parameters, embeddings included", unit: Unit::Count };

/// A rate in percent.
pub(super) fn rate(measure: Measure) -> Titled {
    let title = match measure {
        Measure::Adjusted => "Adjusted rate: (compressed data + model) / raw data",
        Measure::Raw => "Raw rate: compressed data / raw data",
    };
    Titled { title, unit: Unit::Percent }
}
