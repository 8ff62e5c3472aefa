//! A figure of named series: points joined by lines on two axes, each named where it ends.

use super::Figure;
use super::fitted::band;
use crate::report::draw::axis::{Axis, Unit};
use crate::report::draw::chart::{Chart, Format, Frame};
use crate::report::draw::labels::{Label, Sample};
use crate::report::draw::scene::{Marker, Scene, Stroke};
use crate::report::draw::text::Weight;
use crate::report::draw::theme::{Color, PAPER};
use crate::report::tables::Table;

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
        let sample = match self.marker.filter(|_| self.hollow) {
            Some(marker) => Sample::Hollow(marker, self.stroke),
            // A curve's last stretch may be dashed where its first is not.
            None if self.marker.is_none() => Sample::Line(Stroke::solid(self.color, 2.0)),
            None => Sample::Line(self.stroke),
        };
        let end = self.points.last().filter(|_| !self.name.is_empty());
        Some(Label {
            at: *end?,
            name: self.name.clone(),
            notes: self.notes.clone(),
            color: self.color,
            weight: Weight::Bold,
            sample,
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

/// The figure of some series on logarithmic axes; absent without points.
pub(crate) fn figure(
    series: Vec<Series>,
    x: &Titled,
    y: &Titled,
    key: Vec<(Marker, String)>,
    (caption, data): (String, Table),
) -> Option<Figure> {
    let points = || series.iter().flat_map(|series| &series.points);
    let across = Axis::over(points().map(|point| point.0), 1.15, x.unit)?;
    let up = Axis::over(points().map(|point| point.1), 1.06, y.unit)?;
    let (x, y) = ((x.title.to_owned(), across), (y.title.to_owned(), up));
    Some(figure_on(series, x, y, key, (caption, data)))
}

/// The same on axes of one's own, each with its title.
pub(crate) fn figure_on(
    series: Vec<Series>,
    (x_title, x): (String, Axis),
    (y_title, y): (String, Axis),
    key: Vec<(Marker, String)>,
    (caption, data): (String, Table),
) -> Figure {
    let chart = Chart {
        y_title,
        x_title,
        x,
        y,
        labels: series.iter().filter_map(Series::label).collect(),
        key,
    };
    let draw = move |format: Format| {
        chart.compose(format, |scene, frame| {
            series.iter().for_each(|series| series.draw(scene, frame));
            series.iter().for_each(|series| series.draw_markers(scene, frame));
        })
    };
    Figure { caption, data, draw: Box::new(draw) }
}
