//! Errors between a corpus's name and its bytes. Each message says what failed, with which value, where it was looked
//! for and, if there is one, the next command.

use std::io;
use std::path::{Path, PathBuf};

use lmtrain_runs::{Bytes, FileError};

/// Why a corpus cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// No such corpus was found.
    #[error("corpus `{name}` was not found: looked for {}\nhint: `{hint}`", list(looked_for))]
    Absent {
        /// The name or path, as it was given.
        name: String,
        /// The files that were looked for; a last part in brackets stands for several.
        looked_for: Vec<PathBuf>,
        /// The next command.
        hint: String,
    },
    /// The name is not valid.
    #[error("corpus name `{name}`: {reason}\nhint: `lmtrain data list`")]
    Name {
        /// The name, as it was given.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is neither a data directory nor a home to keep one in.
    #[error(
        "there is no data directory, because this user has no home directory\n\
         hint: give `--data-dir DIR`, or set `LMTRAIN_DATA`"
    )]
    NoDirectory,
    /// The system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was to be done, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Output(#[from] FileError),
    /// The path is there, but is a folder or a device.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// A folder that yields no chunk.
    #[error("{} cannot be used as a corpus: {reason}", folder.display())]
    EmptySet {
        /// The folder.
        folder: PathBuf,
        /// What is in it instead.
        reason: String,
    },
    /// A folder of images and sounds.
    #[error(
        "{} holds {kind}, but also {}\n\
         hint: choose one kind with `{}:medium=images` or `{}:medium=audio`",
        folder.display(), other.display(), folder.display(), folder.display()
    )]
    Mixed {
        /// The folder.
        folder: PathBuf,
        /// What it holds first.
        kind: &'static str,
        /// The first file that is none of these.
        other: PathBuf,
    },
    /// Sounds of two rates, which are not one corpus.
    #[error(
        "the sounds of `{name}` have different sample rates: {} has {first_hz} Hz, {} has {second_hz}\n\
         hint: the option `rate={first_hz}` selects those of one rate",
        first.display(), second.display()
    )]
    Rates {
        /// The corpus.
        name: String,
        /// The first file.
        first: PathBuf,
        /// Its samples a second.
        first_hz: u32,
        /// The first file of another rate.
        second: PathBuf,
        /// Its samples a second.
        second_hz: u32,
    },
    /// Files that do not decode, where none may be left out.
    #[error(
        "{count} files of `{name}` do not decode: {files}\n\
         hint: leave out `--strict` to skip them"
    )]
    Undecodable {
        /// The corpus.
        name: String,
        /// How many.
        count: u64,
        /// The first of them, with reasons.
        files: String,
    },
    /// A compressed file that is damaged, truncated, or not compressed at all.
    #[error(
        "cannot unpack {}: {reason}\nhint: `--corpus raw:{}` takes its bytes as they are",
        path.display(), path.display()
    )]
    Archive {
        /// The compressed file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of a kind that is not unpacked here, and whose bytes are rarely meant as they are.
    #[error(
        "cannot use {} as a corpus: it {} {name}\n\
         hint: {hint}; `--corpus raw:{}` takes the file's bytes as they are",
        path.display(),
        outside.map_or_else(|| "is".to_owned(), |outside| format!("is {outside} that holds")),
        path.display()
    )]
    Container {
        /// The file.
        path: PathBuf,
        /// What the file is, if it is within that.
        outside: Option<&'static str>,
        /// What it is.
        name: &'static str,
        /// What to do with it.
        hint: &'static str,
    },
    /// A file whose name says how it is compressed, and whose bytes say that it is not.
    #[error(
        "cannot unpack {}: its name says that it is {called}, but its first bytes say otherwise\n\
         hint: `--corpus raw:{}` takes its bytes as they are",
        path.display(), path.display()
    )]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// What its name says that it is.
        called: &'static str,
    },
    /// A file that was shortened while it was being read.
    #[error(
        "{} had {expected} bytes when it was opened and has {found} now, so what was read \
         cannot be trusted\nhint: run the command again when nothing is writing to the file",
        path.display()
    )]
    Shortened {
        /// The file.
        path: PathBuf,
        /// Bytes that it had.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A tokenizer whose tokens do not decode to the text that it was given.
    #[error("the tokenizer does not preserve the text: {reason}")]
    Tokens {
        /// What it does.
        reason: String,
    },
    /// The disk is too full.
    #[error(
        "{} has {} free, but {} are needed\n\
         hint: free some space, or keep the data elsewhere with `--data-dir DIR`",
        path.display(), Bytes(*available), Bytes(*needed)
    )]
    NoSpace {
        /// The folder to be written to.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        available: u64,
    },
    /// A file that goes by a published corpus's name, and is not that corpus.
    #[error(
        "{} has {found} bytes, but {name} has {expected}: the file is damaged, or not {name}\n\
         hint: move it away, then run `{hint}`",
        path.display()
    )]
    WrongLength {
        /// The corpus.
        name: String,
        /// The file.
        path: PathBuf,
        /// Bytes it has.
        found: u64,
        /// Bytes it should have.
        expected: u64,
        /// The command that gets the right one.
        hint: String,
    },
    /// Only published corpora can be fetched.
    #[error("corpus `{name}` cannot be fetched: {reason}\nhint: `lmtrain data list`")]
    NothingToFetch {
        /// The corpus.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// No server answered.
    #[error(
        "cannot reach {url}: {reason}\n\
         hint: download it on another machine, and put the file into {} unchanged",
        folder.display()
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What the network said.
        reason: String,
        /// Where the file may be put by hand.
        folder: PathBuf,
    },
    /// No server answered, of a set of files.
    #[error(
        "cannot reach {url}: {reason}\n\
         hint: download it on another machine, and unpack or copy it into {}",
        folder.display()
    )]
    UnreachableSet {
        /// What was asked for.
        url: String,
        /// What the network said.
        reason: String,
        /// Where the files may be put by hand.
        folder: PathBuf,
    },
    /// The server answered with something other than the file.
    #[error("{url} answered {answer}")]
    Refused {
        /// What was asked for.
        url: String,
        /// The answer, in short.
        answer: String,
    },
    /// The connection broke; what was received is kept.
    #[error(
        "the download of {url} broke off after {bytes} bytes: {reason}\n\
         hint: run the command again to continue from there"
    )]
    BrokenOff {
        /// What was asked for.
        url: String,
        /// Bytes here.
        bytes: u64,
        /// What the network said.
        reason: String,
    },
    /// What was received differs from what is published. It is deleted.
    #[error("the download from {url} is not {name}: {reason}")]
    WrongContent {
        /// What was asked for.
        url: String,
        /// The corpus it should be.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The progress callback asked to stop.
    #[error("interrupted; finished work is kept")]
    Interrupted,
    /// Another process is writing the same file.
    #[error("another process is writing {}", .0.display())]
    Busy(PathBuf),
}

impl CorpusError {
    /// Whether the corpus is only missing, so that another one might be used.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// Whether the callback asked for it.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Interrupted)
    }

    /// Whether the network caused the error: no answer, a wrong one, or an incomplete one.
    #[must_use]
    pub fn is_network(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::UnreachableSet { .. }
                | Self::Refused { .. }
                | Self::BrokenOff { .. }
                | Self::WrongContent { .. }
        )
    }

    /// For `map_err`: the system refused `action` on `path`.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + Copy {
        move |source| Self::File { action, path: path.to_owned(), source }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}
