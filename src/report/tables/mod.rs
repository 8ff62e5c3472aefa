//! Tables: rows of cells, made once and written as Markdown, as CSV and as HTML. To add one, add a
//! file and a row in [`TABLES`].

mod details;
pub(crate) mod html;
mod laws;
mod rates;
mod residuals;
mod runs;
mod tokenizers;
pub(crate) mod vocabulary;
pub(crate) mod weight_codes;

use std::fmt::Write;

use super::data::Data;
use super::format;

/// A table by name.
pub(crate) struct Entry {
    /// Name of its files and its place on the page.
    pub(crate) name: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// Makes it of the records; absent where there is nothing to show.
    pub(crate) make: fn(&Data) -> Option<Table>,
}

/// Every table, in the order of the page.
pub(crate) const TABLES: &[Entry] = &[
    Entry { name: "rates", title: "Compression rates", make: rates::table },
    Entry { name: "laws", title: "Scaling laws", make: laws::table },
    Entry { name: "residuals", title: "Residuals of the laws", make: residuals::table },
    Entry { name: "vocabulary", title: "Raw rate by vocabulary and size", make: vocabulary::table },
    Entry {
        name: "tokenizers",
        title: "Bytes per token and time per byte",
        make: tokenizers::table,
    },
    Entry { name: "weight-codes", title: "Codes of the weights", make: weight_codes::table },
    Entry { name: "details", title: "Every measurement", make: details::table },
    Entry { name: "runs", title: "Runs", make: runs::table },
];

/// A column of a table whose rows are all alike: its head, whether it holds numbers, and what a row
/// has in it.
pub(crate) type Filled<Row> = (&'static str, bool, fn(&Data, &Row) -> Cell);

/// A table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// What it shows, in sentences.
    pub(crate) caption: String,
    /// Its columns.
    pub(crate) columns: Vec<Column>,
    /// Its rows, in groups.
    pub(crate) groups: Vec<Group>,
}

/// A column.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    /// What it and its neighbours belong to.
    pub(crate) over: String,
    /// Its own head.
    pub(crate) head: String,
    /// Whether its cells are numbers.
    pub(crate) number: bool,
    /// Whether its numbers are not ours.
    pub(crate) reported: bool,
}

/// Rows under a common head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// The head; empty if the table has but one group.
    pub(crate) head: String,
    /// Whether its rows are not ours.
    pub(crate) reported: bool,
    /// Its rows.
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A cell: absent is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    /// What readers see.
    pub(crate) text: String,
    /// A remark in smaller letters after it.
    pub(crate) note: String,
    /// The number behind the text: what CSV holds, and what rows are sorted by.
    pub(crate) value: Option<f64>,
    /// The ends of its 95 % interval: in CSV two more columns.
    pub(crate) interval: Option<[f64; 2]>,
    /// Whether it lies beyond what was measured.
    pub(crate) extrapolated: bool,
}

impl Cell {
    /// Plain text.
    #[must_use]
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A number by its own text; empty if it was not measured.
    #[must_use]
    pub(crate) fn number(value: Option<f64>, write: impl Fn(f64) -> String) -> Self {
        let text = value.map(write).unwrap_or_default();
        Self { text, value, ..Self::default() }
    }

    /// A number as it is, for the data of a figure.
    #[must_use]
    pub(crate) fn plain(value: Option<f64>) -> Self {
        Self::number(value, |value| value.to_string())
    }

    /// The same with a remark.
    #[must_use]
    pub(crate) fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

impl Column {
    /// A column of text.
    #[must_use]
    pub(crate) fn text(head: &str) -> Self {
        Self { head: head.to_owned(), ..Self::default() }
    }

    /// A column of numbers.
    #[must_use]
    pub(crate) fn number(head: &str) -> Self {
        Self { number: true, ..Self::text(head) }
    }

    /// The same under a common head.
    #[must_use]
    pub(crate) fn under(self, over: &str) -> Self {
        Self { over: over.to_owned(), ..self }
    }

    fn full_head(&self) -> String {
        if self.over.is_empty() {
            self.head.clone()
        } else {
            format!("{}: {}", self.over, self.head)
        }
    }
}

impl Table {
    /// As a Markdown table. What others reported is in italics.
    #[must_use]
    pub(crate) fn markdown(&self, title: &str) -> String {
        let mut text = format!("# {title}\n\n{}\n\n", format::markdown(&self.caption));
        let head = |column: &Column| {
            let head = format::markdown(&column.full_head());
            if column.reported { format!("*{head}*") } else { head }
        };
        let heads: Vec<String> = self.columns.iter().map(head).collect();
        let rules = self.columns.iter().map(|column| if column.number { "--:" } else { "---" });
        let _ = writeln!(text, "| {} |", heads.join(" | "));
        let _ = writeln!(text, "| {} |", rules.collect::<Vec<_>>().join(" | "));
        for group in &self.groups {
            if !group.head.is_empty() {
                let rest = " |".repeat(self.columns.len() - 1);
                let _ = writeln!(text, "| **{}** |{rest}", format::markdown(&group.head));
            }
            for row in &group.rows {
                let cells = self.columns.iter().zip(row);
                let cells =
                    cells.map(|(column, cell)| cell.markdown(column.reported || group.reported));
                let _ = writeln!(text, "| {} |", cells.collect::<Vec<_>>().join(" | "));
            }
        }
        text
    }

    /// As CSV: numbers as measured, not as rounded. The first column says the group, if there are
    /// several.
    #[must_use]
    pub(crate) fn csv(&self) -> String {
        let grouped = self.groups.iter().any(|group| !group.head.is_empty());
        let first = grouped.then(|| "group".to_owned());
        let unsure = |index: usize| {
            self.groups
                .iter()
                .flat_map(|group| &group.rows)
                .any(|row| row[index].interval.is_some())
        };
        let unsure: Vec<bool> = (0..self.columns.len()).map(unsure).collect();
        let heads = self.columns.iter().zip(&unsure).flat_map(|(column, unsure)| {
            let head = column.full_head();
            let ends = [format!("{head} from"), format!("{head} to")];
            let ends = ends.into_iter().filter(|_| *unsure);
            std::iter::once(head).chain(ends).map(|head| format::csv(&head)).collect::<Vec<_>>()
        });
        let heads = first.into_iter().chain(heads);
        let mut text = heads.collect::<Vec<_>>().join(",") + "\n";
        for group in &self.groups {
            for row in &group.rows {
                let first = grouped.then(|| format::csv(&group.head));
                let fields = row.iter().zip(&unsure).flat_map(|(cell, unsure)| cell.csv(*unsure));
                let fields = first.into_iter().chain(fields);
                text += &(fields.collect::<Vec<_>>().join(",") + "\n");
            }
        }
        text
    }
}

impl Cell {
    fn markdown(&self, reported: bool) -> String {
        let text = format::markdown(&self.text);
        let text = if (reported || self.extrapolated) && !text.is_empty() {
            format!("*{text}*")
        } else {
            text
        };
        match format::markdown(&self.note) {
            note if note.is_empty() => text,
            note => format!("{text} {note}"),
        }
    }

    /// Its field, and those of its interval where its column has intervals.
    fn csv(&self, unsure: bool) -> Vec<String> {
        let own = self.value.map_or_else(|| format::csv(&self.text), |value| value.to_string());
        let end = |end: usize| self.interval.map(|ends| ends[end].to_string()).unwrap_or_default();
        if unsure { vec![own, end(0), end(1)] } else { vec![own] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_records_is_escaped_everywhere() {
        let table = Table {
            caption: "<i>".into(),
            columns: vec![Column::text("a"), Column::number("b").under("over")],
            groups: vec![Group {
                rows: vec![vec![
                    Cell::text("<b>, \"x\" | y"),
                    Cell::number(Some(0.5), |value| format!("{value:.2}")).with_note("[1]"),
                ]],
                ..Group::default()
            }],
        };
        assert!(table.markdown("T").contains("| &lt;b&gt;, \"x\" \\| y | 0.50 \\[1\\] |"));
        assert_eq!(table.csv(), "a,over: b\n\"<b>, \"\"x\"\" | y\",0.5\n");
    }
}
