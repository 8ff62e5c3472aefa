//! `lmtrain data`: where corpora are, downloads, checksums.

use std::ops::ControlFlow;

use anyhow::{Result, bail};
use lmtrain_corpora::{self as corpora, FetchOptions, Listing, Presence, Verdict};
use lmtrain_runs::Bytes;

use super::corpora::{open_silently, show};
use super::output::{print_json, print_line, print_table};
use crate::cli::Data;
use crate::context::Context;
use crate::progress::ShownProgress;

pub(super) fn run(arguments: &Data, context: &Context) -> Result<()> {
    match arguments {
        Data::List => list(context),
        Data::Fetch { names } => fetch(names, context),
        Data::Verify { names, strict } => verify(names, *strict, context),
    }
}

fn list(context: &Context) -> Result<()> {
    let listings = context.data.list()?;
    if context.json {
        return print_json(&listings);
    }
    context.say(&format!("data directory: {}", context.data.root.display()));
    let rows: Vec<[String; 6]> = listings.iter().map(row).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [names, media, lengths, counts, places] = [0, 1, 2, 3, 4].map(width);
    let line = |[name, medium, length, count, place, about]: &[String; 6]| {
        format!(
            "{name:<names$}  {medium:<media$}  {length:>lengths$}  {count:>counts$}  \
             {place:<places$}  {about}"
        )
    };
    rows.iter().map(line).try_for_each(|line| print_line(&line))
}

/// Name, medium, length, files and chunks, place, what it is.
fn row(listing: &Listing) -> [String; 6] {
    let place = match &listing.presence {
        Presence::Present => {
            listing.path.as_ref().map_or(String::new(), |path| path.display().to_string())
        }
        Presence::PrefixOf(whole) => format!("the beginning of {whole}"),
        Presence::Absent => format!("– (`lmtrain data fetch {}`)", listing.name),
        Presence::AlwaysThere => "built in".to_owned(),
    };
    let chunks = listing.chunks.map(|chunks| format!("{chunks} chunks"));
    let count = match (listing.files, chunks) {
        (Some(files), Some(chunks)) => format!("{files} files, {chunks}"),
        (Some(files), None) => format!("{files} files, not decoded yet"),
        (None, chunks) => chunks.unwrap_or("–".to_owned()),
    };
    let obstacle = listing.obstacle.as_deref().and_then(|reason| reason.lines().next());
    // Of images and sounds that are not decoded yet, the files themselves.
    let length = listing.bytes.or(listing.bytes_on_disk.filter(|_| listing.files.is_some()));
    [
        listing.name.clone(),
        listing.medium.map_or(listing.holds.to_owned(), |medium| medium.to_string()),
        length.map_or("–".to_owned(), |bytes| Bytes(bytes).to_string()),
        count,
        place,
        obstacle.or(listing.about).unwrap_or_default().to_owned(),
    ]
}

fn fetch(names: &[String], context: &Context) -> Result<()> {
    let mut all = Vec::new();
    for name in names {
        let fetched = fetch_shown(name, &FetchOptions::default(), context)?;
        if !context.json {
            let what = match fetched.was_there {
                true => "already there".to_owned(),
                false => format!("downloaded and verified by {}", fetched.checked_by),
            };
            print_line(&format!("{name}: {what}: {}", fetched.path.display()))?;
        }
        all.push(serde_json::json!({
            "name": name,
            "path": fetched.path.display().to_string(),
            "downloaded_bytes": fetched.downloaded_bytes,
            "was_there": fetched.was_there,
            "checked_by": fetched.checked_by,
        }));
    }
    if context.json { print_json(&all) } else { Ok(()) }
}

/// Downloads one corpus with progress; used by quickstart as well.
pub(super) fn fetch_shown(
    name: &str,
    options: &FetchOptions,
    context: &Context,
) -> Result<corpora::Fetched, corpora::CorpusError> {
    let mut shown = ShownProgress::new(name, context.quiet);
    corpora::fetch(name, &context.data, options, &mut |progress| {
        show(&mut shown, progress);
        if context.is_stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

fn verify(names: &[String], strict: bool, context: &Context) -> Result<()> {
    let names = if names.is_empty() { present(context)? } else { names.to_vec() };
    let mut verifications = Vec::new();
    for name in &names {
        if strict {
            open_silently(name, true, context)?;
        }
        let mut shown = ShownProgress::new(name.as_str(), context.quiet);
        verifications.push(corpora::verify(name, &context.data, &mut |progress| {
            show(&mut shown, progress);
            if context.is_stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?);
        drop(shown);
    }
    for verification in &verifications {
        verification
            .left_out
            .iter()
            .for_each(|line| context.say(&format!("{}: {line}", verification.name)));
    }
    if context.json {
        print_json(&verifications)?;
    } else {
        let rows: Vec<Vec<String>> = verifications
            .iter()
            .map(|verification| {
                let verdict = match &verification.verdict {
                    Verdict::Matches => "as published".to_owned(),
                    Verdict::Differs { published } => format!("DIFFERS from {published}"),
                    Verdict::NothingPublished => "no published checksum".to_owned(),
                };
                vec![verification.name.clone(), verification.sha256.clone(), verdict]
            })
            .collect();
        print_table(&["", "sha256", ""], &rows)?;
    }
    let differs = |verdict: &Verdict| matches!(verdict, Verdict::Differs { .. });
    if let Some(wrong) = verifications.iter().find(|item| differs(&item.verdict)) {
        bail!(
            "`{}` differs from what was published\nhint: remove it, and fetch it again",
            wrong.name
        );
    }
    Ok(())
}

/// The texts that are files and there.
fn present(context: &Context) -> Result<Vec<String>> {
    let listings = context.data.list()?;
    let is_text = |listing: &Listing| listing.is_here() && listing.holds == "text";
    let names: Vec<String> =
        listings.into_iter().filter(is_text).map(|listing| listing.name).collect();
    if names.is_empty() {
        bail!(
            "there is no text in {}\nhint: `lmtrain data fetch enwik8`",
            context.data.text().display()
        );
    }
    Ok(names)
}
