//! A scene: marks in logical pixels from the upper left corner, made once and rendered as SVG and as PNG. Text is drawn
//! above all other marks.

use super::text::Weight;
use super::theme::{Color, INK, PAPER};

/// A point in logical pixels: right, down.
pub(crate) type Point = (f64, f64);

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stroke {
    /// Its colour.
    pub(crate) color: Color,
    /// Its width.
    pub(crate) width: f64,
    /// 0 is invisible, 1 solid.
    pub(crate) opacity: f64,
    /// Lengths of dashes and of gaps; a solid line without.
    pub(crate) dash: Option<(f64, f64)>,
}

/// Side of a point on which text lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Align {
    /// The text begins there.
    #[default]
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// The shape of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// A disc.
    Circle,
    /// A square.
    Square,
    /// A square on its corner.
    Diamond,
    /// A triangle, point up.
    Triangle,
    /// A triangle, point down.
    Wedge,
    /// A triangle, point right.
    Arrow,
}

impl Marker {
    /// The shapes of points, in the order in which kinds get theirs.
    pub(crate) const ALL: [Self; 5] =
        [Self::Circle, Self::Square, Self::Diamond, Self::Triangle, Self::Wedge];
}

/// A mark other than text.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// An open line.
    Line {
        /// Its corners, in order.
        points: Vec<Point>,
        /// How it is drawn; dashes are cut already.
        stroke: Stroke,
    },
    /// A filled circle.
    Disc {
        /// Its centre.
        center: Point,
        /// Its radius.
        radius: f64,
        /// Its colour.
        color: Color,
        /// 0 is invisible, 1 solid.
        opacity: f64,
    },
    /// A filled polygon.
    Polygon {
        /// Its corners, in order.
        points: Vec<Point>,
        /// Its colour.
        color: Color,
        /// 0 is invisible, 1 solid.
        opacity: f64,
    },
}

/// A line of text.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    /// On the baseline.
    pub(crate) at: Point,
    /// What it says.
    pub(crate) text: String,
    /// Height of an em.
    pub(crate) em: f64,
    /// Where `at` lies along it.
    pub(crate) align: Align,
    /// Its weight.
    pub(crate) weight: Weight,
    /// Its colour.
    pub(crate) color: Color,
}

/// Marks on a ground of a given size.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// Width in logical pixels.
    pub(crate) width: f64,
    /// Height in logical pixels.
    pub(crate) height: f64,
    /// Shapes, the lowest first.
    pub(crate) shapes: Vec<Shape>,
    /// Texts, above them.
    pub(crate) texts: Vec<Text>,
}

impl Stroke {
    /// A solid line.
    #[must_use]
    pub(crate) fn solid(color: Color, width: f64) -> Self {
        Self { color, width, opacity: 1.0, dash: None }
    }

    /// The same line in dashes.
    #[must_use]
    pub(crate) fn dashed(self, dash: f64, gap: f64) -> Self {
        Self { dash: Some((dash, gap)), ..self }
    }

    /// The same line, fainter.
    #[must_use]
    pub(crate) fn faint(self, opacity: f64) -> Self {
        Self { opacity, ..self }
    }
}

impl Text {
    /// Regular text in ink that starts at a point of its baseline.
    #[must_use]
    pub(crate) fn new(at: Point, em: f64, text: impl Into<String>) -> Self {
        let (align, weight) = (Align::Start, Weight::Regular);
        Self { at, text: text.into(), em, align, weight, color: INK }
    }
}

impl Scene {
    /// An empty ground.
    #[must_use]
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self { width, height, shapes: Vec::new(), texts: Vec::new() }
    }

    /// Draws a line through points.
    pub(crate) fn line(&mut self, points: &[Point], stroke: Stroke) {
        let pieces = match stroke.dash {
            Some((dash, gap)) => dashes(points, dash, gap),
            None => vec![points.to_vec()],
        };
        for points in pieces.into_iter().filter(|points| points.len() > 1) {
            self.shapes.push(Shape::Line { points, stroke });
        }
    }

    /// Fills a polygon and lets what is below it through.
    pub(crate) fn area(&mut self, points: Vec<Point>, color: Color, opacity: f64) {
        self.shapes.push(Shape::Polygon { points, color, opacity });
    }

    /// Draws a marker.
    pub(crate) fn marker(&mut self, marker: Marker, center: Point, radius: f64, color: Color) {
        self.shape_of(marker, center, radius, color, 1.0);
    }

    /// Draws a marker that lets what is below it through.
    pub(crate) fn faint_marker(
        &mut self,
        marker: Marker,
        center: Point,
        radius: f64,
        color: Color,
    ) {
        self.shape_of(marker, center, radius, color, 0.35);
    }

    /// Draws a marker's outline, filled with the ground.
    pub(crate) fn hollow_marker(
        &mut self,
        marker: Marker,
        center: Point,
        radius: f64,
        color: Color,
    ) {
        self.shape_of(marker, center, radius, color, 1.0);
        self.shape_of(marker, center, radius - 1.4, PAPER, 1.0);
    }

    /// This scene above another.
    pub(crate) fn above(mut self, mut other: Self) -> Self {
        let down = |point: &mut Point| point.1 += self.height;
        for shape in &mut other.shapes {
            match shape {
                Shape::Line { points, .. } | Shape::Polygon { points, .. } => {
                    points.iter_mut().for_each(down);
                }
                Shape::Disc { center, .. } => down(center),
            }
        }
        other.texts.iter_mut().for_each(|text| down(&mut text.at));
        self.width = self.width.max(other.width);
        self.height += other.height;
        self.shapes.extend(other.shapes);
        self.texts.extend(other.texts);
        self
    }

    /// Writes text.
    pub(crate) fn text(&mut self, text: Text) {
        self.texts.push(text);
    }

    fn shape_of(&mut self, marker: Marker, at: Point, radius: f64, color: Color, opacity: f64) {
        let corners: &[Point] = match marker {
            Marker::Circle => {
                self.shapes.push(Shape::Disc { center: at, radius, color, opacity });
                return;
            }
            Marker::Square => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            Marker::Diamond => &[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)],
            Marker::Triangle => &[(0.0, -1.25), (1.15, 0.8), (-1.15, 0.8)],
            Marker::Wedge => &[(0.0, 1.25), (-1.15, -0.8), (1.15, -0.8)],
            Marker::Arrow => &[(1.25, 0.0), (-0.8, 1.15), (-0.8, -1.15)],
        };
        let place = |&(x, y): &Point| (at.0 + x * radius, at.1 + y * radius);
        let points = corners.iter().map(place).collect();
        self.shapes.push(Shape::Polygon { points, color, opacity });
    }
}

/// Cuts a line into dashes, whose phase goes on around corners.
fn dashes(points: &[Point], dash: f64, gap: f64) -> Vec<Vec<Point>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<Point> = points.first().copied().into_iter().collect();
    let mut left = dash;
    let mut inked = true;
    for pair in points.windows(2) {
        let [from, to] = [pair[0], pair[1]];
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let share = done / length;
            let at = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
            if inked {
                piece.push(at);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![at];
            }
            inked = !inked;
            left = if inked { dash } else { gap };
        }
        left -= length - done;
        if inked {
            piece.push(to);
        }
    }
    pieces.push(piece);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_keep_their_phase_around_corners() {
        let pieces = dashes(&[(0.0, 0.0), (5.0, 0.0), (5.0, 5.0)], 3.0, 1.0);
        let expected = [
            vec![(0.0, 0.0), (3.0, 0.0)],
            vec![(4.0, 0.0), (5.0, 0.0), (5.0, 2.0)],
            vec![(5.0, 3.0), (5.0, 5.0)],
        ];
        assert_eq!(pieces, expected);
        assert!(dashes(&[], 3.0, 1.0)[0].is_empty());
    }
}
