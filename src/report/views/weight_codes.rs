//! Rates of the same weights under several codes.

use lmtrain_runs::Bytes;
use lmtrain_runs::record::WeightCode;

use super::curves::Condition;
use crate::report::format;
use crate::report::law::Laws;
use crate::report::records::{Measurement, Records};
use crate::report::table::{Cell, Column, Group, Table};

/// The rates of runs that were measured under several codes, by condition: that of most
/// measurements first.
#[must_use]
pub(crate) fn coded(records: &Records) -> Vec<(Condition, Vec<&Measurement>)> {
    let mut conditions: Vec<(Condition, Vec<&Measurement>)> = Vec::new();
    for measurement in &records.rates {
        let Some(condition) = Condition::of(measurement) else { continue };
        match conditions.iter_mut().find(|other| other.0 == condition) {
            Some(other) => other.1.push(measurement),
            None => conditions.push((condition, vec![measurement])),
        }
    }
    for (_, measurements) in &mut conditions {
        let all = measurements.clone();
        // Codes are compared on the same bytes with the same weights.
        measurements.retain(|measurement| {
            all.iter().any(|other| {
                other.record.name == measurement.record.name
                    && other.record.excerpt.sample == measurement.record.excerpt.sample
                    && other.code() != measurement.code()
            })
        });
    }
    conditions.retain(|(_, measurements)| !measurements.is_empty());
    conditions.sort_by_key(|(_, measurements)| std::cmp::Reverse(measurements.len()));
    conditions
}

/// The laws of what was measured under each code, of the weights that were measured under several.
#[must_use]
pub(crate) fn laws(records: &Records) -> Vec<(WeightCode, Laws)> {
    let all: Vec<&Measurement> = coded(records).into_iter().flat_map(|(_, own)| own).collect();
    let of = |code: WeightCode| {
        let own = all.iter().filter(|measurement| measurement.code() == code);
        let own: Vec<Measurement> = own.map(|measurement| (*measurement).clone()).collect();
        (!own.is_empty()).then(|| (code, Laws::of(&own)))
    };
    WeightCode::ALL.into_iter().filter_map(of).collect()
}

/// The rates of the same weights under several codes, a group for each condition: what the table and
/// the figure's numbers are. Absent before a run was measured under several codes.
#[must_use]
pub(crate) fn rates(records: &Records) -> Option<Table> {
    let mut columns = vec![Column::text("run"), Column::text("code")];
    let heads = ["weights, bytes", "bits/parameter", "raw %", "adjusted %"];
    columns.extend(heads.map(Column::number));
    let mut groups = Vec::new();
    for (condition, mut measurements) in coded(records) {
        measurements.sort_by_key(|measurement| {
            (measurement.record.size(), measurement.record.name.clone(), measurement.code())
        });
        groups.push(Group {
            head: format!(
                "{}, {}",
                records.subjects[condition.subject].label,
                condition.in_sample.name()
            ),
            rows: measurements.into_iter().map(row).collect(),
            ..Group::default()
        });
    }
    (!groups.is_empty()).then(|| Table { columns, groups, ..Table::default() })
}

fn row(measurement: &Measurement) -> Vec<Cell> {
    let record = &measurement.record;
    let tokenizer = record.tokenizer_bytes().map_or(0.0, Bytes::as_f64);
    let bytes = record.model_bytes() - tokenizer;
    let bits = record.parameters().map(|count| 8.0 * bytes / count as f64);
    vec![
        Cell::text(&record.name),
        Cell::text(measurement.code().name()),
        Cell::number(Some(bytes), format::grouped),
        Cell::number(bits, |bits| format!("{bits:.2}")),
        Cell::percent(record.raw_rate()),
        Cell::percent(record.adjusted_rate()),
    ]
}
