//! Reading and writing files: mapped into memory, written whole or not at all, and only where
//! there is room.

use std::fs::{self, File};
use std::io;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

use super::error::CorpusError;

/// Bytes, wherever they are.
pub(super) enum Contents {
    Mapped(Mmap),
    Owned(Vec<u8>),
    Packed(&'static [u8]),
}

impl Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
            Self::Packed(bytes) => bytes,
        }
    }
}

impl Contents {
    /// Lets the system take back the memory that a mapped file's bytes are in; they come from the
    /// disk again if they are looked at again. The whole pages of the range are meant.
    pub(super) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
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

/// A file's bytes without reading them: they come from the disk as they are looked at.
pub(super) fn map(path: &Path) -> Result<Contents, CorpusError> {
    let file = File::open(path).map_err(CorpusError::file("open", path))?;
    let length = file.metadata().map_err(CorpusError::file("read", path))?.len();
    if length == 0 {
        // Not every system maps nothing.
        return Ok(Contents::Packed(&[]));
    }
    // SAFETY: a map is sound while nobody shortens or changes the file under it. Corpora are files
    // that are read and not written: the cache's are never changed once they have their name, and
    // a user who rewrites his own while it is being read gets, at worst, the system's bus error.
    #[expect(unsafe_code, reason = "mapping a file has no safe form")]
    let mapped = unsafe { Mmap::map(&file) };
    match mapped {
        Ok(map) => Ok(Contents::Mapped(map)),
        // Some file systems cannot map; reading still works.
        Err(_) => fs::read(path).map(Contents::Owned).map_err(CorpusError::file("read", path)),
    }
}

/// A file of any kind, mapped, whose memory can be given back piece by piece: weights are read so.
pub struct MappedFile(Contents);

impl MappedFile {
    /// Maps a file, or reads it where the file system cannot.
    ///
    /// # Errors
    /// If it cannot be opened or read.
    pub fn open(path: &Path) -> Result<Self, CorpusError> {
        map(path).map(Self)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Lets the system take back the memory of these bytes; looked at again, they come from the disk again.
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

/// A file that gets its name once it is whole, and vanishes if it never is.
pub(super) struct Unfinished {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    is_finished: bool,
}

impl Unfinished {
    /// Opens a new file beside `target`.
    pub(super) fn beside(target: &Path) -> Result<Self, CorpusError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}{}-{count}.tmp", temporary_prefix(target), std::process::id());
            let temporary = target.with_file_name(name);
            match File::create_new(&temporary) {
                // Left by a killed process of the same number, or of another machine.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(CorpusError::file("write", &temporary)(error)),
                Ok(file) => {
                    let target = target.to_owned();
                    return Ok(Self { file, temporary, target, is_finished: false });
                }
            }
        }
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives the file its name, for good: on the disk before anyone can see it.
    pub(super) fn finish(mut self) -> Result<(), CorpusError> {
        let mut named = || -> io::Result<()> {
            self.file.sync_all()?;
            fs::rename(&self.temporary, &self.target)?;
            self.is_finished = true;
            match self.target.parent() {
                Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
                _ => Ok(()),
            }
        };
        let named = named();
        named.map_err(CorpusError::file("write", &self.target))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Removes what earlier processes that were killed left beside `target`. Only for who holds the
/// lock on it.
pub(super) fn remove_leftovers(target: &Path) {
    let prefix = temporary_prefix(target);
    let Some(entries) = target.parent().and_then(|folder| fs::read_dir(folder).ok()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && name.ends_with(".tmp") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn temporary_prefix(target: &Path) -> String {
    format!(".{}.", target.file_name().unwrap_or_default().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn files_appear_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("corpus");
        let count = || fs::read_dir(folder.path()).expect("there").count();
        let mut unfinished = Unfinished::beside(&target).expect("opened");
        unfinished.file().write_all(b"half").expect("written");
        drop(unfinished);
        assert_eq!(count(), 0);
        let mut unfinished = Unfinished::beside(&target).expect("opened");
        unfinished.file().write_all(b"whole").expect("written");
        unfinished.finish().expect("named");
        assert_eq!((count(), &*map(&target).expect("mapped")), (1, &b"whole"[..]));
        fs::write(folder.path().join(".corpus.77-0.tmp"), b"old").expect("written");
        fs::write(folder.path().join(".corpus2.77-0.tmp"), b"another's").expect("written");
        remove_leftovers(&target);
        assert_eq!(count(), 2);
    }

    #[test]
    fn nothing_can_be_mapped() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(map(file.path()).expect("mapped").is_empty());
        assert!(map(Path::new("not/there")).is_err());
    }

    #[test]
    fn a_full_disk_is_noticed_before() {
        let folder = tempfile::tempdir().expect("a folder");
        ensure_space(folder.path(), 1).expect("a byte is free");
        let error = ensure_space(folder.path(), u64::MAX).expect_err("not that many");
        assert!(matches!(error, CorpusError::NoSpace { needed: u64::MAX, .. }));
    }
}
