//! Where data is: `--data-dir`, otherwise `$LMTRAIN_DATA`, otherwise the user's data directory. Its folder `text/`
//! holds texts, each a corpus by its file name without the suffix; `images/` and `audio/` hold folders, each a corpus
//! by its name.

use std::env;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;

use super::catalogue::known;
use super::error::CorpusError;

/// The environment's name for the data directory.
const VARIABLE: &str = "LMTRAIN_DATA";

/// Suffixes that a file may have beyond its corpus's name; those that open fastest come first.
const SUFFIXES: [&str; 14] = [
    "",
    ".txt",
    ".zst",
    ".txt.zst",
    ".gz",
    ".txt.gz",
    ".zip",
    ".txt.zip",
    ".xz",
    ".txt.xz",
    ".lzma",
    ".txt.lzma",
    ".bz2",
    ".txt.bz2",
];

/// Files that unfinished downloads leave in `text/`.
pub(super) const PART_SUFFIX: &str = ".part";
pub(super) const ORIGIN_SUFFIX: &str = ".part-origin";

/// The directory that data is looked for in, and the one for unpacked copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDirectory {
    /// Holds `text/`, `images/` and `audio/`. It is written to by downloads alone.
    pub root: PathBuf,
    /// Unpacked copies of compressed files; everything in it can be made again.
    pub cache: PathBuf,
    /// Whether it was given with `--data-dir`, so that commands in hints must give it too.
    from_option: bool,
}

impl DataDirectory {
    /// The directory given as `--data-dir`, else `$LMTRAIN_DATA`, else the user's. It need not
    /// exist.
    ///
    /// # Errors
    /// [`CorpusError::NoDirectory`] if none is given and the user has no home.
    pub fn resolve(option: Option<&Path>) -> Result<Self, CorpusError> {
        if let Some(root) = option {
            return Ok(Self { from_option: true, ..Self::at(root) });
        }
        if let Some(root) = env::var_os(VARIABLE).filter(|root| !root.is_empty()) {
            return Ok(Self::at(root));
        }
        let user = user_directories().ok_or(CorpusError::NoDirectory)?;
        Ok(Self::at(user.data_dir()))
    }

    /// This directory, with the user's cache.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let cache = user_directories()
            .map_or_else(|| env::temp_dir().join("lmtrain"), |user| user.cache_dir().to_owned());
        Self { root: root.into(), cache, from_option: false }
    }

    /// The same with another cache.
    #[must_use]
    pub fn with_cache(self, cache: impl Into<PathBuf>) -> Self {
        Self { cache: cache.into(), ..self }
    }

    /// Where text is.
    #[must_use]
    pub fn text(&self) -> PathBuf {
        self.root.join("text")
    }

    /// Where the set of images or sounds of this name is.
    pub(super) fn set_folder(&self, kind: &str, name: &str) -> PathBuf {
        self.root.join(kind).join(name)
    }

    /// A command of the program that works on this directory.
    #[must_use]
    pub fn command(&self, arguments: &str) -> String {
        if self.from_option {
            return format!("lmtrain {arguments} --data-dir {}", self.root.display());
        }
        format!("lmtrain {arguments}")
    }

    /// The file in `text/` that is the corpus of this name, or has this very name.
    pub(super) fn file_of(&self, name: &str) -> Option<PathBuf> {
        let folder = self.text();
        let files = SUFFIXES.iter().map(|suffix| folder.join(format!("{name}{suffix}")));
        files.into_iter().find(|file| file.is_file())
    }

    /// Where the corpus of this name would be, for messages.
    pub(super) fn looked_for(&self, name: &str) -> PathBuf {
        self.text().join(format!("{name}[.txt][.xz|.zst|.gz|.bz2|.lzma|.zip]"))
    }
}

/// The corpus's name that a file's name gives: without the suffixes of [`SUFFIXES`].
pub(super) fn corpus_name(path: &Path) -> String {
    let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let longest = SUFFIXES.iter().filter_map(|suffix| {
        let (stem, end) = file_name.split_at_checked(file_name.len().checked_sub(suffix.len())?)?;
        end.eq_ignore_ascii_case(suffix).then_some(stem)
    });
    let stem = longest.min_by_key(|stem| stem.len()).filter(|stem| !stem.is_empty());
    stem.unwrap_or(&file_name).to_owned()
}

/// The name of a corpus given as a path: its file's, unless that is a known corpus's.
pub(super) fn path_corpus_name(path: &Path) -> String {
    let name = corpus_name(path);
    if known(&name).is_some() { path.display().to_string() } else { name }
}

fn user_directories() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "lmtrain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_wins() {
        let given = DataDirectory::resolve(Some(Path::new("given"))).expect("given");
        assert_eq!(given.text(), Path::new("given").join("text"));
        assert_eq!(
            given.command("data fetch enwik8"),
            "lmtrain data fetch enwik8 --data-dir given"
        );
        assert_eq!(DataDirectory::at("x").command("data list"), "lmtrain data list");
    }

    #[test]
    fn names_are_files_without_their_suffixes() {
        for (file, name) in [
            ("wiki15-8.xz", "wiki15-8"),
            ("a.txt.gz", "a"),
            ("a.tar.gz", "a.tar"),
            ("v1.5", "v1.5"),
            ("UP.GZ", "UP"),
            ("c.TXT.bz2", "c"),
            ("d.tgz", "d.tgz"),
            ("b.txt", "b"),
            (".xz", ".xz"),
        ] {
            assert_eq!(corpus_name(Path::new(file)), name);
        }
    }
}
