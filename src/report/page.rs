//! The page: one HTML file that needs no other file, no network and no script. Figures are inline, at two widths; the
//! files of figures and tables are attached as `data:` links. All text from records is escaped.

use std::fmt::Write;

use lmtrain_runs::record::{Kind, RateRecord};

use super::draw::theme;
use super::figure::Drawn;
use super::format::{base64, html};
use super::gallery::Gallery;
use super::law::{Laws, Trend};
use super::names;
use super::records::Records;
use super::table::{Cell, Column, Table, Tabled, html::table_element};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Nothing is fetched from anywhere, whatever a record says.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// The whole page. `command` is what makes it: it is stated under every figure.
#[must_use]
pub(crate) fn page(
    records: &Records,
    laws: &Laws,
    (figures, tables, galleries): (&[Drawn], &[Tabled], &[Gallery]),
    command: &str,
) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>lmtrain report</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>\n{STYLE}{}</style>\n</head>\n<body>\n<header>\n\
         <h1>Small language models as compressors</h1>\n",
        theme::dark_rules(),
    );
    text += &lead(records);
    text += &glance(records);
    text += &answers(records, laws);
    text += &facts(records);
    text += "<nav aria-label=\"Contents\">\n<ol>\n";
    let figure_titles = figures.iter().map(|figure| (&*figure.name, &*figure.title));
    let table_titles = tables.iter().map(|table| (table.name, table.title));
    let of_gallery = |gallery: &'_ Gallery| (gallery.name.clone(), gallery.title.clone());
    let titles = figure_titles.map(of_figure).map(|(name, title)| (name, title.to_owned()));
    let titles = titles.chain(galleries.iter().map(of_gallery));
    let table_titles = table_titles.map(of_table).map(|(name, title)| (name, title.to_owned()));
    for (name, title) in titles.chain(table_titles) {
        let _ = writeln!(text, "<li><a href=\"#{name}\">{}</a></li>", html(&title));
    }
    text += "</ol>\n</nav>\n</header>\n<main>\n";
    for figure in figures {
        text += &figure_section(figure, command);
    }
    for Gallery { name, title, html: inner } in galleries {
        let _ =
            write!(text, "<section id=\"{name}\">\n<h2>{}</h2>\n{inner}</section>\n", html(title));
    }
    for table in tables {
        text += &table_section(table);
    }
    let _ = write!(
        text,
        "</main>\n<footer>Made by <code>{}</code> from the records of its runs; the same records \
         give the same page.</footer>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        html(command),
    );
    text
}

fn of_figure<'a>((name, title): (&str, &'a str)) -> (String, &'a str) {
    (format!("figure-{name}"), title)
}

fn of_table<'a>((name, title): (&str, &'a str)) -> (String, &'a str) {
    (format!("table-{name}"), title)
}

fn lead(records: &Records) -> String {
    let compressors = distinct(records, |record| {
        (record.kind() == Kind::Compressor).then(|| record.name.clone())
    });
    let count = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    };
    let mut corpora = distinct(records, |record| Some(record.excerpt.corpus.clone()));
    corpora.sort();
    let mut text = count(records.runs.len(), "run");
    if !compressors.is_empty() {
        text += &format!(" and {}", count(compressors.len(), "classical compressor"));
    }
    if !corpora.is_empty() {
        text += &format!(" on {}", names::sentence(&corpora));
    }
    format!("<p class=\"lead\">{}.</p>\n", html(&text))
}

/// The lowest adjusted rates of each corpus: what most readers came for.
fn glance(records: &Records) -> String {
    let mut columns = vec![Column::text("corpus")];
    let mut rows: Vec<Vec<Cell>> =
        records.subjects.iter().map(|subject| vec![Cell::text(&subject.label)]).collect();
    for kind in [Kind::Run, Kind::Pretrained, Kind::Compressor] {
        if records.compared.iter().any(|measurement| measurement.record.kind() == kind) {
            let over = names::kind(kind);
            columns.push(Column::text("lowest").under(over));
            columns.push(Column::number("adjusted %").under(over));
            for (subject, row) in rows.iter_mut().enumerate() {
                row.extend(lowest(records, subject, kind));
            }
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    format!("<div class=\"scroll\">\n{}</div>\n", table_element(&Table::of(columns, rows)))
}

fn lowest(records: &Records, subject: usize, kind: Kind) -> [Cell; 2] {
    let of_kind = records
        .compared
        .iter()
        .filter(|measurement| measurement.subject == subject && measurement.record.kind() == kind);
    let rated = of_kind
        .filter_map(|measurement| Some((measurement.record.adjusted_rate()?, &measurement.record)));
    let Some((rate, record)) = rated.min_by(|one, other| one.0.total_cmp(&other.0)) else {
        return Default::default();
    };
    let name = Cell::text(names::with_preset(record)).with_note(names::chunking(record.chunking));
    [name, Cell::percent(Some(rate))]
}

/// What the scaling laws say of the best size of model.
fn answers(records: &Records, laws: &Laws) -> String {
    let answer = |trend: &&Trend| {
        let subject = &records.subjects[trend.condition.subject];
        let answer = trend.answer(subject.bytes().0);
        let text =
            format!("{}, {}: lowest adjusted rate {answer}.", subject.label, trend.tokenization);
        format!("<li>{}</li>\n", html(&text))
    };
    let items: String = laws.shown().iter().map(answer).collect();
    if items.is_empty() { items } else { format!("<ul class=\"answers\">\n{items}</ul>\n") }
}

/// By what all was measured.
fn facts(records: &Records) -> String {
    let values = [
        ("Machine", distinct(records, |record| Some(record.provenance.machine.clone()))),
        ("Device", distinct(records, |record| Some(record.provenance.device.clone()))),
        ("Commit", distinct(records, |record| record.provenance.commit.clone())),
    ];
    let mut text = String::new();
    for (what, mut values) in values {
        values.retain(|value| !value.is_empty());
        values.sort();
        if !values.is_empty() {
            let _ = writeln!(text, "<dt>{what}</dt><dd>{}</dd>", html(&values.join("; ")));
        }
    }
    if text.is_empty() { text } else { format!("<dl>\n{text}</dl>\n") }
}

/// The different values that records have, in the order of the records.
fn distinct(records: &Records, of: impl Fn(&RateRecord) -> Option<String>) -> Vec<String> {
    let mut values = Vec::new();
    for value in records.rates.iter().filter_map(|measurement| of(&measurement.record)) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

fn figure_section(figure: &Drawn, command: &str) -> String {
    let Drawn { name, title, caption, svg, png, csv, inline: [wide, narrow] } = figure;
    let links = [
        link(name, "svg", "image/svg+xml", svg.as_bytes()),
        link(name, "png", "image/png", png),
        link(name, "csv", "text/csv", csv.as_bytes()),
    ];
    format!(
        "<section id=\"figure-{name}\">\n<h2>{}</h2>\n<figure>\n<div class=\"wide\">{wide}</div>\n\
         <div class=\"narrow\">{narrow}</div>\n<figcaption>{}</figcaption>\n</figure>\n\
         <p class=\"files\">{} · made by <code>{}</code></p>\n</section>\n",
        html(title),
        html(caption),
        links.join(" · "),
        html(command),
    )
}

fn table_section(tabled: &Tabled) -> String {
    let Tabled { name, title, table, markdown, csv } = tabled;
    let links = [
        link(name, "md", "text/markdown", markdown.as_bytes()),
        link(name, "csv", "text/csv", csv.as_bytes()),
    ];
    format!(
        "<section id=\"table-{name}\">\n<h2>{title}</h2>\n<p class=\"caption\">{}</p>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\">\n{}</div>\n\
         <p class=\"files\">{}</p>\n</section>\n",
        html(&table.caption),
        table_element(table),
        links.join(" · "),
        title = html(title),
    )
}

/// A link whose address is the file itself.
fn link(name: &str, suffix: &str, kind: &str, content: &[u8]) -> String {
    format!(
        "<a download=\"{name}.{suffix}\" href=\"data:{kind};base64,{}\">{}</a>",
        base64(content),
        suffix.to_uppercase(),
    )
}

#[cfg(test)]
mod tests {
    use crate::report::{Options, samples};
    use lmtrain_runs::Store;

    fn page_of(run_name: &str) -> String {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::new(folder.path().join("runs"));
        let plan = samples::plan("200K", 0);
        let run = store.run(run_name);
        run.save_plan(&plan).expect("saved");
        for step in samples::steps(&plan, 2.0) {
            run.append_step(&step).expect("appended");
        }
        let mut rate = samples::rate("200K", "enwik8", 0.3);
        rate.name = run_name.into();
        run.append_rate(&rate).expect("appended");
        let options = Options { command: "lmtrain report --out '<here>'".into(), by: Vec::new() };
        let written = crate::report::write(&store, &folder.path().join("out"), &options);
        std::fs::read_to_string(written.expect("written").page).expect("readable")
    }

    #[test]
    fn the_page_needs_nothing_and_escapes_everything() {
        let page = page_of("<script>alert(1)");
        assert_eq!(page.matches("<script>").count(), 1, "ours alone");
        assert!(page.contains("&lt;script&gt;alert(1)") && page.contains("&#39;&lt;here&gt;&#39;"));
        for attribute in ["src=", "@import", "url(", "href=\"http", "<link rel=\"stylesheet"] {
            assert!(!page.contains(attribute), "{attribute}");
        }
        let links = page.split("href=\"").skip(1).map(|link| link.chars().next());
        assert!(links.flatten().all(|first| first == '#' || first == 'd'), "anchors and data");
    }

    #[test]
    fn every_figure_and_table_is_there_and_listed() {
        let page = page_of("200K-bytes-modern-s0");
        let figures = ["adjusted-rate", "raw-rate", "rates", "learning", "frontier", "prequential"];
        for name in figures {
            assert!(page.contains(&format!("<a href=\"#figure-{name}\">")), "{name}");
            assert!(page.contains(&format!("<section id=\"figure-{name}\">")), "{name}");
        }
        for name in ["rates", "laws", "details", "runs"] {
            assert!(page.contains(&format!("<section id=\"table-{name}\">")), "{name}");
        }
        assert_eq!(page.matches("<svg ").count(), 2 * figures.len(), "each at two widths");
    }
}
