//! Free space in a scene: whether a rectangle covers anything that is drawn.

use super::scene::{Point, Scene, Shape};
use super::theme::{AXIS, GRID};

/// A rectangle by its upper left and lower right corner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rect {
    /// Upper left.
    pub(crate) min: Point,
    /// Lower right.
    pub(crate) max: Point,
}

impl Rect {
    /// Whether nothing but axes and gridlines lies under it.
    #[must_use]
    pub(crate) fn is_free(&self, scene: &Scene) -> bool {
        scene.shapes.iter().all(|shape| match shape {
            Shape::Line { stroke, .. } if [GRID, AXIS].contains(&stroke.color) => true,
            Shape::Line { points, .. } => {
                points.windows(2).all(|ends| !self.meets_segment(ends[0], ends[1]))
            }
            Shape::Disc { center, radius, .. } => {
                let corner = |sign: f64| (center.0 + sign * radius, center.1 + sign * radius);
                !self.meets(&Self { min: corner(-1.0), max: corner(1.0) })
            }
            Shape::Polygon { points, .. } => points.iter().all(|&point| !self.holds(point)),
        })
    }

    /// Whether another rectangle lies within it.
    #[must_use]
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.holds(other.min) && self.holds(other.max)
    }

    /// Whether two rectangles overlap.
    #[must_use]
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.min.0 < other.max.0
            && other.min.0 < self.max.0
            && self.min.1 < other.max.1
            && other.min.1 < self.max.1
    }

    fn holds(&self, (x, y): Point) -> bool {
        (self.min.0..=self.max.0).contains(&x) && (self.min.1..=self.max.1).contains(&y)
    }

    /// Clips a segment to the rectangle (Liang & Barsky, 1984): it meets it if something is left.
    fn meets_segment(&self, from: Point, to: Point) -> bool {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let (mut enters, mut leaves) = (0.0f64, 1.0f64);
        let sides = [
            (-dx, from.0 - self.min.0),
            (dx, self.max.0 - from.0),
            (-dy, from.1 - self.min.1),
            (dy, self.max.1 - from.1),
        ];
        for (speed, room) in sides {
            if speed == 0.0 {
                if room < 0.0 {
                    return false;
                }
            } else if speed < 0.0 {
                enters = enters.max(room / speed);
            } else {
                leaves = leaves.min(room / speed);
            }
        }
        enters <= leaves
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::Stroke;
    use super::super::theme::INK;
    use super::*;

    #[test]
    fn lines_through_and_beside_are_told_apart() {
        let rect = Rect { min: (10.0, 10.0), max: (20.0, 20.0) };
        let free = |from, to, color| {
            let mut scene = Scene::new(50.0, 50.0);
            scene.line(&[from, to], Stroke::solid(color, 1.0));
            rect.is_free(&scene)
        };
        assert!(!free((0.0, 0.0), (30.0, 30.0), INK), "through");
        assert!(!free((12.0, 12.0), (15.0, 13.0), INK), "within");
        assert!(free((0.0, 12.0), (12.0, 0.0), INK), "past a corner");
        assert!(free((0.0, 15.0), (9.0, 15.0), INK), "before");
        assert!(free((0.0, 15.0), (30.0, 15.0), GRID), "a gridline does not count");
    }
}
