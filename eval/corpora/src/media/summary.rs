//! The summary beside a decoded set: what its bytes are, and how a change of the folder's files is noticed.

use std::ops::ControlFlow;

use lmtrain_runs::Medium;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::MediaKind;
use super::files::Files;
use super::folder::{Entry, FoundFile, Walk};
use super::set::MediaSet;
use crate::error::CorpusError;
use crate::progress::{CorpusProgress, ProgressCallback};

/// Raised when the same files are decoded to other bytes than before.
pub(crate) const VERSION: u32 = 1;
/// Files looked at between two signs of progress.
const LOOKED_AT: u64 = 1000;

/// What is beside the bytes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) version: u32,
    /// For people; the file's name decides.
    pub(crate) folder: String,
    pub(crate) medium: Medium,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    /// Images or sounds that were looked at, which the fingerprint is of.
    pub(crate) looked_at: u64,
    /// Whether these are all files, and not only as many as the requested chunks needed.
    pub(crate) is_all: bool,
    pub(crate) fingerprint: String,
    pub(crate) files: Files,
}

/// An interruption, as the error that it is.
pub(crate) fn go_on(flow: ControlFlow<()>) -> Result<(), CorpusError> {
    if flow.is_break() { Err(CorpusError::Interrupted) } else { Ok(()) }
}

/// Whether a summary is of a folder's present images or sounds.
pub(crate) fn is_of(
    set: &MediaSet,
    kind: MediaKind,
    summary: &Summary,
    progress: &mut ProgressCallback,
) -> Result<bool, CorpusError> {
    let mut fingerprint = Fingerprint::default();
    for (index, entry) in (0..).zip(Walk::new(&set.folder)?) {
        if index % LOOKED_AT == 0 {
            go_on(progress(CorpusProgress::Looking { files: index }))?;
        }
        let Some(file) = media_file(entry?, kind) else { continue };
        if !summary.is_all && fingerprint.count == summary.looked_at {
            break;
        }
        fingerprint.add(&file);
    }
    Ok(fingerprint.count == summary.looked_at && fingerprint.finish() == summary.fingerprint)
}

/// The number of images or sounds, if all of them are to be decoded, so that the total is known for the progress.
pub(crate) fn count_files(
    set: &MediaSet,
    kind: MediaKind,
    progress: &mut ProgressCallback,
) -> Result<Option<u64>, CorpusError> {
    if set.options.chunks.is_some() {
        return Ok(None);
    }
    let mut count = 0;
    for (index, entry) in (0..).zip(Walk::new(&set.folder)?) {
        if index % LOOKED_AT == 0 {
            go_on(progress(CorpusProgress::Looking { files: index }))?;
        }
        count += u64::from(media_file(entry?, kind).is_some());
    }
    Ok(Some(count))
}

/// How a change of a folder's images or sounds is noticed.
#[derive(Default)]
pub(crate) struct Fingerprint {
    hash: Sha256,
    pub(crate) count: u64,
}

impl Fingerprint {
    pub(crate) fn add(&mut self, file: &FoundFile) {
        self.count += 1;
        self.hash.update(file.relative.as_os_str().as_encoded_bytes());
        self.hash.update(format!("\0{:?}\0", file.state()));
    }

    pub(crate) fn finish(self) -> String {
        format!("{:x}", self.hash.finalize())
    }
}

pub(crate) fn media_file(entry: Entry, kind: MediaKind) -> Option<FoundFile> {
    match entry {
        Entry::File(file) if MediaKind::of(&file.path) == Some(kind) => Some(file),
        _ => None,
    }
}
