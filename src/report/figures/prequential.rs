//! Two code lengths of the training data: prequential, each batch coded before it is learned from,
//! so that no weights need be sent (Blier & Ollivier, arXiv 1802.07044); and in two parts, the
//! weights and then the data under them.

use lmtrain_runs::record::WeightCode;
use lmtrain_runs::{RateRecord, StepRecord};

use super::Figure;
use super::series::{Series, Titled, figure as series_figure};
use crate::report::data::{Data, RunData};
use crate::report::draw::axis::Unit;
use crate::report::draw::scene::Marker;
use crate::report::draw::theme::CATEGORIES;
use crate::report::tables::{Cell, Column, Group, Table};

/// The two code lengths of a run.
struct Lengths<'a> {
    run: &'a RunData,
    /// Bytes of the first pass.
    bytes: f64,
    /// Bits a byte that it took.
    prequential: f64,
    /// Bits a byte of the same bytes in two parts.
    two_part: Option<f64>,
}

/// One of the two, if it was measured.
type CodeLength = fn(&Lengths<'_>) -> Option<f64>;

/// The figure; absent before a finished run has a prequential code length.
pub(crate) fn figure(data: &Data) -> Option<Figure> {
    // A run that has just begun has seen only its costliest batches.
    let finished = data.runs.iter().filter(|run| run.is_finished());
    let runs: Vec<Lengths<'_>> = finished.filter_map(|run| lengths(data, run)).collect();
    let mut groups: Vec<(String, Vec<&Lengths<'_>>)> = Vec::new();
    for lengths in &runs {
        let plan = &lengths.run.plan;
        let name = format!("{}, {}", plan.corpus, plan.tokenization);
        match groups.iter_mut().find(|group| group.0 == name) {
            Some(group) => group.1.push(lengths),
            None => groups.push((name, vec![lengths])),
        }
    }
    let mut series = Vec::new();
    for (index, (name, runs)) in groups.iter().enumerate() {
        let kinds: [(&str, Marker, CodeLength); 2] = [
            ("prequential", Marker::Circle, |run| Some(run.prequential)),
            ("two-part", Marker::Square, |run| run.two_part),
        ];
        for (kind, marker, of) in kinds {
            let color = CATEGORIES[index % CATEGORIES.len()];
            let mut line = Series::new(format!("{name}: {kind}"), color, marker);
            if marker == Marker::Square {
                line.stroke = line.stroke.dashed(6.0, 3.0);
            }
            line.points = lowest_of_each_size(runs, of);
            series.push(line);
        }
    }
    let x = Titled { title: "parameters, embeddings included", unit: Unit::Count };
    let y = Titled { title: "Code length of the training data, bits per byte", unit: Unit::Number };
    series_figure(series, &x, &y, Vec::new(), (CAPTION.to_owned(), table(&runs)))
}

const CAPTION: &str = "Two ways to send the data that a run first saw. Prequential: each batch is coded before the \
     network learns from it, so that the receiver can learn alike and no weights are sent; the sum \
     of the training losses over the first pass, each step's recorded as it went. Two-part: the \
     weights as saved and the tokenizer, then as many bytes of training text at the finished \
     network's rate on it; only where that was measured (`lmtrain eval --part train`). The lowest of \
     each size. Both axes are logarithmic.";

/// Bits and bytes of the first pass over the data: as they stood at the last step still in it.
pub(crate) fn first_pass(steps: &[StepRecord]) -> Option<(f64, f64)> {
    let last = steps.iter().rev().find(|step| step.prequential_bits.is_some())?;
    (last.raw_bytes.0 > 0).then_some((last.prequential_bits?.0, last.raw_bytes.as_f64()))
}

fn lengths<'a>(data: &Data, run: &'a RunData) -> Option<Lengths<'a>> {
    let (bits, bytes) = first_pass(&run.steps)?;
    let rate = data
        .rates
        .iter()
        .map(|entry| &entry.record)
        .find(|record| record.name == run.plan.name && is_of_training_text(record, run));
    let two_part =
        rate.and_then(|record| Some(record.bits_per_byte()? + 8.0 * record.model_bytes() / bytes));
    Some(Lengths { run, bytes, prequential: bits / bytes, two_part })
}

/// Whether a rate is of text that the run was trained on, and of nothing else.
fn is_of_training_text(record: &RateRecord, run: &RunData) -> bool {
    record.corpus_sha256 == run.plan.corpus_sha256
        && record.raw_bytes.0 > 0
        && record.in_sample_bytes == record.raw_bytes
        && matches!(record.weight_code, None | Some(WeightCode::F16))
}

fn lowest_of_each_size(runs: &[&Lengths<'_>], of: CodeLength) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> =
        runs.iter().filter_map(|run| Some((run.run.plan.parameters() as f64, of(run)?))).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    points.dedup_by_key(|point| point.0);
    points
}

fn table(runs: &[Lengths<'_>]) -> Table {
    let mut columns = vec![Column::text("run"), Column::text("corpus")];
    let heads = ["parameters", "first pass, bytes", "prequential bits/byte", "two-part bits/byte"];
    columns.extend(heads.map(Column::number));
    let row = |run: &Lengths<'_>| {
        let plan = &run.run.plan;
        let numbers =
            [Some(plan.parameters() as f64), Some(run.bytes), Some(run.prequential), run.two_part];
        let numbers = numbers.map(Cell::plain);
        [Cell::text(&plan.name), Cell::text(&plan.corpus)].into_iter().chain(numbers).collect()
    };
    let rows = runs.iter().map(row).collect();
    Table { columns, groups: vec![Group { rows, ..Group::default() }], ..Table::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use lmtrain_runs::Bytes;

    #[test]
    fn two_parts_are_the_rate_on_training_text_and_the_model() {
        let plan = samples::plan("200K", 0);
        let steps = samples::steps(&plan, 2.0);
        let (_, bytes) = first_pass(&steps).expect("a first pass");
        let mut trained = samples::rate("200K", "enwik8", 0.30);
        trained.span.end = 90_000_000;
        trained.raw_bytes = Bytes(90_000_000);
        let held_out = RateRecord { in_sample_bytes: Bytes(0), ..trained.clone() };
        let model = trained.model_bytes();
        let rate = trained.bits_per_byte().expect("measured");
        for (record, expected) in [(trained, Some(rate + 8.0 * model / bytes)), (held_out, None)] {
            let data = Data::new(vec![(plan.clone(), steps.clone())], vec![record]);
            assert_eq!(lengths(&data, &data.runs[0]).expect("steps").two_part, expected);
            assert!(figure(&data).is_some());
        }
        let begun = Data::new(vec![(plan, steps[..steps.len() / 2].to_vec())], Vec::new());
        assert!(figure(&begun).is_none());
    }
}
