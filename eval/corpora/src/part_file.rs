//! An incomplete download: `enwik8.part`, and beside it `enwik8.part-origin`, which says what is being downloaded, so
//! that it is never continued with bytes of something else.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use lmtrain_runs::files::write_atomic;

use super::directory::{ORIGIN_SUFFIX, PART_SUFFIX};
use super::error::CorpusError;

/// The beginning of a file on a server. Held by one process at a time.
pub(super) struct PartFile {
    path: PathBuf,
    origin_path: PathBuf,
    file: File,
}

/// The file of a server, and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) url: String,
    /// A strong `ETag`, or `Last-Modified`: changes when the file does. Empty if the server sends
    /// neither.
    pub(super) validator: String,
    /// Its length, if the server says.
    pub(super) bytes: Option<u64>,
}

impl PartFile {
    /// Opens the part of the corpus `name` in `folder`, empty if there is none.
    pub(super) fn open(folder: &Path, name: &str) -> Result<Self, CorpusError> {
        fs::create_dir_all(folder).map_err(CorpusError::file("create", folder))?;
        let path = folder.join(format!("{name}{PART_SUFFIX}"));
        let origin_path = folder.join(format!("{name}{ORIGIN_SUFFIX}"));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(CorpusError::file("write", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(CorpusError::Busy(path)),
            // A file system without locks: the hash still decides in the end.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { path, origin_path, file }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are here.
    pub(super) fn length(&self) -> Result<u64, CorpusError> {
        let metadata = self.file.metadata().map_err(CorpusError::file("read", &self.path))?;
        Ok(metadata.len())
    }

    /// The origin of the part; none if that is unknown or is not `url`.
    pub(super) fn origin(&self, url: &str) -> Option<Origin> {
        let text = fs::read_to_string(&self.origin_path).ok()?;
        let [from, validator, bytes] = text.lines().collect::<Vec<_>>().try_into().ok()?;
        let origin = Origin {
            url: from.to_owned(),
            validator: validator.to_owned(),
            bytes: bytes.parse().ok(),
        };
        (from == url).then_some(origin)
    }

    /// Empties it, to become a part of this.
    pub(super) fn restart(&mut self, origin: &Origin) -> Result<(), CorpusError> {
        self.file.set_len(0).map_err(CorpusError::file("write", &self.path))?;
        let bytes = origin.bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
        let text = format!("{}\n{}\n{bytes}\n", origin.url, origin.validator);
        Ok(write_atomic(&self.origin_path, text.as_bytes())?)
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), CorpusError> {
        self.file.write_all(bytes).map_err(CorpusError::file("write", &self.path))
    }

    /// Removes it, whole or useless.
    pub(super) fn remove(self) -> Result<(), CorpusError> {
        for path in [&self.origin_path, &self.path] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(CorpusError::file("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_remembers_where_it_is_from() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut part = PartFile::open(folder.path(), "enwik8").expect("opens");
        assert_eq!(part.origin("here"), None);
        for bytes in [Some(12), None] {
            let origin = Origin { url: "here".to_owned(), validator: String::new(), bytes };
            part.restart(&origin).expect("emptied");
            part.append(b"abc").expect("written");
            assert_eq!((part.length().expect("known"), part.origin("here")), (3, Some(origin)));
            assert_eq!(part.origin("there"), None);
        }
        assert!(matches!(PartFile::open(folder.path(), "enwik8"), Err(CorpusError::Busy(_))));
        drop(part);
        let part = PartFile::open(folder.path(), "enwik8").expect("opens");
        assert_eq!(part.length().expect("known"), 3);
        part.remove().expect("removed");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0);
    }
}
