//! Direct labels: each curve is named where it ends. On a wide figure the names are at the right margin, moved apart if
//! they would overlap; on a narrow one they are listed below.

use super::room::Rect;
use super::scene::{Marker, Point, Scene, Stroke, Text};
use super::text::{self, Weight};
use super::theme::{Color, INK, MUTED};

/// Height of an em of a label's name.
const EM: f64 = 13.0;
/// Height of an em of the notes below it.
const NOTE_EM: f64 = 11.5;
/// Names wider than this are cut.
const WIDEST: f64 = 230.0;
/// From baseline to baseline, in ems.
const LEADING: f64 = 1.3;
/// Room between two labels.
const GAP: f64 = 3.0;
/// From the plot's edge to the names.
pub(crate) const MARGIN: f64 = 12.0;
/// From the end of a curve to a name beside it.
const INSIDE: f64 = 10.0;
/// From this far on a line to the margin would cross much of the plot.
const FAR: f64 = 60.0;
/// Width of a swatch, in a list.
const SWATCH: f64 = 26.0;

/// How a label's curve looks, for the list below a narrow figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Swatch {
    /// A line.
    Line(Stroke),
    /// A hollow marker on a line.
    Hollow(Marker, Stroke),
}

/// The name of a curve.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    /// What it names, in the axes' units: the end of a curve, or the height of a level line.
    pub(crate) at: (f64, f64),
    /// The name.
    pub(crate) name: String,
    /// Smaller lines below it.
    pub(crate) notes: Vec<String>,
    /// Colour of the name.
    pub(crate) color: Color,
    /// Weight of the name.
    pub(crate) weight: Weight,
    /// How what it names looks.
    pub(crate) swatch: Swatch,
}

impl Label {
    /// The same with name and notes cut to what a margin holds.
    fn fitted(&self) -> Self {
        let note = |note: &String| text::fitted(note, NOTE_EM, Weight::Regular, WIDEST);
        Self {
            name: text::fitted(&self.name, EM, self.weight, WIDEST),
            notes: self.notes.iter().map(note).collect(),
            ..self.clone()
        }
    }

    fn width(&self) -> f64 {
        let notes = self.notes.iter().map(|note| text::width(note, NOTE_EM, Weight::Regular));
        notes.fold(text::width(&self.name, EM, self.weight), f64::max)
    }

    fn height(&self) -> f64 {
        LEADING * (EM + NOTE_EM * self.notes.len() as f64)
    }

    /// Where it could stand beside the end of its curve: right of it, else below or above.
    fn rooms(&self, (x, y): Point) -> [Rect; 5] {
        let (width, height) = (1.04 * self.width() + 4.0, self.height() - 0.1 * EM);
        let rect = |x: f64, y: f64| Rect { min: (x, y), max: (x + width, y + height) };
        let (left, right) = (x - width - 2.0, x + 2.0);
        let (above, below) = (y - height - 0.45 * EM, y + 0.45 * EM);
        [
            rect(x + INSIDE - 2.0, y - 0.56 * EM),
            rect(left, below),
            rect(right, above),
            rect(right, below),
            rect(left, above),
        ]
    }
}

/// Width of the right margin that holds the labels.
#[must_use]
pub(crate) fn margin(labels: &[Label]) -> f64 {
    // Readers whose font is wider than the measured one need a little more.
    1.04 * labels.iter().map(|label| label.fitted().width()).fold(0.0, f64::max) + MARGIN + 4.0
}

/// Sum of the labels' heights.
#[must_use]
pub(crate) fn stacked_height(labels: &[Label]) -> f64 {
    labels.iter().map(|label| label.height() + GAP).sum()
}

/// Names the curves of a plot: where the curve ends (`ends`, one point a label) if there is room,
/// else at the right margin, as near to the end as the other names let it.
pub(crate) fn beside(scene: &mut Scene, labels: &[Label], ends: &[Point], plot: Rect) {
    let (right, reach) = (plot.max.0, 6.0);
    let labels: Vec<Label> = labels.iter().map(Label::fitted).collect();
    let mut outside = Vec::new();
    let mut taken: Vec<Rect> = Vec::new();
    for (index, label) in labels.iter().enumerate() {
        let Some(room) = room_inside(scene, label, ends[index], plot, &taken) else {
            outside.push(index);
            continue;
        };
        write(scene, label, (room.min.0 + 2.0, room.min.1 + 0.92 * EM));
        taken.push(room);
    }
    outside.sort_by(|&one, &other| ends[one].1.total_cmp(&ends[other].1));
    let heights: Vec<f64> = outside.iter().map(|&index| labels[index].height() + GAP).collect();
    let centers: Vec<f64> = outside
        .iter()
        .map(|&index| ends[index].1 + (labels[index].height() - LEADING * EM) / 2.0)
        .collect();
    let placed = spread(&centers, &heights, plot.min.1 - reach, plot.max.1 + reach);
    for (&index, center) in outside.iter().zip(placed) {
        let label = &labels[index];
        let first = center - label.height() / 2.0 + LEADING * EM / 2.0;
        leader(scene, ends[index], (right + MARGIN - 3.0, first), label.color);
        write(scene, label, (right + MARGIN, first + 0.36 * EM));
    }
}

/// Free room for a name beside the end of its curve. Near the margin the margin is clearer, and a
/// block of lines reads best right of its end.
fn room_inside(
    scene: &Scene,
    label: &Label,
    end: Point,
    plot: Rect,
    taken: &[Rect],
) -> Option<Rect> {
    let rooms = label.rooms(end);
    let tried = match plot.max.0 - end.0 {
        distance if distance <= 0.0 => 0,
        distance if distance < FAR || !label.notes.is_empty() => 1,
        _ => rooms.len(),
    };
    let free = |room: &&Rect| {
        plot.covers(room) && !taken.iter().any(|other| other.meets(room)) && room.is_free(scene)
    };
    rooms[..tried].iter().find(free).copied()
}

/// A thin line from the end of a curve to its name, unless they touch.
fn leader(scene: &mut Scene, from: Point, to: Point, color: Color) {
    if to.0 - from.0 > 8.0 || (to.1 - from.1).abs() > 2.0 {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let clear = (6.0 / length).min(0.4);
        let start = (from.0 + clear * (to.0 - from.0), from.1 + clear * (to.1 - from.1));
        scene.line(&[start, to], Stroke::solid(color, 0.7).faint(0.55));
    }
}

fn write(scene: &mut Scene, label: &Label, at: Point) {
    let name = Text::new(at, EM, label.name.clone());
    scene.text(Text { color: label.color, weight: label.weight, ..name });
    for (index, note) in label.notes.iter().enumerate() {
        let below = at.1 + LEADING * NOTE_EM * (index + 1) as f64;
        scene.text(Text { color: MUTED, ..Text::new((at.0, below), NOTE_EM, note.clone()) });
    }
}

/// Lines of a list entry: name in its weight, and its notes broken to the width.
fn list_lines(label: &Label, width: f64) -> (Vec<String>, Vec<String>) {
    let room = width - SWATCH - 8.0;
    let name = text::wrap(&label.name, EM, label.weight, room);
    let notes = match label.notes.join(" · ") {
        notes if notes.is_empty() => Vec::new(),
        notes => text::wrap(&notes, NOTE_EM, Weight::Regular, room),
    };
    (name, notes)
}

/// Height of the labels as a list of this width.
#[must_use]
pub(crate) fn list_height(labels: &[Label], width: f64) -> f64 {
    let height = |label: &Label| {
        let (name, notes) = list_lines(label, width);
        LEADING * (EM * name.len() as f64 + NOTE_EM * notes.len() as f64) + GAP
    };
    labels.iter().map(height).sum()
}

/// Writes labels as a list, the highest curve first.
pub(crate) fn list(scene: &mut Scene, labels: &[Label], (left, top): Point, width: f64) {
    let mut order: Vec<&Label> = labels.iter().collect();
    order.sort_by(|one, other| other.at.1.total_cmp(&one.at.1));
    let mut y = top;
    for label in order {
        let middle = y + LEADING * EM / 2.0;
        swatch(scene, label, (left, middle));
        let (name, notes) = list_lines(label, width);
        let room = width - SWATCH - 8.0;
        for line in name {
            let line = text::fitted(&line, EM, label.weight, room);
            let at = (left + SWATCH + 8.0, y + LEADING * EM / 2.0 + 0.36 * EM);
            scene.text(Text { weight: label.weight, color: INK, ..Text::new(at, EM, line) });
            y += LEADING * EM;
        }
        for line in notes {
            let at = (left + SWATCH + 8.0, y + LEADING * NOTE_EM / 2.0 + 0.36 * NOTE_EM);
            scene.text(Text { color: MUTED, ..Text::new(at, NOTE_EM, line) });
            y += LEADING * NOTE_EM;
        }
        y += GAP;
    }
}

fn swatch(scene: &mut Scene, label: &Label, (left, y): Point) {
    let line = [(left, y), (left + SWATCH, y)];
    match label.swatch {
        Swatch::Line(stroke) => scene.line(&line, stroke),
        Swatch::Hollow(marker, stroke) => {
            scene.line(&line, stroke);
            scene.hollow_marker(marker, (left + SWATCH / 2.0, y), 4.2, label.color);
        }
    }
}

/// Centres of boxes on a line, in order and without overlap, of the least squared distance to
/// where they want to be; within the ends if they fit there at all.
fn spread(wanted: &[f64], heights: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    // Less the room that those before it need, centres only have to be in order: isotonic
    // regression, which averages neighbours that are not ("pool adjacent violators").
    let mut offset = 0.0;
    let offsets: Vec<f64> = heights
        .iter()
        .map(|height| {
            offset += height;
            offset - height / 2.0
        })
        .collect();
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (wanted, offset) in wanted.iter().zip(&offsets) {
        let mut pool = (wanted - offset, 1);
        while let Some(&(sum, count)) = pools.last() {
            if sum / count as f64 <= pool.0 / pool.1 as f64 {
                break;
            }
            pool = (pool.0 + sum, pool.1 + count);
            pools.pop();
        }
        pools.push(pool);
    }
    let highest = top;
    let lowest = (bottom - offset).max(highest);
    let starts = pools.iter().flat_map(|&(sum, count)| {
        let start = (sum / count as f64).clamp(highest, lowest);
        std::iter::repeat_n(start, count)
    });
    starts.zip(&offsets).map(|(start, offset)| start + offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_stay_where_they_want_if_they_can() {
        assert_eq!(spread(&[10.0, 50.0], &[10.0, 10.0], 0.0, 100.0), [10.0, 50.0]);
    }

    #[test]
    fn boxes_never_overlap_nor_leave() {
        let wanted = [3.0, 3.0, 4.0, 50.0, 98.0, 99.0];
        let heights = [10.0, 14.0, 10.0, 10.0, 20.0, 10.0];
        let placed = spread(&wanted, &heights, 0.0, 100.0);
        for index in 1..placed.len() {
            let room = (heights[index - 1] + heights[index]) / 2.0;
            assert!(placed[index] - placed[index - 1] >= room - 1e-9, "{placed:?}");
        }
        assert!(placed[0] >= 5.0 && placed[5] <= 95.0, "{placed:?}");
        assert!(spread(&[], &[], 0.0, 1.0).is_empty());
    }
}
