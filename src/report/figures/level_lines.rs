//! Horizontal lines: the rates of classical compressors on the corpora of a figure. If a compressor's rates on several
//! corpora nearly agree, they are labelled once.

use lmtrain_runs::record::Chunking;

use crate::report::draw::chart::Frame;
use crate::report::draw::labels::{Label, Swatch};
use crate::report::draw::scene::{Scene, Stroke};
use crate::report::draw::text::Weight;
use crate::report::draw::theme::{Color, MUTED};
use crate::report::names;
use crate::report::records::Records;
use crate::report::views::levels::Level;

/// Rates within this factor of each other lie together.
const SAME: f64 = 1.25;

/// Draws a line for each level over the whole plot: dashes for chunks, solid for the whole.
pub(crate) fn draw(
    scene: &mut Scene,
    frame: &Frame<'_>,
    levels: &[Level],
    color: impl Fn(&Level) -> Color,
) {
    for level in levels {
        let y = frame.up(level.rate);
        scene.line(&[(frame.left, y), (frame.right, y)], stroke(level, color(level)));
    }
}

fn stroke(level: &Level, color: Color) -> Stroke {
    let line = Stroke::solid(color, 0.9).faint(0.75);
    if level.record.chunking == Chunking::Whole { line } else { line.dashed(5.0, 3.5) }
}

/// Labels of the levels: one for each compressor and chunking, where most of its levels lie, and
/// one for each corpus whose levels all lie elsewhere. `right` is the axis' end.
#[must_use]
pub(crate) fn labels(
    records: &Records,
    levels: &[Level],
    right: f64,
    color: impl Fn(&Level) -> Color,
) -> Vec<Label> {
    let color_of = |levels: &[&Level], is_alone: bool| {
        if is_alone { color(levels[0]) } else { MUTED }
    };
    let mut sorted: Vec<&Level> = levels.iter().collect();
    let by_rate = |one: &&Level, other: &&Level| one.rate.total_cmp(&other.rate);
    sorted.sort_by(|one, other| name(one).cmp(&name(other)).then(by_rate(one, other)));
    let mut labels = Vec::new();
    let mut named: Vec<&Level> = Vec::new();
    for of_name in sorted.chunk_by(|one, other| name(one) == name(other)) {
        let near = of_name.chunk_by(|one, other| other.rate / one.rate < SAME);
        let Some(most) = near.rev().max_by_key(|near| near.len()) else { continue };
        let alone = most.len() == 1 && of_name.len() > 1;
        labels.push(label(name(most[0]), most, color_of(most, alone), right));
        named.extend(most);
    }
    for (subject, of) in records.subjects.iter().enumerate() {
        let own = |level: &&Level| level.subject == subject;
        let own_levels: Vec<&Level> = levels.iter().filter(own).collect();
        if !own_levels.is_empty() && !named.iter().any(|level| level.subject == subject) {
            let name = format!("compressors, {}", of.label);
            labels.push(label(name, &own_levels, color_of(&own_levels, true), right));
        }
    }
    labels
}

fn label(name: String, levels: &[&Level], color: Color, right: f64) -> Label {
    let mean = levels.iter().map(|level| level.rate.ln()).sum::<f64>() / levels.len() as f64;
    let swatch = Swatch::Line(stroke(levels[0], color));
    let at = (right, mean.exp());
    Label { at, name, notes: Vec::new(), color, weight: Weight::Regular, swatch }
}

fn name(level: &Level) -> String {
    let chunking = names::short_chunking(level.record.chunking);
    format!("{}, {chunking}", names::with_preset(&level.record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use crate::report::views::levels::levels;
    use lmtrain_runs::RateRecord;

    fn labels_of(rates: Vec<RateRecord>) -> Vec<String> {
        let records = Records::new(Vec::new(), rates);
        let subjects: Vec<usize> = (0..records.subjects.len()).collect();
        let levels = levels(&records, &subjects);
        labels(&records, &levels, 1e6, |_| MUTED).into_iter().map(|label| label.name).collect()
    }

    #[test]
    fn near_levels_share_a_label_and_far_ones_do_not() {
        let rates = vec![
            samples::compressor("gzip", "enwik7", Chunking::Whole, 0.365),
            samples::compressor("gzip", "enwik8", Chunking::Whole, 0.363),
            samples::compressor("gzip", "random", Chunking::Whole, 1.0),
        ];
        assert_eq!(labels_of(rates), ["gzip 9, whole", "compressors, random"]);
    }

    #[test]
    fn one_corpus_has_a_label_for_each_level() {
        let chunks = Chunking::Bytes(2048);
        let rates = vec![
            samples::compressor("gzip", "enwik7", Chunking::Whole, 0.365),
            samples::compressor("gzip", "enwik7", chunks, 0.363),
            samples::compressor("lzma2", "enwik7", chunks, 0.50),
        ];
        assert_eq!(
            labels_of(rates),
            ["gzip 9, chunks of 2048", "gzip 9, whole", "lzma2 9e, chunks of 2048"]
        );
        assert!(labels_of(Vec::new()).is_empty());
    }
}
