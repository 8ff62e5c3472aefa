//! Raw rates by vocabulary and size, in the form of the paper's Table 2, whose own numbers stand
//! beside as reported.

use super::{Cell, Column, Group, Table};
use crate::report::data::Data;
use crate::report::figures::curves::Curve;
use crate::report::figures::vocabulary::{Vocabularies, vocabularies};
use crate::report::format;
use crate::report::names;
use crate::report::reported::{self, TABLE_2, TABLE_2_SIZES};

/// The table; absent if no size was measured with several vocabularies.
pub(crate) fn table(data: &Data) -> Option<Table> {
    let curves = vocabularies(data);
    let mut sizes: Vec<_> = curves.iter().flat_map(|(_, sizes)| sizes.keys().copied()).collect();
    sizes.sort();
    sizes.dedup();
    let mut columns = vec![Column::number("vocabulary")];
    columns.extend(sizes.iter().map(|size| Column::number(&size.to_string()).under("raw %")));
    let over = format!("{}, as reported", reported::CORPUS);
    columns.extend(
        TABLE_2_SIZES.map(|name| Column { reported: true, ..Column::number(name).under(&over) }),
    );
    let group = |(curve, measured): &(Curve, Vocabularies<'_>)| {
        let mut vocabularies: Vec<usize> =
            measured.values().flat_map(|it| it.keys()).copied().collect();
        vocabularies.extend(TABLE_2.iter().map(|row| row.0));
        vocabularies.sort_unstable();
        vocabularies.dedup();
        let row = |&vocabulary: &usize| {
            let ours = sizes.iter().map(|size| {
                let record = measured.get(size).and_then(|of_size| of_size.get(&vocabulary));
                let rate = record.and_then(|record| record.raw_rate());
                Cell::number(rate.map(|rate| 100.0 * rate), |value| format::percent(value / 100.0))
            });
            let theirs = TABLE_2.iter().find(|row| row.0 == vocabulary).map(|row| row.1);
            let theirs = (0..TABLE_2_SIZES.len()).map(|column| {
                Cell::number(theirs.map(|rates| rates[column]), |rate| format!("{rate:.1}"))
            });
            let note = if vocabulary == 256 { "bytes" } else { "" };
            let first = Cell::number(Some(vocabulary as f64), format::grouped).with_note(note);
            std::iter::once(first).chain(ours).chain(theirs).collect()
        };
        let rows = vocabularies.iter().map(row).collect();
        let subject = &data.subjects[curve.subject].label;
        let head =
            format!("{subject}, {}, {}", names::chunking(curve.chunking), curve.in_sample.name());
        Group { head, rows, ..Group::default() }
    };
    let groups: Vec<Group> = curves.iter().map(group).collect();
    (!groups.is_empty()).then(|| Table {
        caption: format!(
            "The lowest raw rate of each size and vocabulary, in percent; the tokenizer is not \
             counted. Reported: {}, Table 2, raw rates on enwik9 of models trained on enwik8; not \
             ours.",
            reported::SOURCE
        ),
        columns,
        groups,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use lmtrain_runs::Tokenization;

    #[test]
    fn ours_and_the_papers_stand_beside_each_other() {
        let bytes = samples::rate("200K", "enwik9", 0.25);
        assert!(table(&Data::new(Vec::new(), vec![bytes.clone()])).is_none(), "one vocabulary");
        let mut bpe = samples::rate("200K", "enwik9", 0.22);
        bpe.name = "bpe".into();
        bpe.tokenization = Some(Tokenization::Bpe(5000));
        let table = table(&Data::new(Vec::new(), vec![bytes, bpe])).expect("two vocabularies");
        let rows = &table.groups[0].rows;
        assert_eq!(rows.len(), TABLE_2.len());
        let texts = |row: &[Cell]| row.iter().map(|cell| cell.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&rows[0]), ["256", "25.00", "22.9", "13.6", "6.4"]);
        assert_eq!(texts(&rows[1]), ["1,000", "", "25.4", "14.8", "6.9"]);
        assert_eq!(texts(&rows[3]), ["5,000", "22.00", "23.1", "17.1", "8.7"]);
    }
}
