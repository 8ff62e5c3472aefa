//! Named series: points joined by lines on two axes, each named where it ends.

use super::axis::{Axis, Unit};
use super::chart::{Chart, Frame};
use super::labels::{Label, Swatch};
use super::scene::{Marker, Scene, Stroke};
use super::text::Weight;
use super::theme::{Color, PAPER};

/// How much of what is below a band shows through.
const BAND: f64 = 0.14;

/// A line of a figure.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// Its name; empty if another line bears it.
    pub(crate) name: String,
    /// Smaller lines below the name.
    pub(crate) notes: Vec<String>,
    /// Of everything.
    pub(crate) color: Color,
    /// Of its points; absent for a curve without.
    pub(crate) marker: Option<Marker>,
    /// Whether its points are hollow: what others reported.
    pub(crate) hollow: bool,
    /// Of its line.
    pub(crate) stroke: Stroke,
    /// Places, and what was measured there.
    pub(crate) points: Vec<(f64, f64)>,
    /// Ends of intervals at some places.
    pub(crate) band: Vec<(f64, f64, [f64; 2])>,
}

/// What an axis is about.
pub(crate) struct Titled {
    /// In words, with the unit.
    pub(crate) title: &'static str,
    /// How its ticks are written.
    pub(crate) unit: Unit,
}

impl Series {
    /// A line with filled points.
    pub(crate) fn new(name: impl Into<String>, color: Color, marker: Marker) -> Self {
        Self {
            name: name.into(),
            notes: Vec::new(),
            color,
            marker: Some(marker),
            hollow: false,
            stroke: Stroke::solid(color, 1.8),
            points: Vec::new(),
            band: Vec::new(),
        }
    }

    /// A dotted line with hollow points.
    pub(crate) fn reported(name: impl Into<String>, color: Color, marker: Marker) -> Self {
        let stroke = Stroke::solid(color, 1.1).dashed(1.5, 3.0);
        Self { hollow: true, stroke, ..Self::new(name, color, marker) }
    }

    fn label(&self) -> Option<Label> {
        let swatch = match self.marker.filter(|_| self.hollow) {
            Some(marker) => Swatch::Hollow(marker, self.stroke),
            // A curve's last stretch may be dashed where its first is not.
            None if self.marker.is_none() => Swatch::Line(Stroke::solid(self.color, 2.0)),
            None => Swatch::Line(self.stroke),
        };
        let end = self.points.last().filter(|_| !self.name.is_empty());
        Some(Label {
            at: *end?,
            name: self.name.clone(),
            notes: self.notes.clone(),
            color: self.color,
            weight: Weight::Bold,
            swatch,
        })
    }

    fn draw(&self, scene: &mut Scene, frame: &Frame<'_>) {
        band(scene, frame, &self.band, self.color);
        let line: Vec<_> = self.points.iter().map(|point| frame.at(point.0, point.1)).collect();
        scene.line(&line, self.stroke);
    }

    fn draw_markers(&self, scene: &mut Scene, frame: &Frame<'_>) {
        let Some(marker) = self.marker else { return };
        for point in &self.points {
            let at = frame.at(point.0, point.1);
            match self.hollow {
                true => scene.hollow_marker(marker, at, 4.6, self.color),
                false => {
                    scene.marker(marker, at, 5.8, PAPER);
                    scene.marker(marker, at, 4.4, self.color);
                }
            }
        }
    }
}

/// Logarithmic axes around some series, each with its title; absent without points.
pub(crate) fn axes(series: &[Series], x: &Titled, y: &Titled) -> Option<[(String, Axis); 2]> {
    let points = || series.iter().flat_map(|series| &series.points);
    let across = Axis::over(points().map(|point| point.0), 1.15, x.unit)?;
    let up = Axis::over(points().map(|point| point.1), 1.06, y.unit)?;
    Some([(x.title.to_owned(), across), (y.title.to_owned(), up)])
}

/// The chart of some series on such axes, or on others.
pub(crate) fn chart(
    series: &[Series],
    [(x_title, x), (y_title, y)]: [(String, Axis); 2],
    key: Vec<(Marker, String)>,
) -> Chart {
    let labels = series.iter().filter_map(Series::label).collect();
    Chart { y_title, x_title, x, y, labels, key }
}

/// Draws the series on their chart: no line hides a marker.
pub(crate) fn draw(scene: &mut Scene, frame: &Frame<'_>, series: &[Series]) {
    series.iter().for_each(|series| series.draw(scene, frame));
    series.iter().for_each(|series| series.draw_markers(scene, frame));
}

/// Draws the band between the ends of intervals: x, y, and the ends of the interval of y there.
pub(crate) fn band(
    scene: &mut Scene,
    frame: &Frame<'_>,
    points: &[(f64, f64, [f64; 2])],
    color: Color,
) {
    let end =
        |point: &(f64, f64, [f64; 2]), end: usize| frame.at(point.0, frame.y.clamp(point.2[end]));
    let below = points.iter().map(|point| end(point, 0));
    let above = points.iter().rev().map(|point| end(point, 1));
    scene.area(below.chain(above).collect(), color, BAND);
}
