//! Opening corpora while showing the progress, and choosing one.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Result;
use lmtrain_corpora::{self as corpora, Corpus};
#[cfg(feature = "train")]
use lmtrain_runs::plan::DEFAULT_CORPUS;

use crate::context::Context;
use crate::progress::ShownProgress;

/// A text shorter than this shows nothing.
#[cfg(feature = "train")]
const LEAST_TEXT: u64 = 1_000_000;

/// The text to train on if none is named: enwik8, alone or within enwik9, else the largest that is here.
#[cfg(feature = "train")]
pub(super) fn best_text(context: &Context) -> Result<Option<String>> {
    let there = context.data.list()?.into_iter().filter(|listing| {
        let is_here =
            listing.is_here() || matches!(listing.presence, corpora::Presence::PrefixOf(_));
        is_here && listing.holds == "text" && listing.bytes.is_none_or(|bytes| bytes >= LEAST_TEXT)
    });
    let there: Vec<corpora::Listing> = there.collect();
    let enwik8 = there.iter().find(|listing| listing.name == DEFAULT_CORPUS);
    let length = |listing: &&corpora::Listing| listing.bytes.or(listing.bytes_on_disk);
    let best = enwik8.or_else(|| there.iter().max_by_key(length));
    Ok(best.map(|listing| listing.name.clone()))
}

/// Opens a corpus by name or path. The progress of unpacking or decoding is shown, and files that are left out are
/// reported.
pub(super) fn open_corpus(name: &str, context: &Context) -> Result<Arc<Corpus>> {
    open_for(name, false, context)
}

/// The same; with `strict`, files that do not decode are an error.
pub(super) fn open_for(name: &str, strict: bool, context: &Context) -> Result<Arc<Corpus>> {
    let corpus = open_silently(name, strict, context)?;
    for note in corpus.files().map(|files| files.notes(corpus.medium())).unwrap_or_default() {
        context.say(&format!("{}: {note}", corpus.name()));
    }
    Ok(corpus)
}

/// The same, of a corpus that was opened before: what is left out is known.
pub(super) fn open_again(name: &str, context: &Context) -> Result<Arc<Corpus>> {
    open_silently(name, false, context)
}

/// The same, without reporting files that are left out.
pub(super) fn open_silently(name: &str, strict: bool, context: &Context) -> Result<Arc<Corpus>> {
    let mut shown = None;
    let mut progress = |progress| {
        show(shown.get_or_insert_with(|| ShownProgress::new(name, context.quiet)), progress);
        if context.is_stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let open = if strict { corpora::open_strictly } else { corpora::open_with };
    Ok(Arc::new(open(name, &context.data, &mut progress)?))
}

/// Opens what a run trains on: a corpus, or a mixture of several.
#[cfg(feature = "train")]
pub(super) fn open_mixture(
    text: &str,
    strict: bool,
    context: &Context,
) -> Result<corpora::Mixture> {
    corpora::Mixture::open(text, &context.data, |name| open_for(name, strict, context))
}

/// Shows how far a download, an unpacking, a decoding or a checksum is.
pub(super) fn show(shown: &mut ShownProgress, progress: corpora::CorpusProgress) {
    use lmtrain_runs::Bytes;
    let (what, bytes, of) = match progress {
        corpora::CorpusProgress::Downloading { bytes, of } => ("downloaded", bytes, of),
        corpora::CorpusProgress::Unpacking { bytes, of } => ("unpacked", bytes, of),
        corpora::CorpusProgress::Hashing { bytes, of } => ("verified", bytes, of),
        corpora::CorpusProgress::Looking { files } => {
            return shown.update(files, None, &format!("{files} files scanned"));
        }
        corpora::CorpusProgress::Decoding { files, of_files, bytes, of_bytes } => {
            let note = format!("{files} files decoded, {}", Bytes(bytes));
            let (done, of) = if of_bytes.is_some() { (bytes, of_bytes) } else { (files, of_files) };
            return shown.update(done, of, &note);
        }
    };
    shown.update(bytes, of, &format!("{} {what}", Bytes(bytes)));
}
