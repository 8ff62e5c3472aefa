//! Figures: records in, scenes out. To add one, add a file and a row in [`FIGURES`].

pub(crate) mod curves;
mod fitted;
mod learning;
mod levels;
mod overview;
mod scaling;

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
    Entry { name: "rates", title: "Rates side by side", make: overview::figure },
    Entry { name: "raw-rate", title: "Raw rate against model size", make: scaling::raw },
    Entry { name: "learning", title: "Learning curves", make: learning::figure },
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
