//! How far each run lies from its scaling law.

use crate::report::law::{Laws, TrainedRun, Trend};
use crate::report::records::Records;
use crate::report::table::{Cell, Column, Group, Table};

/// The table; absent without a law.
pub(super) fn table(records: &Records, laws: &Laws) -> Option<Table> {
    let mut columns = vec![Column::text("run")];
    let heads = ["parameters", "tokens", "raw %", "law %", "residual %"];
    columns.extend(heads.map(Column::number));
    let group = |trend: &Trend| {
        let fit = trend.fit.as_ref().ok()?;
        let rows = trend.runs.iter().zip(&fit.residuals).map(|it| row(trend, it)).collect();
        let subject = &records.subjects[trend.condition.subject].label;
        let in_sample = trend.condition.in_sample.name();
        Some(Group {
            head: format!("{subject}, {in_sample}, {}", trend.tokenization),
            rows,
            ..Group::default()
        })
    };
    let groups: Vec<Group> = laws.trends().iter().filter_map(group).collect();
    (!groups.is_empty()).then(|| Table {
        caption:
            "Measured raw rates compared with the law that was fitted to them. A residual is how far the \
             measured rate is above the rate of the law."
                .to_owned(),
        columns,
        groups,
    })
}

fn row(trend: &Trend, (run, residual): (&TrainedRun, &f64)) -> Vec<Cell> {
    let count = |value: f64| Cell::short_count(Some(value as u64));
    let residual = 100.0 * (residual.exp() - 1.0);
    let signed = |value: f64| format!("{value:+.2}").replace('-', "−");
    vec![
        Cell::text(&run.name),
        count(run.parameters),
        count(run.tokens),
        Cell::percent(Some(run.rate)),
        Cell::percent(trend.fitted_rate(run)),
        Cell::number(Some(residual), signed),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn residuals_are_measured_over_fitted() {
        let records = Records::new(Vec::new(), samples::on_a_law("enwik8"));
        let table = table(&records, &Laws::of(&records.compared)).expect("a law");
        for row in &table.groups[0].rows {
            let value = |index: usize| row[index].value.expect("a number");
            assert!((value(3) / value(4) - 1.0 - value(5) / 100.0).abs() < 1e-9, "{row:?}");
            assert!(value(5).abs() < 2.0, "the samples lie near a law");
        }
    }
}
