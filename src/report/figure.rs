//! A figure: its caption, its numbers, and how it is drawn at a given size; and the drawn figure, as in the files and
//! the page.

use anyhow::Result;

use super::draw::axis::Axis;
use super::draw::chart::{Layout, NARROW, WIDE};
use super::draw::render;
use super::draw::scene::{Marker, Scene};
use super::draw::series::{self, Series, Titled};
use super::table::Table;

/// A figure.
pub(crate) struct Figure {
    /// What it shows: of what, cut how, trained on or not.
    pub(crate) caption: String,
    /// Its numbers.
    pub(crate) data: Table,
    /// Draws it.
    pub(crate) draw: Box<dyn Fn(Layout) -> Scene>,
}

/// A figure with its files' contents.
pub(crate) struct Drawn {
    /// Name of its files and its place on the page.
    pub(crate) name: String,
    /// Its heading.
    pub(crate) title: String,
    /// What it shows.
    pub(crate) caption: String,
    /// As an SVG document.
    pub(crate) svg: String,
    /// As a PNG.
    pub(crate) png: Vec<u8>,
    /// Its numbers.
    pub(crate) csv: String,
    /// For the page, at a screen's and at a telephone's width.
    pub(crate) inline: [String; 2],
}

impl Figure {
    /// Named series on two logarithmic axes; absent without points.
    pub(crate) fn of_series(
        series: Vec<Series>,
        x: &Titled,
        y: &Titled,
        key: Vec<(Marker, String)>,
        (caption, data): (String, Table),
    ) -> Option<Self> {
        let axes = series::axes(&series, x, y)?;
        Some(Self::of_series_on(axes, series, key, (caption, data)))
    }

    /// The same on axes of one's own, each with its title: across, and up.
    pub(crate) fn of_series_on(
        axes: [(String, Axis); 2],
        series: Vec<Series>,
        key: Vec<(Marker, String)>,
        (caption, data): (String, Table),
    ) -> Self {
        let chart = series::chart(&series, axes, key);
        let draw = move |layout: Layout| {
            chart.compose(layout, |scene, frame| series::draw(scene, frame, &series))
        };
        Self { caption, data, draw: Box::new(draw) }
    }

    /// With its files' contents.
    ///
    /// # Errors
    /// If it cannot be rendered.
    pub(crate) fn drawn(self, name: String, title: String) -> Result<Drawn> {
        let (wide, narrow) = ((self.draw)(WIDE), (self.draw)(NARROW));
        Ok(Drawn {
            svg: render::svg(&wide, &title)?,
            png: render::png(&wide)?,
            csv: self.data.csv(),
            inline: [render::inline_svg(&wide, &title)?, render::inline_svg(&narrow, &title)?],
            caption: self.caption,
            name,
            title,
        })
    }
}
