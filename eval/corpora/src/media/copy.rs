//! The bytes of a set, decoded once and kept in the cache: a file that is memory-mapped like any other corpus, and a
//! JSON summary of what the bytes are. They are named after the folder and the options, and are used as long as the
//! folder's images or sounds have the same names, lengths and times. A hash detects damage, and damaged copies are made
//! again.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use lmtrain_runs::Medium;
use lmtrain_runs::files::{Unfinished, remove_leftovers};
use lmtrain_runs::medium::MEDIA_CHUNK_BYTES;
use sha2::{Digest, Sha256};

use super::MediaKind;
use super::decode::decode;
use super::files::Files;
use super::folder::Walk;
use super::set::MediaSet;
use super::summary::{Summary, VERSION, go_on, is_of, media_file};
use crate::cache::wait_for_lock;
use crate::corpus::Corpus;
use crate::directory::DataDirectory;
use crate::error::CorpusError;
use crate::files::{Contents, open_bytes};
use crate::progress::{CorpusProgress, ProgressCallback};

/// Letters of a set's name that its copy keeps, for who looks into the cache.
const LONGEST_STEM: usize = 40;
/// Bytes that are hashed between two signs of progress.
const HASHED: usize = 1 << 22;

/// Where the copy of a set is.
struct Place {
    bytes: PathBuf,
    summary: PathBuf,
}

impl Place {
    fn of(set: &MediaSet, kind: MediaKind, data: &DataDirectory) -> Result<Self, CorpusError> {
        let failed = CorpusError::file("read", &set.folder);
        let real = set.folder.canonicalize().map_err(failed)?;
        let mut hash = Sha256::new();
        hash.update(real.as_os_str().as_encoded_bytes());
        hash.update(format!("\n{}{}", kind.name(), set.options));
        let digest = format!("{:x}", hash.finalize());
        let stem = lmtrain_runs::plan::file_safe(&set.folder.to_string_lossy());
        let stem: String = stem.chars().take(LONGEST_STEM).collect();
        let folder = data.cache.join("media");
        let file = |suffix| folder.join(format!("{stem}-{}.{suffix}", &digest[..32]));
        Ok(Self { bytes: file("bytes"), summary: file("json") })
    }

    fn read_summary(&self) -> Option<Summary> {
        let text = fs::read(&self.summary).ok()?;
        let summary: Summary = serde_json::from_slice(&text).ok()?;
        (summary.version == VERSION).then_some(summary)
    }
}

/// The corpus of a set, decoded if there is no copy of the folder in its present state.
pub(crate) fn open_set(
    set: &MediaSet,
    data: &DataDirectory,
    progress: &mut ProgressCallback,
) -> Result<Corpus, CorpusError> {
    let kind = set.kind()?;
    let place = Place::of(set, kind, data)?;
    if let Some(corpus) = kept(set, kind, &place, progress)? {
        return Ok(corpus);
    }
    let folder = data.cache.join("media");
    fs::create_dir_all(&folder).map_err(CorpusError::file("create", &folder))?;
    let lock = wait_for_lock(&place.bytes, progress)?;
    // Another process may have made it while this one waited.
    if let Some(corpus) = kept(set, kind, &place, progress)? {
        return Ok(corpus);
    }
    if lock.is_some() {
        remove_leftovers(&place.bytes);
    }
    let summary = decode(set, kind, &place.bytes, progress)?;
    let mut beside = Unfinished::beside(&place.summary)?;
    serde_json::to_writer(beside.file(), &summary)
        .map_err(|error| CorpusError::file("write", &place.summary)(error.into()))?;
    beside.finish()?;
    Ok(corpus(set, open_bytes(&place.bytes)?, summary))
}

fn corpus(set: &MediaSet, contents: Contents, summary: Summary) -> Corpus {
    Corpus::new(set.name.clone(), contents)
        .at_path(&set.folder)
        .with_medium(summary.medium)
        .with_files(Arc::new(summary.files))
        .with_sha256(summary.sha256)
}

/// What the copy says about the set's files, if there is a copy of the folder in its present state; the bytes
/// themselves are not read.
pub(crate) fn known_files(set: &MediaSet, data: &DataDirectory) -> Option<(Medium, Files)> {
    let kind = set.kind().ok()?;
    let place = Place::of(set, kind, data).ok()?;
    let summary = place.read_summary()?;
    let is_there = fs::metadata(&place.bytes).is_ok_and(|it| it.len() == summary.bytes);
    let go_on = &mut |_| ControlFlow::Continue(());
    let is_fresh = is_there && is_of(set, kind, &summary, go_on).ok()?;
    is_fresh.then_some((summary.medium, summary.files))
}

/// How many images or sounds a set has, and their lengths together, none of them decoded.
pub(crate) fn look_over(set: &MediaSet) -> Result<(u64, u64), CorpusError> {
    let kind = set.kind()?;
    let (mut files, mut bytes) = (0, 0);
    for entry in Walk::new(&set.folder)? {
        if let Some(file) = media_file(entry?, kind) {
            files += 1;
            bytes += file.state().map_or(0, |(bytes, _)| bytes);
        }
    }
    Ok((files, bytes))
}

/// The copy, if it is complete and of the folder in its present state.
fn kept(
    set: &MediaSet,
    kind: MediaKind,
    place: &Place,
    progress: &mut ProgressCallback,
) -> Result<Option<Corpus>, CorpusError> {
    let Some(summary) = place.read_summary() else { return Ok(None) };
    if !is_of(set, kind, &summary, progress)? {
        return Ok(None);
    }
    let Ok(contents) = open_bytes(&place.bytes) else { return Ok(None) };
    let is_whole = contents.len() as u64 == summary.bytes
        && hash_of(&contents, progress)? == summary.sha256
        && summary.files.chunks() * MEDIA_CHUNK_BYTES == summary.bytes;
    Ok(is_whole.then(|| corpus(set, contents, summary)))
}

fn hash_of(contents: &Contents, progress: &mut ProgressCallback) -> Result<String, CorpusError> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let of = Some(contents.len() as u64);
    for piece in contents.chunks(HASHED) {
        hash.update(piece);
        contents.release(bytes..bytes + piece.len());
        bytes += piece.len();
        go_on(progress(CorpusProgress::Hashing { bytes: bytes as u64, of }))?;
    }
    Ok(format!("{:x}", hash.finalize()))
}
