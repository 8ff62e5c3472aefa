//! Figures: records in, scenes out. To add one, add a file and a row in [`FIGURES`].

mod best_size;
pub(crate) mod by_choice;
pub(crate) mod curves;
mod fitted;
mod frontier;
mod learning;
mod levels;
mod models;
mod overview;
pub(crate) mod prequential;
mod scaling;
mod series;
pub(crate) mod vocabulary;
pub(crate) mod weight_codes;

use super::data::Data;
use super::draw::chart::Format;
use super::draw::scene::Scene;
use super::tables::Table;

/// A figure by name.
pub(crate) struct Entry {
    /// Name of its files and its place on the page.
    pub(crate) name: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// Makes it of the records; absent where there is nothing to show.
    pub(crate) make: fn(&Data) -> Option<Figure>,
}

/// Every figure, in the order of the page.
pub(crate) const FIGURES: &[Entry] = &[
    Entry {
        name: "adjusted-rate",
        title: "Adjusted rate against model size",
        make: scaling::adjusted,
    },
    Entry {
        name: "best-size",
        title: "Best model size for a corpus of any length",
        make: best_size::figure,
    },
    Entry { name: "rates", title: "Rates side by side", make: overview::figure },
    Entry { name: "raw-rate", title: "Raw rate against model size", make: scaling::raw },
    Entry {
        name: "all-models",
        title: "Raw rate of every model, pretrained ones too",
        make: models::raw,
    },
    Entry {
        name: "all-models-adjusted",
        title: "The same with the models' own size",
        make: models::adjusted,
    },
    Entry { name: "vocabulary", title: "Raw rate against vocabulary", make: vocabulary::figure },
    Entry {
        name: "weight-codes",
        title: "Adjusted rate under several codes of the weights",
        make: weight_codes::figure,
    },
    Entry {
        name: "prequential",
        title: "Prequential and two-part code lengths",
        make: prequential::figure,
    },
    Entry { name: "learning", title: "Learning curves", make: learning::figure },
    Entry { name: "frontier", title: "The compute frontier", make: frontier::figure },
];

/// A figure.
pub(crate) struct Figure {
    /// What it shows: of what, cut how, trained on or not.
    pub(crate) caption: String,
    /// Its numbers.
    pub(crate) data: Table,
    /// Draws it.
    pub(crate) draw: Box<dyn Fn(Format) -> Scene>,
}
