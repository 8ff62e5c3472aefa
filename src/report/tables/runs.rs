//! The runs: their sizes, what their training took, and how far it came.

use lmtrain_runs::units::{short_count, short_seconds};

use super::{Cell, Column, Filled, Group, Table};
use crate::report::data::{Data, RunData};
use crate::report::figures::prequential::first_pass;
use crate::report::format;
use crate::report::names;
use crate::statistics::median;

/// A column and what a run has in it. To add a column, add a row.
const COLUMNS: &[Filled<RunData>] = &[
    ("run", false, |_, run| Cell::text(&run.plan.name)),
    ("size", true, |_, run| {
        let weights = run.plan.size.core_parameters() as f64;
        Cell::number(Some(weights), |_| run.plan.size.to_string())
    }),
    ("parameters", true, |_, run| {
        Cell::number(Some(run.plan.parameters() as f64), format::grouped)
    }),
    ("trained on", false, |_, run| Cell::text(&run.plan.corpus)),
    ("chosen", false, |_, run| Cell::text(names::chosen(&run.plan))),
    ("tokens", true, |_, run| tokens(run)),
    ("FLOPs", true, |_, run| {
        let seen = run.steps.last().map(|step| step.tokens as f64);
        Cell::number(seen.map(|seen| seen * run.plan.flops_per_token() as f64), scientific)
    }),
    // The lowest: it is that network's weights which are kept.
    ("validation bits/byte", true, |_, run| {
        bits(run.steps.iter().filter_map(|step| step.validation_bits_per_byte).reduce(f64::min))
    }),
    ("prequential bits/byte", true, |_, run| {
        bits(first_pass(&run.steps).map(|(bits, bytes)| bits / bytes))
    }),
    ("tokens/s", true, |_, run| {
        let speeds = run.steps.iter().map(|step| step.train_tokens_per_s);
        Cell::number(median(speeds.collect()), format::grouped)
    }),
    ("training time", true, |_, run| {
        Cell::number(run.steps.last().map(|step| step.seconds), short_seconds)
    }),
    ("evaluated by", false, |data, run| Cell::text(evaluated_by(data, run))),
];

/// The table; absent without runs.
pub(crate) fn table(data: &Data) -> Option<Table> {
    let head = |&(head, number, _): &(&str, bool, _)| match number {
        true => Column::number(head),
        false => Column::text(head),
    };
    let row = |run: &RunData| COLUMNS.iter().map(|(_, _, cell)| cell(data, run)).collect();
    let rows: Vec<Vec<Cell>> = data.runs.iter().map(row).collect();
    (!rows.is_empty()).then(|| Table {
        caption: "“Chosen” is where a run departs from its recipe's row. Parameters are all of them, embeddings included. FLOPs are three forward passes \
                  a token, of tokens seen. Validation is the last one, on the part of the training \
                  corpus kept for it. The prequential rate is the code length of the data as it \
                  first went by, each batch before it was learned from. Tokens/s is the median \
                  over the logged steps, validation excluded; training time includes it."
            .to_owned(),
        columns: COLUMNS.iter().map(head).collect(),
        groups: vec![Group { rows, ..Group::default() }],
    })
}

fn tokens(run: &RunData) -> Cell {
    let seen = run.steps.last().map_or(0, |step| step.tokens);
    let cell = Cell::number(Some(seen as f64), |_| short_count(seen));
    let planned = short_count(run.plan.tokens());
    if cell.text == planned { cell } else { cell.with_note(format!("of {planned}")) }
}

fn bits(bits: Option<f64>) -> Cell {
    Cell::number(bits, |bits| format!("{bits:.3}"))
}

/// Floating-point operations as `1.23e15`.
fn scientific(value: f64) -> String {
    format!("{value:.2e}")
}

fn evaluated_by(data: &Data, run: &RunData) -> String {
    let mut makers: Vec<String> = Vec::new();
    for entry in data.rates.iter().filter(|entry| entry.record.name == run.plan.name) {
        let made = &entry.record.provenance;
        let commit = made.commit.as_ref().map(|commit| format!(", {commit}"));
        let maker = format!("{}{}", made.device, commit.unwrap_or_default());
        if !makers.contains(&maker) {
            makers.push(maker);
        }
    }
    names::sentence(&makers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_run_says_how_far_it_came() {
        let plan = samples::plan("200K", 0);
        let mut steps = samples::steps(&plan, 2.0);
        steps.truncate(50);
        let (bits, bytes) = first_pass(&steps).expect("a first pass");
        let data = Data::new(vec![(plan, steps)], vec![samples::rate("200K", "enwik8", 0.3)]);
        let table = table(&data).expect("a run");
        let row = &table.groups[0].rows[0];
        assert!(row[5].note.starts_with("of "), "unfinished: {:?}", row[5]);
        assert_eq!(row[8].value, Some(bits / bytes));
        assert_eq!(row[11].text, "cpu, 0123abc");
    }

    #[test]
    fn a_run_that_only_has_a_plan_has_a_row() {
        let data = Data::new(vec![(samples::plan("200K", 0), Vec::new())], Vec::new());
        let row = &table(&data).expect("a run").groups[0].rows[0];
        assert_eq!((row[7].text.as_str(), row[9].value), ("", None));
    }
}
