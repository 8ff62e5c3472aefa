//! A chart: two axes, thin gridlines, titles, a key of markers and direct labels, around marks that the figure draws
//! itself.

use super::axis::Axis;
use super::labels::{self, Label};
use super::room::Rect;
use super::scene::{Align, Marker, Point, Scene, Stroke, Text};
use super::text::{self, Weight};
use super::theme::{AXIS, GRID, INK, MUTED};

/// Height of an em of the titles and ticks.
const EM: f64 = 13.0;
/// Room around everything.
const EDGE: f64 = 8.0;

/// The room that a figure has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Layout {
    /// Width of the whole in logical pixels.
    pub(crate) width: f64,
    /// Height of the plot within the axes.
    pub(crate) plot_height: f64,
    /// Whether labels go below instead of beside.
    pub(crate) narrow: bool,
}

/// For a page, a paper and a slide.
pub(crate) const WIDE: Layout = Layout { width: 780.0, plot_height: 400.0, narrow: false };
/// For a telephone.
pub(crate) const NARROW: Layout = Layout { width: 370.0, plot_height: 300.0, narrow: true };

/// What surrounds the marks.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// What goes up; it stands above the plot, in reading direction.
    pub(crate) y_title: String,
    /// What goes right.
    pub(crate) x_title: String,
    /// The horizontal axis.
    pub(crate) x: Axis,
    /// The vertical axis.
    pub(crate) y: Axis,
    /// Names of the curves.
    pub(crate) labels: Vec<Label>,
    /// What the markers' shapes mean; empty if there is but one.
    pub(crate) key: Vec<(Marker, String)>,
}

/// Where the plot lies on the scene.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Its left edge.
    pub(crate) left: f64,
    /// Its right edge.
    pub(crate) right: f64,
    /// Its upper edge.
    pub(crate) top: f64,
    /// Its lower edge.
    pub(crate) bottom: f64,
    /// The horizontal axis.
    pub(crate) x: &'a Axis,
    /// The vertical axis.
    pub(crate) y: &'a Axis,
}

impl Frame<'_> {
    /// The point of a pair of values.
    #[must_use]
    pub(crate) fn at(&self, x: f64, y: f64) -> Point {
        (self.across(x), self.up(y))
    }

    /// Where a value of the horizontal axis lies.
    #[must_use]
    pub(crate) fn across(&self, x: f64) -> f64 {
        self.left + (self.right - self.left) * self.x.position(x)
    }

    /// Where a value of the vertical axis lies.
    #[must_use]
    pub(crate) fn up(&self, y: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * self.y.position(y)
    }
}

impl Chart {
    /// The whole figure; `marks` draws what it is about.
    pub(crate) fn compose(
        &self,
        layout: Layout,
        marks: impl FnOnce(&mut Scene, &Frame<'_>),
    ) -> Scene {
        let inner = layout.width - 2.0 * EDGE;
        let (height, right, below) = self.room(layout);
        let title = text::wrap(&self.y_title, EM, Weight::Bold, inner);
        let key = key_rows(&self.key, inner);
        let head = 1.35 * EM * title.len() as f64 + 1.5 * EM * key.len() as f64;
        let top = EDGE + head + 10.0;
        let bottom = top + height;
        let y_ticks = self.y.ticks(26.0 / height);
        let widest = y_ticks.iter().map(|(_, text)| text::width(text, EM, Weight::Regular));
        let left = EDGE + widest.fold(0.0, f64::max) + 10.0;
        let foot = bottom + 3.7 * EM;

        let mut scene = Scene::new(layout.width, foot + below + EDGE);
        let frame = Frame { left, right, top, bottom, x: &self.x, y: &self.y };
        self.heading(&mut scene, &title, &key);
        self.axes(&mut scene, &frame, &y_ticks);
        marks(&mut scene, &frame);
        if layout.narrow {
            labels::list(&mut scene, &self.labels, (EDGE, foot), inner);
        } else {
            let end = |label: &Label| frame.at(label.at.0, label.at.1);
            let ends: Vec<Point> = self.labels.iter().map(end).collect();
            let plot = Rect { min: (left, top), max: (right, bottom) };
            labels::beside(&mut scene, &self.labels, &ends, plot);
        }
        scene
    }

    /// Height of the plot, where it ends on the right, and the height of the list below it.
    fn room(&self, layout: Layout) -> (f64, f64, f64) {
        if layout.narrow {
            let list = labels::list_height(&self.labels, layout.width - 2.0 * EDGE);
            // Half a tick's text reaches beyond the plot.
            return (layout.plot_height, layout.width - EDGE - 10.0, list);
        }
        let height = layout.plot_height.max(1.2 * labels::stacked_height(&self.labels));
        let margin = EDGE.max(labels::margin(&self.labels) + EDGE / 2.0);
        (height, layout.width - margin, 0.0)
    }

    fn heading(&self, scene: &mut Scene, title: &[String], key: &[Vec<(f64, Marker, &str)>]) {
        let mut y = EDGE;
        for line in title {
            y += 1.35 * EM;
            let text = Text::new((EDGE, y - 0.3 * EM), EM, line.clone());
            scene.text(Text { weight: Weight::Bold, ..text });
        }
        for row in key {
            y += 1.5 * EM;
            for &(x, marker, name) in row {
                scene.marker(marker, (EDGE + x + 5.0, y - 0.65 * EM), 4.0, MUTED);
                let at = (EDGE + x + 14.0, y - 0.3 * EM);
                scene.text(Text { color: MUTED, ..Text::new(at, EM - 1.0, name) });
            }
        }
    }

    fn axes(&self, scene: &mut Scene, frame: &Frame<'_>, y_ticks: &[(f64, String)]) {
        let Frame { left, right, top, bottom, .. } = *frame;
        for (value, name) in y_ticks {
            let y = frame.up(*value);
            scene.line(&[(left, y), (right, y)], Stroke::solid(GRID, 1.0));
            let text = Text::new((left - 8.0, y + 0.36 * EM), EM, name.clone());
            scene.text(Text { align: Align::End, color: MUTED, ..text });
        }
        for (value, name) in self.x.ticks(50.0 / (right - left)) {
            let x = frame.across(value);
            scene.line(&[(x, top), (x, bottom)], Stroke::solid(GRID, 1.0));
            scene.line(&[(x, bottom), (x, bottom + 5.0)], Stroke::solid(AXIS, 1.0));
            let text = Text::new((x, bottom + 6.0 + EM), EM, name);
            scene.text(Text { align: Align::Middle, color: MUTED, ..text });
        }
        scene.line(&[(left, bottom), (right, bottom)], Stroke::solid(AXIS, 1.2));
        let at = ((left + right) / 2.0, bottom + 2.85 * EM);
        let title = Text::new(at, EM, self.x_title.clone());
        scene.text(Text { align: Align::Middle, color: INK, ..title });
    }
}

/// Breaks the key into rows that are at most so wide: (x, marker, name) of each entry.
fn key_rows(key: &[(Marker, String)], width: f64) -> Vec<Vec<(f64, Marker, &str)>> {
    let mut rows: Vec<Vec<(f64, Marker, &str)>> = Vec::new();
    let mut x = f64::INFINITY;
    for (marker, name) in key {
        let measurement = 14.0 + text::width(name, EM - 1.0, Weight::Regular) + 16.0;
        if x + measurement > width {
            rows.push(Vec::new());
            x = 0.0;
        }
        if let Some(row) = rows.last_mut() {
            row.push((x, *marker, name));
        }
        x += measurement;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::axis::Unit;
    use super::super::labels::Swatch;
    use super::*;

    fn chart(labels: usize) -> Chart {
        let name = |index: usize| Label {
            at: (100.0, 10.0 + index as f64 / 10.0),
            name: format!("a corpus of a rather long name, number {index}"),
            notes: vec!["5.00 MB".into()],
            color: INK,
            weight: Weight::Bold,
            swatch: Swatch::Line(Stroke::solid(INK, 2.0)),
        };
        Chart {
            y_title: "Adjusted rate, all of it".into(),
            x_title: "parameters".into(),
            x: Axis::over([1.0, 100.0], 1.1, Unit::Count).expect("values"),
            y: Axis::over([10.0, 20.0], 1.1, Unit::Percent).expect("values"),
            labels: (0..labels).map(name).collect(),
            key: vec![(Marker::Circle, "bytes".into()), (Marker::Square, "bpe-5000".into())],
        }
    }

    #[test]
    fn nothing_is_clipped() {
        for layout in [WIDE, NARROW] {
            for labels in [0, 1, 5, 40] {
                let scene = chart(labels).compose(layout, |scene, frame| {
                    assert!(frame.right - frame.left > 200.0, "the plot keeps its room");
                    scene.marker(Marker::Circle, frame.at(10.0, 15.0), 4.0, INK);
                });
                for text in &scene.texts {
                    let width = text::width(&text.text, text.em, text.weight);
                    let left = match text.align {
                        Align::Start => text.at.0,
                        Align::Middle => text.at.0 - width / 2.0,
                        Align::End => text.at.0 - width,
                    };
                    assert!(left >= 0.0 && left + width <= scene.width, "{text:?}");
                    assert!(text.at.1 > text.em && text.at.1 < scene.height, "{text:?}");
                }
            }
        }
    }
}
