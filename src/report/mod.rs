//! The report: records in; figures, tables and one page out. It reads records only, never logs,
//! weights or corpora, and the same records give the same bytes. To add a figure, add a file and a
//! row in [`figures::FIGURES`]; a table, in [`tables::TABLES`].

#[cfg(test)]
mod browser_tests;
mod data;
mod draw;
mod figures;
mod format;
mod law;
mod names;
mod page;
mod reported;
#[cfg(test)]
pub(crate) mod samples;
mod subject;
mod tables;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use lmtrain_runs::Store;
use lmtrain_runs::files::write_atomic;
use lmtrain_runs::recipe::Choice;

use data::Data;
use draw::chart::{NARROW, WIDE};
use draw::render;

/// What is asked for, besides the records.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The command line that makes the report: it is stated under every figure.
    pub(crate) command: String,
    /// Choices to draw rates against, besides.
    pub(crate) by: Vec<&'static Choice>,
}

/// What was written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// The page that holds everything.
    pub(crate) page: PathBuf,
    /// Every file, the page first.
    pub(crate) files: Vec<PathBuf>,
}

/// A figure with its files' contents.
struct Drawn {
    name: String,
    title: String,
    caption: String,
    svg: String,
    png: Vec<u8>,
    csv: String,
    /// For the page, at a screen's and at a telephone's width.
    inline: [String; 2],
}

/// A table with its files' contents.
struct Tabled {
    name: &'static str,
    title: &'static str,
    table: tables::Table,
    markdown: String,
    csv: String,
}

/// Writes figures, tables and the page of a store's records into the folder `out`.
///
/// # Errors
/// If nothing was measured yet, a record is damaged, or a file cannot be written. Nothing is
/// written unless everything could be made.
pub(crate) fn write(store: &Store, out: &Path, options: &Options) -> Result<Written> {
    let data = Data::read(store)?;
    if data.is_empty() {
        let folder = store.root().display();
        bail!(
            "nothing is recorded in `{folder}`, so there is nothing to report\n\
             hint: `lmtrain quickstart` makes a first study, `lmtrain fit --size 200K` a run"
        );
    }
    let figures = drawn(&data, &options.by)?;
    let tables = tabled(&data);
    let page = out.join("index.html");
    let html = page::page(&data, &figures, &tables, options);
    let mut files = vec![(page.clone(), html.into_bytes())];
    for Drawn { name, svg, png, csv, .. } in figures {
        let at = |suffix: &str| out.join("figures").join(format!("{name}.{suffix}"));
        files.push((at("svg"), svg.into_bytes()));
        files.push((at("png"), png));
        files.push((at("csv"), csv.into_bytes()));
    }
    for Tabled { name, markdown, csv, .. } in tables {
        let at = |suffix: &str| out.join("tables").join(format!("{name}.{suffix}"));
        files.push((at("md"), markdown.into_bytes()));
        files.push((at("csv"), csv.into_bytes()));
    }
    for (path, content) in &files {
        write_atomic(path, content)?;
    }
    Ok(Written { page, files: files.into_iter().map(|(path, _)| path).collect() })
}

fn drawn(data: &Data, by: &[&'static Choice]) -> Result<Vec<Drawn>> {
    let mut drawn = Vec::new();
    for choice in by {
        let Some(figure) = figures::by_choice::figure(data, choice) else {
            let key = choice.key;
            bail!(
                "nothing is measured of runs that differ in `{key}` alone\n\
                 hint: `lmtrain sweep --size 200K --set {key}=…,…` makes some"
            );
        };
        drawn.push(draw(format!("by-{}", choice.key), format!("Rate by {}", choice.key), figure)?);
    }
    for figures::Entry { name, title, make } in figures::FIGURES {
        let Some(figure) = make(data) else { continue };
        drawn.push(draw((*name).to_owned(), (*title).to_owned(), figure)?);
    }
    Ok(drawn)
}

fn draw(name: String, title: String, figure: figures::Figure) -> Result<Drawn> {
    let (wide, narrow) = ((figure.draw)(WIDE), (figure.draw)(NARROW));
    Ok(Drawn {
        svg: render::svg(&wide, &title)?,
        png: render::png(&wide)?,
        csv: figure.data.csv(),
        inline: [render::inline_svg(&wide, &title)?, render::inline_svg(&narrow, &title)?],
        caption: figure.caption,
        name,
        title,
    })
}

fn tabled(data: &Data) -> Vec<Tabled> {
    let tabled = |entry: &tables::Entry| {
        let table = (entry.make)(data)?;
        let (name, title) = (entry.name, entry.title);
        Some(Tabled { name, title, markdown: table.markdown(title), csv: table.csv(), table })
    };
    tables::TABLES.iter().filter_map(tabled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lmtrain_runs::record::Chunking;
    use std::fs;

    fn options() -> Options {
        Options { command: "lmtrain report".into(), by: Vec::new() }
    }

    #[test]
    fn no_records_no_files_and_the_next_command() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let out = folder.path().join("out");
        let error = write(&Store::new(folder.path()), &out, &options()).expect_err("nothing there");
        let message = error.to_string();
        assert!(
            message.contains("lmtrain quickstart") && message.contains("lmtrain fit"),
            "{message}"
        );
        assert!(!out.exists());
    }

    #[test]
    fn the_same_records_give_the_same_bytes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::new(folder.path().join("runs"));
        let gzip = samples::compressor("gzip", "enwik8", Chunking::Whole, 0.36);
        store.compressors().append_rate(&gzip).expect("appended");
        let once = write(&store, &folder.path().join("once"), &options()).expect("written");
        let twice = write(&store, &folder.path().join("twice"), &options()).expect("written");
        assert_eq!(once.files.len(), 1 + 3 + 2 * 2, "the page, a figure and two tables");
        assert_eq!(once.files[0], once.page);
        for (one, other) in once.files.iter().zip(&twice.files) {
            assert_eq!(fs::read(one).expect("there"), fs::read(other).expect("there"));
        }
    }

    #[test]
    fn a_damaged_record_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::new(folder.path());
        let path = store.compressors().folder().join("rates.jsonl");
        write_atomic(&path, b"{}\n").expect("written");
        let out = folder.path().join("out");
        let message = write(&store, &out, &options()).expect_err("damaged").to_string();
        assert!(message.contains("rates.jsonl") && !out.exists(), "{message}");
    }
}
