//! Views: records arranged as laws, tables and figures need them, each arrangement defined once. Nothing here draws or
//! fits.

pub(crate) mod curves;
pub(crate) mod learning;
pub(crate) mod levels;
pub(crate) mod prequential;
pub(crate) mod vocabulary;
pub(crate) mod weight_codes;
