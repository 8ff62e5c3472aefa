//! A table: rows of cells under columns, made once and written as Markdown, as CSV and as HTML ([`html`]). Nothing here
//! knows about records.

pub(crate) mod html;

use std::fmt::Write;

use lmtrain_runs::units::short_count;

use super::format;

/// A column of a table whose rows are all alike: its head, whether it holds numbers, and what a row
/// has in it, given what all the rows are of.
pub(crate) type Filled<Of, Row> = (&'static str, bool, fn(&Of, &Row) -> Cell);

/// A table with its files' contents.
pub(crate) struct Tabled {
    /// Name of its files and its place on the page.
    pub(crate) name: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// The table.
    pub(crate) table: Table,
    /// As Markdown.
    pub(crate) markdown: String,
    /// As CSV.
    pub(crate) csv: String,
}

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

    /// A rate in percent; empty if it was not measured.
    #[must_use]
    pub(crate) fn percent(rate: Option<f64>) -> Self {
        let text = rate.map(format::percent).unwrap_or_default();
        Self { text, value: rate.map(|rate| 100.0 * rate), ..Self::default() }
    }

    /// A rate that is in percent already, with as many digits as the paper gives.
    #[must_use]
    pub(crate) fn reported(percent: Option<f64>) -> Self {
        Self::number(percent, |value| {
            if value < 1000.0 { format!("{value:.1}") } else { format::grouped(value) }
        })
    }

    /// A count in full; empty if it was not made.
    #[must_use]
    pub(crate) fn count(count: Option<u64>) -> Self {
        Self::number(count.map(|count| count as f64), format::grouped)
    }

    /// A count in few letters.
    #[must_use]
    pub(crate) fn short_count(count: Option<u64>) -> Self {
        let text = count.map(short_count).unwrap_or_default();
        Self { text, value: count.map(|count| count as f64), ..Self::default() }
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
    /// Rows without a head, and no caption: the numbers of a figure.
    #[must_use]
    pub(crate) fn of(columns: Vec<Column>, rows: Vec<Vec<Cell>>) -> Self {
        Self { columns, groups: vec![Group { rows, ..Group::default() }], ..Self::default() }
    }

    /// Rows that are all alike.
    #[must_use]
    pub(crate) fn filled<'a, Of, Row: 'a>(
        columns: &[Filled<Of, Row>],
        of: &Of,
        rows: impl IntoIterator<Item = &'a Row>,
    ) -> Self {
        let column = |&(head, number, _): &Filled<Of, Row>| match number {
            true => Column::number(head),
            false => Column::text(head),
        };
        let row = |row| columns.iter().map(|(_, _, cell)| cell(of, row)).collect();
        Self::of(columns.iter().map(column).collect(), rows.into_iter().map(row).collect())
    }

    /// With its files' contents.
    #[must_use]
    pub(crate) fn tabled(self, name: &'static str, title: &'static str) -> Tabled {
        let (markdown, csv) = (self.markdown(title), self.csv());
        Tabled { name, title, table: self, markdown, csv }
    }

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
