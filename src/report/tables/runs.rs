//! The runs: their sizes, the cost of their training, and their results.

use lmtrain_runs::units::{short_count, short_seconds};

use crate::report::format;
use crate::report::names;
use crate::report::records::{Records, RunData};
use crate::report::table::{Cell, Filled, Table};
use crate::report::views::prequential::first_pass;
use crate::statistics::median;

/// A column and what a run has in it. To add a column, add a row.
const COLUMNS: &[Filled<Records, RunData>] = &[
    ("run", false, |_, run| Cell::text(&run.plan.name)),
    ("size", true, |_, run| {
        let weights = run.plan.size.core_parameters() as f64;
        Cell::number(Some(weights), |_| run.plan.size.to_string())
    }),
    ("parameters", true, |_, run| Cell::count(Some(run.plan.parameters()))),
    ("trained on", false, |_, run| Cell::text(&run.plan.corpus)),
    ("chosen", false, |_, run| Cell::text(names::chosen(&run.plan))),
    ("tokens", true, |_, run| tokens(run)),
    ("FLOPs", true, |_, run| {
        let seen = run.steps.last().map(|step| step.tokens as f64);
        Cell::number(seen.map(|seen| seen * run.plan.flops_per_token() as f64), scientific)
    }),
    ("validation bits/byte", true, |_, run| bits(run.lowest_validation())),
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
    ("evaluated by", false, |records, run| Cell::text(evaluated_by(records, run))),
];

const CAPTION: &str = "“Chosen” lists the choices in which a run differs from its recipe. Parameters include \
    embeddings. FLOPs are three forward passes for each token trained on. Validation is the lowest value on \
    the validation part of the training corpus. The prequential rate is the code length of the data in the \
    first pass, with each batch coded before the network learns from it. Tokens/s is the median over the \
    logged steps, without validation; training time includes validation.";

/// The table; absent without runs.
pub(super) fn table(records: &Records) -> Option<Table> {
    let table = Table::filled(COLUMNS, records, &records.runs);
    (!records.runs.is_empty()).then(|| Table { caption: CAPTION.to_owned(), ..table })
}

fn tokens(run: &RunData) -> Cell {
    let seen = run.steps.last().map_or(0, |step| step.tokens);
    let cell = Cell::short_count(Some(seen));
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

fn evaluated_by(records: &Records, run: &RunData) -> String {
    let mut makers: Vec<String> = Vec::new();
    for measurement in
        records.rates.iter().filter(|measurement| measurement.record.name == run.plan.name)
    {
        let made = &measurement.record.provenance;
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
        let records = Records::new(vec![(plan, steps)], vec![samples::rate("200K", "enwik8", 0.3)]);
        let table = table(&records).expect("a run");
        let row = &table.groups[0].rows[0];
        assert!(row[5].note.starts_with("of "), "unfinished: {:?}", row[5]);
        assert_eq!(row[8].value, Some(bits / bytes));
        assert_eq!(row[11].text, "cpu, 0123abc");
    }

    #[test]
    fn a_run_that_only_has_a_plan_has_a_row() {
        let records = Records::new(vec![(samples::plan("200K", 0), Vec::new())], Vec::new());
        let row = &table(&records).expect("a run").groups[0].rows[0];
        assert_eq!((row[7].text.as_str(), row[9].value), ("", None));
    }
}
