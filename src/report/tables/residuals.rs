//! How far each run lies from its scaling law.

use super::{Cell, Column, Group, Table};
use crate::report::data::Data;
use crate::report::format;
use crate::report::law::{Point, Study};
use lmtrain_runs::units::short_count;

/// The table; absent without a law.
pub(crate) fn table(data: &Data) -> Option<Table> {
    let mut columns = vec![Column::text("run")];
    let heads = ["parameters", "tokens", "raw %", "law %", "residual %"];
    columns.extend(heads.map(Column::number));
    let group = |study: &Study| {
        let fit = study.fit.as_ref().ok()?;
        let rows = study.points.iter().zip(&fit.residuals).map(|it| row(study, it)).collect();
        let subject = &data.subjects[study.curve.subject].label;
        let in_sample = study.curve.in_sample.name();
        Some(Group {
            head: format!("{subject}, {in_sample}, {}", study.tokenization),
            rows,
            ..Group::default()
        })
    };
    let groups: Vec<Group> = data.studies().iter().filter_map(group).collect();
    (!groups.is_empty()).then(|| Table {
        caption:
            "Measured raw rates beside those of the law that was fitted to them. A residual is \
                  how far the measured rate is above the law's."
                .to_owned(),
        columns,
        groups,
    })
}

fn row(study: &Study, (point, residual): (&Point, &f64)) -> Vec<Cell> {
    let percent = |value: f64| Cell::number(Some(100.0 * value), |_| format::percent(value));
    let count = |value: f64| Cell::number(Some(value), |_| short_count(value as u64));
    let residual = 100.0 * (residual.exp() - 1.0);
    let signed = |value: f64| format!("{value:+.2}").replace('-', "−");
    vec![
        Cell::text(&point.name),
        count(point.parameters),
        count(point.tokens),
        percent(point.rate),
        study.fitted_rate(point).map(percent).unwrap_or_default(),
        Cell::number(Some(residual), signed),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn residuals_are_measured_over_fitted() {
        let table = table(&Data::new(Vec::new(), samples::on_a_law("enwik8"))).expect("a law");
        for row in &table.groups[0].rows {
            let value = |index: usize| row[index].value.expect("a number");
            assert!((value(3) / value(4) - 1.0 - value(5) / 100.0).abs() < 1e-9, "{row:?}");
            assert!(value(5).abs() < 2.0, "the samples lie near a law");
        }
    }
}
