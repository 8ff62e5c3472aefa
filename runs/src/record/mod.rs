//! Records: what was measured, as counts. Rates are methods; a measurement that was not made is
//! absent, never 0. Keys of the JSON are the fields' names.

mod chunking;
mod counts;
mod excerpt;
mod facts;
mod mask;
mod provenance;
mod rate;
mod step;
mod weight_code;

pub use chunking::Chunking;
pub use counts::Counts;
pub use excerpt::{Excerpt, Sample, Span};
pub use facts::{
    CompressorFacts, Facts, Kind, Maker, ModelFacts, NetworkFacts, RunFacts, WeightsOf,
};
pub use mask::Mask;
pub use provenance::Provenance;
pub use rate::RateRecord;
pub use step::StepRecord;
pub use weight_code::WeightCode;

#[cfg(test)]
pub(crate) use rate::tests;
