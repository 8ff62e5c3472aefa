//! The figures of the report, each made from the records and, where it shows them, the scaling laws. To add one, add a
//! file and a row in [`FIGURES`].

mod best_size;
pub(crate) mod by_choice;
mod context;
mod frontier;
mod learning;
mod models;
mod overview;
mod prequential;
mod scaling;
mod vocabulary;
mod weight_codes;

// What several figures have in common.
mod axes;
mod colors;
mod curve_points;
mod curve_table;
mod law_curve;
mod learning_lines;
mod level_lines;
mod panels;
mod scaling_labels;
mod size_panel;

use super::figure::Figure;
use super::law::Laws;
use super::records::Records;

/// A figure by name.
pub(crate) struct NamedFigure {
    /// Name of its files and its place on the page.
    pub(crate) name: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// Makes it; absent where there is nothing to show.
    pub(crate) make: fn(&Records, &Laws) -> Option<Figure>,
}

/// Every figure, in the order of the page.
pub(crate) const FIGURES: &[NamedFigure] = &[
    NamedFigure {
        name: "adjusted-rate",
        title: "Adjusted rate against model size",
        make: scaling::adjusted,
    },
    NamedFigure {
        name: "best-size",
        title: "Best model size for a corpus of any length",
        make: best_size::figure,
    },
    NamedFigure {
        name: "rates",
        title: "Rates side by side",
        make: |records, _| overview::figure(records),
    },
    NamedFigure { name: "raw-rate", title: "Raw rate against model size", make: scaling::raw },
    NamedFigure {
        name: "all-models",
        title: "Raw rate of every model, pretrained ones too",
        make: |records, _| models::raw(records),
    },
    NamedFigure {
        name: "all-models-adjusted",
        title: "Adjusted rate of every model, pretrained ones too",
        make: |records, _| models::adjusted(records),
    },
    NamedFigure {
        name: "vocabulary",
        title: "Raw rate against vocabulary",
        make: |records, _| vocabulary::figure(records),
    },
    NamedFigure {
        name: "weight-codes",
        title: "Adjusted rate under several codes of the weights",
        make: |records, _| weight_codes::figure(records),
    },
    NamedFigure {
        name: "context",
        title: "Rate against context",
        make: |records, _| context::figure(records),
    },
    NamedFigure {
        name: "prequential",
        title: "Prequential and two-part code lengths",
        make: |records, _| prequential::figure(records),
    },
    NamedFigure {
        name: "learning",
        title: "Learning curves",
        make: |records, _| learning::figure(records),
    },
    NamedFigure {
        name: "frontier",
        title: "The compute frontier",
        make: |records, _| frontier::figure(records),
    },
];
