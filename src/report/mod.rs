//! The report: records in; figures, tables and one page out. It reads only records, never logs, weights or corpora, and
//! the same records give identical files. To add a figure, add a file and a row in [`figures::FIGURES`]; for a table,
//! in [`tables::TABLES`].

#[cfg(test)]
mod browser_tests;
mod draw;
mod figure;
mod figures;
mod format;
mod gallery;
mod law;
mod names;
mod page;
pub(crate) mod pictures;
mod records;
mod reported;
#[cfg(test)]
pub(crate) mod samples;
mod subject;
mod table;
mod tables;
mod views;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use lmtrain_runs::Store;
use lmtrain_runs::files::write_atomic;
use lmtrain_runs::recipe::Choice;

use figure::Drawn;
use figures::{FIGURES, by_choice};
use law::Laws;
use records::Records;
use table::Tabled;
use tables::TABLES;

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

/// Writes figures, tables and the page of a store's records into the folder `out`.
///
/// # Errors
/// If nothing was measured yet, a record is damaged, or a file cannot be written. Nothing is
/// written unless everything could be made.
pub(crate) fn write(store: &Store, out: &Path, options: &Options) -> Result<Written> {
    let records = Records::read(store)?;
    if records.is_empty() {
        let folder = store.root().display();
        bail!(
            "no measurement is recorded in `{folder}`\n\
             hint: `lmtrain quickstart` makes a first study; `lmtrain eval` measures runs and compressors"
        );
    }
    let laws = Laws::of(&records.compared);
    let figures = drawn(&records, &laws, &options.by)?;
    let tables = tabled(&records, &laws);
    let page = out.join("index.html");
    let galleries = gallery::galleries(&records.samples)?;
    let html = page::page(&records, &laws, (&figures, &tables, &galleries), &options.command);
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

fn drawn(records: &Records, laws: &Laws, by: &[&'static Choice]) -> Result<Vec<Drawn>> {
    let mut drawn = Vec::new();
    for choice in by {
        let Some(figure) = by_choice::figure(records, choice) else {
            let key = choice.key;
            bail!(
                "no measured runs differ only in `{key}`\n\
                 hint: `lmtrain sweep --size 200K --set {key}=…,…` trains some"
            );
        };
        drawn.push(figure.drawn(format!("by-{}", choice.key), format!("Rate by {}", choice.key))?);
    }
    for named in FIGURES {
        if let Some(figure) = (named.make)(records, laws) {
            drawn.push(figure.drawn(named.name.to_owned(), named.title.to_owned())?);
        }
    }
    Ok(drawn)
}

fn tabled(records: &Records, laws: &Laws) -> Vec<Tabled> {
    let made = TABLES.iter().filter_map(|named| Some((named, (named.make)(records, laws)?)));
    made.map(|(named, table)| table.tabled(named.name, named.title)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
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
            message.contains("lmtrain quickstart") && message.contains("lmtrain eval"),
            "{message}"
        );
        assert!(!out.exists());
    }

    /// Puts the records of the compressors and of the runs into the opposite order.
    fn reverse(store: &Store) {
        let mut reversed = 0;
        for run in store.runs().expect("readable").iter().chain([&store.compressors()]) {
            let path = run.folder().join("rates.jsonl");
            let Ok(text) = fs::read_to_string(&path) else { continue };
            reversed += usize::from(text.lines().count() > 1);
            let lines = text.lines().rev().map(|line| format!("{line}\n"));
            fs::write(&path, lines.collect::<String>()).expect("written");
        }
        assert!(reversed > 5, "there was something to reverse");
    }

    #[test]
    fn the_same_records_give_the_same_bytes_in_whatever_order_they_were_made() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::new(folder.path().join("runs"));
        samples::study(&store);
        let written = |name: &str| {
            let out = folder.path().join(name);
            let written = write(&store, &out, &options()).expect("written");
            assert_eq!(written.files[0], written.page);
            let content = |path: &PathBuf| {
                let name = path.strip_prefix(&out).expect("within").to_owned();
                (name, fs::read(path).expect("there"))
            };
            written.files.iter().map(content).collect::<Vec<_>>()
        };
        let (once, twice) = (written("once"), written("twice"));
        assert_eq!(once.len(), 1 + 3 * FIGURES.len() + 2 * TABLES.len(), "nothing is left out");
        reverse(&store);
        for again in [twice, written("reversed")] {
            assert_eq!(once.len(), again.len());
            for (one, other) in once.iter().zip(&again) {
                assert!(one == other, "{} and {}", one.0.display(), other.0.display());
            }
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
