//! Rates by vocabulary, for sizes that were measured with several vocabularies.

use std::collections::BTreeMap;

use lmtrain_runs::{RateRecord, Size};

use super::curves::Condition;
use crate::report::names;
use crate::report::records::Records;
use crate::report::reported::{self, TABLE_2, TABLE_2_SIZES};
use crate::report::table::{Cell, Column, Group, Table};

/// What was measured under one condition: for each size, the record of the lowest raw rate by
/// vocabulary.
pub(crate) type Vocabularies<'a> = BTreeMap<Size, BTreeMap<usize, &'a RateRecord>>;

/// The conditions under which some size was measured with several vocabularies, and their records;
/// the one of most vocabularies first, then what was held out, then the longest.
#[must_use]
pub(crate) fn vocabularies(records: &Records) -> Vec<(Condition, Vocabularies<'_>)> {
    let mut conditions: BTreeMap<Condition, Vocabularies<'_>> = BTreeMap::new();
    for measurement in &records.compared {
        let record = &measurement.record;
        let (Some(condition), Some(size), Some(tokenization)) =
            (Condition::of(measurement), record.size(), &record.tokenization())
        else {
            continue;
        };
        let of_size = conditions.entry(condition).or_default().entry(size).or_default();
        let best = of_size.entry(tokenization.vocabulary()).or_insert(record);
        if record.raw_rate() < best.raw_rate() {
            *best = record;
        }
    }
    let several = |sizes: &Vocabularies<'_>| sizes.values().any(|of_size| of_size.len() > 1);
    let mut conditions: Vec<_> =
        conditions.into_iter().filter(|(_, sizes)| several(sizes)).collect();
    let count = |sizes: &Vocabularies<'_>| sizes.values().map(BTreeMap::len).sum::<usize>();
    conditions.sort_by_key(|(_, sizes)| {
        let of_all = || sizes.values().flat_map(BTreeMap::values);
        let held_out = of_all().all(|record| record.in_sample_bytes.0 == 0);
        let length =
            of_all().map(|record| record.excerpt.span.end - record.excerpt.span.start).max();
        std::cmp::Reverse((count(sizes), held_out, length))
    });
    conditions
}

/// The raw rates by vocabulary and size, a group for each condition, the paper's beside: what the
/// table and the figure's numbers are. Absent if no size was measured with several vocabularies.
#[must_use]
pub(crate) fn rates(records: &Records) -> Option<Table> {
    let conditions = vocabularies(records);
    let mut sizes: Vec<_> =
        conditions.iter().flat_map(|(_, sizes)| sizes.keys().copied()).collect();
    sizes.sort();
    sizes.dedup();
    let mut columns = vec![Column::number("vocabulary")];
    columns.extend(sizes.iter().map(|size| Column::number(&size.to_string()).under("raw %")));
    let over = reported::head();
    columns.extend(
        TABLE_2_SIZES.map(|name| Column { reported: true, ..Column::number(name).under(&over) }),
    );
    let group = |(condition, measured): &(Condition, Vocabularies<'_>)| {
        let mut vocabularies: Vec<usize> =
            measured.values().flat_map(|it| it.keys()).copied().collect();
        vocabularies.extend(TABLE_2.iter().map(|row| row.0));
        vocabularies.sort_unstable();
        vocabularies.dedup();
        let row = |&vocabulary: &usize| {
            let ours = sizes.iter().map(|size| {
                let record = measured.get(size).and_then(|of_size| of_size.get(&vocabulary));
                Cell::percent(record.and_then(|record| record.raw_rate()))
            });
            let theirs = TABLE_2.iter().find(|row| row.0 == vocabulary).map(|row| row.1);
            let theirs = (0..TABLE_2_SIZES.len())
                .map(|column| Cell::reported(theirs.map(|rates| rates[column])));
            let note = if vocabulary == 256 { "bytes" } else { "" };
            let first = Cell::count(Some(vocabulary as u64)).with_note(note);
            std::iter::once(first).chain(ours).chain(theirs).collect()
        };
        let rows = vocabularies.iter().map(row).collect();
        let subject = &records.subjects[condition.subject].label;
        let chunking = names::chunking(condition.chunking);
        let head = format!("{subject}, {chunking}, {}", condition.in_sample.name());
        Group { head, rows, ..Group::default() }
    };
    let groups: Vec<Group> = conditions.iter().map(group).collect();
    (!groups.is_empty()).then(|| Table { columns, groups, ..Table::default() })
}
