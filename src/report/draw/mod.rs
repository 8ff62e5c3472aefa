//! Drawing for the figures: a scene of marks in logical pixels, axes and labels that lay it out, and two renderers, SVG
//! and PNG, using plotters' backends. Nothing here knows about records.

pub(crate) mod axis;
pub(crate) mod chart;
pub(crate) mod labels;
pub(crate) mod render;
mod room;
pub(crate) mod scene;
pub(crate) mod series;
pub(crate) mod text;
pub(crate) mod theme;
