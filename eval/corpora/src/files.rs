//! Reading files, long ones by memory-mapping, and writing only if there is enough space.

use std::fs::File;
use std::io::Read;
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

use super::error::CorpusError;

/// Files with more bytes are memory-mapped. Shorter ones are read, so that later changes of the file do not matter.
const MOST_READ_BYTES: u64 = 64 << 20;

/// Bytes, wherever they are.
pub(super) enum Contents {
    /// With the file, by which a change of its length is noticed.
    Mapped(Mmap, File),
    Owned(Vec<u8>),
    Packed(&'static [u8]),
}

impl Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map, _) => map,
            Self::Owned(bytes) => bytes,
            Self::Packed(bytes) => bytes,
        }
    }
}

impl Contents {
    /// Whether a mapped file still has its original length. If it was truncated meanwhile, zeros may have been read.
    pub(super) fn check_length(&self, path: &Path) -> Result<(), CorpusError> {
        let Self::Mapped(map, file) = self else { return Ok(()) };
        let found = file.metadata().map_err(CorpusError::file("read", path))?.len();
        let expected = map.len() as u64;
        if found < expected {
            return Err(CorpusError::Shortened { path: path.to_owned(), expected, found });
        }
        Ok(())
    }

    /// Lets the system release the memory of a mapped file's bytes; if they are accessed again, they are read from
    /// disk again. This affects the whole pages within the range.
    pub(super) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map, _) = self {
            // SAFETY: the map is of a file and nobody can write to it, so that no content is lost.
            #[expect(unsafe_code, reason = "the advice is safe for read-only maps of files only")]
            let _ = unsafe {
                map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len())
            };
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

/// A file's bytes. Those of a long file are read from disk as they are accessed.
pub(super) fn open_bytes(path: &Path) -> Result<Contents, CorpusError> {
    let mut file = File::open(path).map_err(CorpusError::file("open", path))?;
    let length = file.metadata().map_err(CorpusError::file("read", path))?.len();
    if length > MOST_READ_BYTES {
        // SAFETY: a map is sound while nobody shortens or changes the file under it. Corpora are
        // files that are read and not written: the cache's are never changed once they have their
        // name. Who shortens his own while it is being read gets the system's bus error if it is
        // looked at beyond its new end, and else the error of `check_length`.
        #[expect(unsafe_code, reason = "mapping a file has no safe form")]
        let mapped = unsafe { Mmap::map(&file) };
        // Some file systems cannot map; reading still works.
        if let Ok(map) = mapped {
            return Ok(Contents::Mapped(map, file));
        }
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.read_to_end(&mut bytes).map_err(CorpusError::file("read", path))?;
    Ok(Contents::Owned(bytes))
}

/// A file of any kind, whose memory can be released piece by piece if it is long; weights are read in this way.
pub struct MappedFile(Contents);

impl MappedFile {
    /// Maps a file, or reads it where it is short or the file system cannot map.
    ///
    /// # Errors
    /// If it cannot be opened or read.
    pub fn open(path: &Path) -> Result<Self, CorpusError> {
        open_bytes(path).map(Self)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Lets the system release the memory of these bytes; if they are accessed again, they are read from disk again.
    pub fn release(&self, range: Range<usize>) {
        self.0.release(range);
    }
}

/// Refuses if `folder`'s file system has less than `needed` bytes free.
pub(super) fn ensure_space(folder: &Path, needed: u64) -> Result<(), CorpusError> {
    // A file system that does not say is given the benefit of the doubt.
    match fs4::available_space(folder) {
        Ok(available) if available < needed => {
            Err(CorpusError::NoSpace { path: folder.to_owned(), needed, available })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_be_read() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(open_bytes(file.path()).expect("read").is_empty());
        assert!(open_bytes(Path::new("not/there")).is_err());
    }

    #[test]
    fn short_files_stay_as_they_were_and_shortened_long_ones_are_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("corpus");
        let opened = |length| {
            let file = File::create(&path).expect("made");
            file.set_len(length).expect("long");
            (open_bytes(&path).expect("opened"), file)
        };
        let (short, file) = opened(MOST_READ_BYTES);
        file.set_len(1).expect("short");
        assert_eq!(short.iter().filter(|&&byte| byte == 0).count() as u64, MOST_READ_BYTES);
        short.check_length(&path).expect("it is in memory");
        let (long, file) = opened(MOST_READ_BYTES + 1);
        long.check_length(&path).expect("as it was");
        file.set_len(MOST_READ_BYTES + 7).expect("longer");
        long.check_length(&path).expect("what was appended is not looked at");
        file.set_len(MOST_READ_BYTES).expect("shorter");
        let message = long.check_length(&path).expect_err("shortened").to_string();
        assert!(message.contains("had 67108865 bytes") && message.contains("has 67108864 now"));
    }

    #[test]
    fn a_full_disk_is_noticed_before() {
        let folder = tempfile::tempdir().expect("a folder");
        ensure_space(folder.path(), 1).expect("a byte is free");
        let error = ensure_space(folder.path(), u64::MAX).expect_err("not that many");
        assert!(matches!(error, CorpusError::NoSpace { needed: u64::MAX, .. }));
    }
}
