//! Two code lengths of the training data: prequential, where each batch is coded before the network learns from it, so
//! that no weights need to be sent (Blier & Ollivier, arXiv 1802.07044); and two-part, first the weights and then the
//! data coded with them.

use super::axes;
use crate::report::draw::axis::Unit;
use crate::report::draw::scene::Marker;
use crate::report::draw::series::{Series, Titled};
use crate::report::draw::theme::CATEGORIES;
use crate::report::figure::Figure;
use crate::report::records::Records;
use crate::report::table::{Cell, Column, Table};
use crate::report::views::prequential::{CodeLengths, code_lengths};

/// One of the two, if it was measured.
type CodeLength = fn(&CodeLengths<'_>) -> Option<f64>;

/// The figure; absent before a finished run has a prequential code length.
pub(super) fn figure(records: &Records) -> Option<Figure> {
    let runs = code_lengths(records);
    let mut groups: Vec<(String, Vec<&CodeLengths<'_>>)> = Vec::new();
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
    let y = Titled { title: "Code length of the training data, bits per byte", unit: Unit::Number };
    Figure::of_series(series, &axes::PARAMETERS, &y, Vec::new(), (CAPTION.to_owned(), table(&runs)))
}

const CAPTION: &str = "Two ways to transmit the data of a run's first pass. Prequential: each batch is coded \
    before the network learns from it, so the receiver can train the same network, and no weights are sent; \
    this is the sum of the training losses over the first pass. Two-part: first the saved weights and the \
    tokenizer are sent, then the same number of bytes at the finished network's rate on its training data; \
    shown only if that rate was measured (`lmtrain eval --part train`). The lowest of each size is shown. \
    Both axes are logarithmic.";

fn lowest_of_each_size(runs: &[&CodeLengths<'_>], of: CodeLength) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> =
        runs.iter().filter_map(|run| Some((run.run.plan.parameters() as f64, of(run)?))).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    points.dedup_by_key(|point| point.0);
    points
}

fn table(runs: &[CodeLengths<'_>]) -> Table {
    let mut columns = vec![Column::text("run"), Column::text("corpus")];
    let heads = ["parameters", "first pass, bytes", "prequential bits/byte", "two-part bits/byte"];
    columns.extend(heads.map(Column::number));
    let row = |run: &CodeLengths<'_>| {
        let plan = &run.run.plan;
        let numbers =
            [Some(plan.parameters() as f64), Some(run.bytes), Some(run.prequential), run.two_part];
        let numbers = numbers.map(Cell::plain);
        [Cell::text(&plan.name), Cell::text(&plan.corpus)].into_iter().chain(numbers).collect()
    };
    let rows = runs.iter().map(row).collect();
    Table::of(columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_finished_run_is_a_figure_and_one_that_has_begun_is_none() {
        let plan = samples::plan("200K", 0);
        let steps = samples::steps(&plan, 2.0);
        let finished = Records::new(vec![(plan.clone(), steps.clone())], Vec::new());
        assert!(figure(&finished).is_some());
        let begun = Records::new(vec![(plan, steps[..steps.len() / 2].to_vec())], Vec::new());
        assert!(figure(&begun).is_none());
    }
}
