//! Decoding a set: its files in the order of their names, on all cores, with their chunks one after another.

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lmtrain_runs::Medium;
use lmtrain_runs::files::Unfinished;
use lmtrain_runs::medium::MEDIA_CHUNK_BYTES;
use sha2::{Digest, Sha256};

use super::audio;
use super::decoded::Decoded;
use super::files::Files;
use super::folder::{Entry, FoundFile, Walk};
use super::images;
use super::in_order::in_order;
use super::set::MediaSet;
use super::summary::{Fingerprint, Summary, VERSION, count_files};
use super::{MediaKind, Options};
use crate::error::CorpusError;

use crate::progress::{CorpusProgress, ProgressCallback};

/// The result for an entry of the folder.
enum EntryOutcome {
    File(FoundFile, Decoded),
    /// An image among sounds, or a sound among images.
    OfOtherKind(FoundFile),
    Useless(PathBuf, String),
    Other,
}

/// Decodes a set into a file that appears only when it is whole.
pub(crate) fn decode(
    set: &MediaSet,
    kind: MediaKind,
    target: &Path,
    progress: &mut ProgressCallback,
) -> Result<Summary, CorpusError> {
    let options = set.options;
    let work = |entry: Result<Entry, CorpusError>| {
        Ok(match entry? {
            Entry::Other => EntryOutcome::Other,
            Entry::Useless { relative, reason } => EntryOutcome::Useless(relative, reason),
            Entry::File(file) => match MediaKind::of(&file.path) {
                Some(it) if it == kind => {
                    let decoded = decode_file(&file.path, kind, options);
                    EntryOutcome::File(file, decoded)
                }
                Some(_) => EntryOutcome::OfOtherKind(file),
                None => EntryOutcome::Other,
            },
        })
    };
    let mut copy = Copying {
        set,
        kind,
        output: Unfinished::beside(target)?,
        hash: Sha256::new(),
        bytes: 0,
        of_files: count_files(set, kind, progress)?,
        fingerprint: Fingerprint::default(),
        first: None,
        files: Files::default(),
        is_all: true,
    };
    let flow = in_order(Walk::new(&set.folder)?, work, &mut |outcome| {
        let taken = match outcome {
            Some(Ok(outcome)) => copy.take(outcome),
            Some(Err(error)) => ControlFlow::Break(Err(error)),
            None => ControlFlow::Continue(()),
        };
        match progress(copy.progress()) {
            ControlFlow::Break(()) => ControlFlow::Break(Err(CorpusError::Interrupted)),
            ControlFlow::Continue(()) => taken,
        }
    });
    if let ControlFlow::Break(end) = flow {
        end?;
    }
    copy.finish()
}

fn decode_file(path: &Path, kind: MediaKind, options: Options) -> Decoded {
    let unreadable = |error: std::io::Error| Decoded::Broken(format!("cannot be read: {error}"));
    match kind {
        MediaKind::Images => {
            fs::read(path).map_or_else(unreadable, |file| images::patches(&file, options.grey))
        }
        MediaKind::Audio => fs::File::open(path)
            .map_or_else(unreadable, |file| audio::chunks(Box::new(file), options.sixteen_bits)),
    }
}

/// A copy in the making.
struct Copying<'a> {
    set: &'a MediaSet,
    kind: MediaKind,
    output: Unfinished,
    hash: Sha256,
    bytes: u64,
    /// How many there are, where all of them are to be decoded.
    of_files: Option<u64>,
    fingerprint: Fingerprint,
    /// The first sound, and its rate, which is that of all.
    first: Option<(PathBuf, u32)>,
    files: Files,
    is_all: bool,
}

/// Whether to continue; if not, whether that is because there are enough chunks.
type Flow = ControlFlow<Result<(), CorpusError>>;

impl Copying<'_> {
    fn progress(&self) -> CorpusProgress {
        CorpusProgress::Decoding {
            files: self.fingerprint.count,
            of_files: self.of_files,
            bytes: self.bytes,
            of_bytes: self.set.options.chunks.map(|chunks| chunks * MEDIA_CHUNK_BYTES),
        }
    }

    fn take(&mut self, outcome: EntryOutcome) -> Flow {
        match outcome {
            EntryOutcome::Other => self.files.others += 1,
            EntryOutcome::Useless(relative, reason) => {
                self.files.not_followed.add(&relative, reason)
            }
            // Where a folder is known to hold sounds, a picture among them is no matter.
            EntryOutcome::OfOtherKind(_) if self.set.kind.is_some() => self.files.others += 1,
            EntryOutcome::OfOtherKind(file) => {
                let folder = self.set.folder.clone();
                let (kind, other) = (self.kind.files(), file.relative);
                return ControlFlow::Break(Err(CorpusError::Mixed { folder, kind, other }));
            }
            EntryOutcome::File(file, decoded) => {
                self.fingerprint.add(&file);
                match decoded {
                    Decoded::Broken(reason) => self.files.broken.add(&file.relative, reason),
                    Decoded::TooShort(what) => self.files.too_short.add(&file.relative, what),
                    Decoded::Chunks { bytes, rate_hz } => {
                        return self.take_chunks(file.relative, bytes, rate_hz);
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn take_chunks(&mut self, file: PathBuf, mut bytes: Vec<u8>, rate_hz: Option<u32>) -> Flow {
        match (rate_hz, self.set.options.rate_hz, &self.first) {
            (Some(rate), Some(wanted), _) if rate != wanted => {
                self.files.other_rate.add(&file, format!("{rate} Hz"));
                return ControlFlow::Continue(());
            }
            (Some(rate), _, Some((first, first_hz))) if rate != *first_hz => {
                return ControlFlow::Break(Err(CorpusError::Rates {
                    name: self.set.name.clone(),
                    first: first.clone(),
                    first_hz: *first_hz,
                    second: file,
                    second_hz: rate,
                }));
            }
            (Some(rate), _, None) => self.first = Some((file, rate)),
            _ => {}
        }
        let room = self.set.options.chunks.map(|chunks| chunks * MEDIA_CHUNK_BYTES - self.bytes);
        let is_enough = room.is_some_and(|room| room <= bytes.len() as u64);
        if is_enough {
            bytes.truncate(room.unwrap_or(0) as usize);
            self.is_all = false;
        }
        self.hash.update(&bytes);
        self.bytes += bytes.len() as u64;
        self.files.chunks.push((bytes.len() as u64 / MEDIA_CHUNK_BYTES) as u32);
        match self.output.file().write_all(&bytes) {
            Err(error) => {
                let failed = CorpusError::file("write what is decoded from", &self.set.folder);
                ControlFlow::Break(Err(failed(error)))
            }
            Ok(()) if is_enough => ControlFlow::Break(Ok(())),
            Ok(()) => ControlFlow::Continue(()),
        }
    }

    fn finish(self) -> Result<Summary, CorpusError> {
        if self.bytes == 0 {
            return Err(self.empty());
        }
        let rate_hz = self.first.map_or(0, |(_, rate_hz)| rate_hz);
        let medium = match self.kind {
            MediaKind::Images => Medium::PATCHES,
            MediaKind::Audio => {
                let bits = if self.set.options.sixteen_bits { 16 } else { 8 };
                Medium::Audio { bits, rate_hz }
            }
        };
        self.output.finish()?;
        Ok(Summary {
            version: VERSION,
            folder: self.set.folder.display().to_string(),
            medium,
            bytes: self.bytes,
            sha256: format!("{:x}", self.hash.finalize()),
            looked_at: self.fingerprint.count,
            is_all: self.is_all,
            fingerprint: self.fingerprint.finish(),
            files: self.files,
        })
    }

    fn empty(&self) -> CorpusError {
        let (kind, formats) = (self.kind.files(), self.kind.formats());
        let files = &self.files;
        let mut reason = format!("it yields no chunk: of {kind} ({formats}) it has ");
        let mut groups = Vec::new();
        for (group, what) in [
            (&files.broken, "that do not decode"),
            (&files.too_short, "too small for a chunk"),
            (&files.other_rate, "of another sample rate"),
        ] {
            if group.count > 0 {
                groups.push(format!("{} {what}, {}", group.count, group.named()));
            }
        }
        if groups.is_empty() {
            groups.push("none".to_owned());
        }
        reason += &format!("{}; it also has {} other files", groups.join("; "), files.others);
        CorpusError::EmptySet { folder: self.set.folder.clone(), reason }
    }
}
