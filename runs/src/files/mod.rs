//! Files: the project's only atomic writer ([`write_atomic`], [`Output`], [`Unfinished`]) and its only appender
//! ([`append_line`]). Everything that a command writes goes through here: the store's files, the caches, and the files
//! that a user names.
//!
//! A file appears under its name only when it is complete and on disk. Until then it is written beside its final place,
//! under a new random name, with no wider access rights than the finished file. A file that had the name before is
//! replaced; a symbolic link stays, and its target is written. A path that is not a regular file in a folder (a pipe, a
//! device, `/dev/stdout`, `/dev/fd/3`) is written as a stream.

mod lines;
mod output;
mod place;
mod unfinished;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::git_lfs::{GIT_LFS_POINTER, is_git_lfs_pointer};
pub(crate) use lines::line_of;
pub use lines::{Lines, append_line, append_line_unless, read_lines};
pub use output::{Input, Output};
pub use unfinished::{Unfinished, remove_leftovers};

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was to be done, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The content is not what it should be.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// An output that would replace what it is made from.
    #[error(
        "cannot write {}: it is the input file itself\n\
         hint: give the output another name",
        .0.display()
    )]
    IsInput(PathBuf),
}

impl FileError {
    /// For `map_err`: the system refused `action` on `path`.
    pub(crate) fn io<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}

/// Writes a file so that it is there whole or not at all, in a folder that is made if need be.
///
/// # Errors
/// If the file or its folder cannot be written.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let folder = folder_of(path);
    fs::create_dir_all(folder).map_err(FileError::io("create", folder))?;
    let mut output = Output::create(path)?;
    output.write_all(content).map_err(FileError::io("write", path))?;
    output.finish()
}

/// The same, unless the file has this content already, so that a damaged file is replaced.
///
/// # Errors
/// If the file or its folder cannot be written.
pub fn put(path: &Path, content: &[u8]) -> Result<(), FileError> {
    if fs::read(path).is_ok_and(|there| there == content) {
        return Ok(());
    }
    write_atomic(path, content)
}

/// For `#[serde(serialize_with)]`: a path in JSON as it is shown to users, since JSON is text and a path need not be.
///
/// # Errors
/// As the serializer's.
pub fn serialize_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// The same of a path that may be absent.
///
/// # Errors
/// As the serializer's.
pub fn serialize_path_if_any<S: Serializer>(
    path: &Option<PathBuf>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.display().to_string()).serialize(serializer)
}

/// The text of a file; none if it is not there.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read(path) {
        Ok(bytes) if is_git_lfs_pointer(&bytes) => Err(FileError::damaged(path, GIT_LFS_POINTER)),
        Ok(bytes) => {
            let text = String::from_utf8(bytes);
            text.map(Some).map_err(|_| FileError::damaged(path, "it is not UTF-8 text"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::io("read", path)(error)),
    }
}

/// The folder that a path lies in.
fn folder_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}
