//! Rates of the same weights under several codes.

use crate::report::records::Records;
use crate::report::table::Table;
use crate::report::views::weight_codes::rates;

const CAPTION: &str = "The same weights in several codes: encoded, decoded and evaluated. Bytes are the size \
    of the encoded weights, without the tokenizer. Runs are saved in f16, so f32 holds the same numbers as \
    f16.";

/// The table; absent before a run was measured under several codes.
pub(super) fn table(records: &Records) -> Option<Table> {
    Some(Table { caption: CAPTION.to_owned(), ..rates(records)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use crate::report::table::Cell;
    use lmtrain_runs::Bytes;
    use lmtrain_runs::record::WeightCode;

    #[test]
    fn codes_of_the_same_weights_are_compared_and_alone_are_none() {
        let saved = samples::rate("200K", "enwik8", 0.25);
        assert!(table(&Records::new(Vec::new(), vec![saved.clone()])).is_none(), "one code");
        let coded = samples::coded(&saved, WeightCode::Int8, 1.01, Bytes(231_000));
        let records = Records::new(Vec::new(), vec![coded, saved]);
        assert_eq!(records.compared.len(), 1, "elsewhere only as saved");
        let table = table(&records).expect("two codes");
        let rows = &table.groups[0].rows;
        let texts =
            |row: &[Cell]| row[1..3].iter().map(|cell| cell.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&rows[0]), ["f16", "460,944"]);
        assert_eq!(texts(&rows[1]), ["int8", "231,000"]);
    }
}
