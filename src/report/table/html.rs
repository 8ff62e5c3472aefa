//! Tables as HTML: groups of rows with headings, the numbers behind the texts for the page's script to sort by, and
//! numbers reported by others marked as such.

use std::fmt::Write;

use super::{Cell, Column, Group, Table};
use crate::report::format::html;

/// The `table` element.
#[must_use]
pub(crate) fn table_element(table: &Table) -> String {
    let mut text = format!("<table>\n<thead>\n{}", over_row(&table.columns));
    text += "<tr>";
    for column in &table.columns {
        let _ = write!(text, "<th scope=\"col\"{}>{}</th>", class(column, ""), html(&column.head));
    }
    text += "</tr>\n</thead>\n";
    for group in &table.groups {
        text += &group_element(group, &table.columns);
    }
    text + "</table>\n"
}

/// The row of heads over others, if there are any.
fn over_row(columns: &[Column]) -> String {
    if columns.iter().all(|column| column.over.is_empty()) {
        return String::new();
    }
    let mut text = String::from("<tr>");
    for under in columns.chunk_by(|one, other| one.over == other.over) {
        let class = if under[0].reported { " class=\"reported\"" } else { "" };
        let over = html(&under[0].over);
        let _ = match over.is_empty() {
            true => write!(text, "{}", "<td></td>".repeat(under.len())),
            false => write!(
                text,
                "<th scope=\"colgroup\" colspan=\"{}\"{class}>{over}</th>",
                under.len()
            ),
        };
    }
    text + "</tr>\n"
}

fn group_element(group: &Group, columns: &[Column]) -> String {
    let mut text = format!("<tbody{}>\n", if group.reported { " class=\"reported\"" } else { "" });
    if !group.head.is_empty() {
        let (span, head) = (columns.len(), html(&group.head));
        let _ = writeln!(
            text,
            "<tr class=\"head\"><th scope=\"rowgroup\" colspan=\"{span}\">{head}</th></tr>"
        );
    }
    for row in &group.rows {
        let cells = columns.iter().zip(row).map(|(column, cell)| cell_element(column, cell));
        let _ = writeln!(text, "<tr>{}</tr>", cells.collect::<String>());
    }
    text + "</tbody>\n"
}

fn cell_element(column: &Column, cell: &Cell) -> String {
    let wide = match cell.text.chars().count() {
        0..=60 if cell.extrapolated => "extrapolated",
        0..=60 => "",
        _ => "wide",
    };
    let value = cell.value.map(|value| format!(" data-value=\"{value}\"")).unwrap_or_default();
    let note = match html(&cell.note) {
        note if note.is_empty() => note,
        note => format!(" <small>{note}</small>"),
    };
    format!("<td{}{value}>{}{note}</td>", class(column, wide), html(&cell.text))
}

fn class(column: &Column, more: &str) -> String {
    let number = if column.number { "n" } else { "" };
    let reported = if column.reported { "reported" } else { "" };
    let classes: Vec<&str> =
        [number, reported, more].into_iter().filter(|class| !class.is_empty()).collect();
    if classes.is_empty() { String::new() } else { format!(" class=\"{}\"", classes.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_span_their_columns_and_text_is_escaped() {
        let columns = vec![
            Column::text("name"),
            Column::number("a").under("<x>"),
            Column::number("b").under("<x>"),
        ];
        let row = vec![
            Cell::text("<b>"),
            Cell::number(Some(0.25), |value| format!("{value:.1}")).with_note("\"n\""),
            Cell::default(),
        ];
        let group = Group { head: "g & h".into(), rows: vec![row], reported: true };
        let text = table_element(&Table { columns, groups: vec![group], ..Table::default() });
        for part in [
            "<th scope=\"colgroup\" colspan=\"2\">&lt;x&gt;</th>",
            "<th scope=\"rowgroup\" colspan=\"3\">g &amp; h</th>",
            "<td>&lt;b&gt;</td>",
            "<td class=\"n\" data-value=\"0.25\">0.2 <small>&quot;n&quot;</small></td>",
            "<tbody class=\"reported\">",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
