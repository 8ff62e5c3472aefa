//! The tables of the report, each made from the records and, where it shows them, the scaling laws. To add one, add a
//! file and a row in [`TABLES`].

mod best_codes;
mod details;
mod laws;
mod rates;
mod residuals;
mod runs;
mod tokenizers;
mod vocabulary;
mod weight_codes;

use super::law::Laws;
use super::records::Records;
use super::table::Table;

/// A table by name.
pub(crate) struct NamedTable {
    /// Name of its files and its place on the page.
    pub(crate) name: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// Makes it; absent where there is nothing to show.
    pub(crate) make: fn(&Records, &Laws) -> Option<Table>,
}

/// Every table, in the order of the page.
pub(crate) const TABLES: &[NamedTable] = &[
    NamedTable {
        name: "rates",
        title: "Compression rates",
        make: |records, _| rates::table(records),
    },
    NamedTable { name: "laws", title: "Scaling laws", make: laws::table },
    NamedTable { name: "residuals", title: "Residuals of the laws", make: residuals::table },
    NamedTable {
        name: "vocabulary",
        title: "Raw rate by vocabulary and size",
        make: |records, _| vocabulary::table(records),
    },
    NamedTable {
        name: "tokenizers",
        title: "Bytes per token and time per byte",
        make: |records, _| tokenizers::table(records),
    },
    NamedTable {
        name: "weight-codes",
        title: "Codes of the weights",
        make: |records, _| weight_codes::table(records),
    },
    NamedTable {
        name: "best-codes",
        title: "Best size by the code of the weights",
        make: |records, _| best_codes::table(records),
    },
    NamedTable {
        name: "details",
        title: "Every measurement",
        make: |records, _| details::table(records),
    },
    NamedTable { name: "runs", title: "Runs", make: |records, _| runs::table(records) },
];
