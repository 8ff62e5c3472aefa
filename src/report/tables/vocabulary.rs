//! Raw rates by vocabulary and size, in the form of the paper's Table 2, with the paper's numbers beside them as
//! reported.

use crate::report::records::Records;
use crate::report::reported;
use crate::report::table::Table;
use crate::report::views::vocabulary::rates;

/// The table; absent if no size was measured with several vocabularies.
pub(super) fn table(records: &Records) -> Option<Table> {
    let caption = format!(
        "The lowest raw rate of each size and vocabulary, in percent; the tokenizer is not counted. \
         Reported: {}, Table 2, raw rates on enwik9 of models trained on enwik8; not ours.",
        reported::SOURCE
    );
    Some(Table { caption, ..rates(records)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::reported::TABLE_2;
    use crate::report::samples;
    use crate::report::table::Cell;
    use lmtrain_runs::Tokenization;

    #[test]
    fn ours_and_the_papers_stand_beside_each_other() {
        let bytes = samples::rate("200K", "enwik9", 0.25);
        assert!(table(&Records::new(Vec::new(), vec![bytes.clone()])).is_none(), "one vocabulary");
        let mut bpe = samples::rate("200K", "enwik9", 0.22);
        bpe.name = "bpe".into();
        samples::run_facts(&mut bpe).network.tokenization = Some(Tokenization::Bpe(5000));
        let table = table(&Records::new(Vec::new(), vec![bytes, bpe])).expect("two vocabularies");
        let rows = &table.groups[0].rows;
        assert_eq!(rows.len(), TABLE_2.len());
        let texts = |row: &[Cell]| row.iter().map(|cell| cell.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&rows[0]), ["256", "25.00", "22.9", "13.6", "6.4"]);
        assert_eq!(texts(&rows[1]), ["1,000", "", "25.4", "14.8", "6.9"]);
        assert_eq!(texts(&rows[3]), ["5,000", "22.00", "23.1", "17.1", "8.7"]);
    }
}
