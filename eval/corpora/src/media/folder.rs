//! The files of a folder and its subfolders, in the order of their names: at each level, files and folders together are
//! compared by the bytes of their names. Names that begin with a dot are left out. A folder is read only when its turn
//! comes, so that only the names in the folders currently open are held in memory.

use std::ffi::OsString;
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::CorpusError;

/// An entry of a folder.
pub(crate) enum Entry {
    /// A file with any content.
    File(FoundFile),
    /// An entry that cannot be used, and why: a broken link, or a link to a folder that contains it.
    Useless { relative: PathBuf, reason: String },
    /// Devices, sockets and the like.
    Other,
}

/// A file on its way to be decoded.
#[derive(Debug)]
pub(crate) struct FoundFile {
    pub(crate) path: PathBuf,
    /// Its path within the folder walked through.
    pub(crate) relative: PathBuf,
}

impl FoundFile {
    /// Its length and when it was last written to, where the file system says.
    pub(crate) fn state(&self) -> Option<(u64, SystemTime)> {
        let metadata = self.path.metadata().ok()?;
        Some((metadata.len(), metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)))
    }
}

/// Goes through a folder.
pub(crate) struct Walk {
    root: PathBuf,
    /// The folders being gone through, the outermost first.
    levels: Vec<Level>,
}

struct Level {
    /// Relative to the root.
    relative: PathBuf,
    /// Its real path, by which it is recognised.
    real: PathBuf,
    /// The entries still to be read, the last first.
    names: Vec<(OsString, FileType)>,
}

impl Walk {
    /// Begins at `root`.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(crate) fn new(root: &Path) -> Result<Self, CorpusError> {
        let real = root.canonicalize().map_err(CorpusError::file("read", root))?;
        let first = Level { relative: PathBuf::new(), names: names(root)?, real };
        Ok(Self { root: root.to_owned(), levels: vec![first] })
    }

    /// The next entry, with folders gone into.
    fn step(&mut self) -> Result<Option<Entry>, CorpusError> {
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let Some((name, kind)) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let relative = level.relative.join(&name);
            let path = self.root.join(&relative);
            // What a link leads to is what counts.
            let kind = match kind.is_symlink() {
                false => kind,
                true => match path.metadata() {
                    Ok(metadata) => metadata.file_type(),
                    Err(error) => {
                        let reason = format!("a broken link ({error})");
                        return Ok(Some(Entry::Useless { relative, reason }));
                    }
                },
            };
            if kind.is_file() {
                return Ok(Some(Entry::File(FoundFile { path, relative })));
            }
            if !kind.is_dir() {
                return Ok(Some(Entry::Other));
            }
            let real = path.canonicalize().map_err(CorpusError::file("read", &path))?;
            if self.levels.iter().any(|level| level.real == real) {
                let reason = "a link to a folder that contains it".to_owned();
                return Ok(Some(Entry::Useless { relative, reason }));
            }
            self.levels.push(Level { names: names(&path)?, relative, real });
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Entry, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.levels.clear();
        }
        step.transpose()
    }
}

/// The names in a folder, the last first.
fn names(folder: &Path) -> Result<Vec<(OsString, FileType)>, CorpusError> {
    let failed = CorpusError::file("read", folder);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push((name, entry.file_type().map_err(failed)?));
        }
    }
    names.sort_unstable_by(|(one, _), (other, _)| {
        other.as_encoded_bytes().cmp(one.as_encoded_bytes())
    });
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::TestFolder;

    fn fixture(files: &[&str]) -> TestFolder {
        let folder = TestFolder::new();
        files.iter().for_each(|file| drop(folder.put(file, b"")));
        folder
    }

    fn walked(root: &Path) -> Vec<String> {
        let shown = |entry: Result<Entry, CorpusError>| match entry.expect("read") {
            Entry::File(file) => {
                file.relative.display().to_string().replace(std::path::MAIN_SEPARATOR, "/")
            }
            Entry::Useless { relative, reason } => format!("{}: {reason}", relative.display()),
            Entry::Other => "other".to_owned(),
        };
        Walk::new(root).expect("a folder").map(shown).collect()
    }

    #[test]
    fn files_come_in_the_order_of_their_names() {
        let folder =
            fixture(&["b/2", "b/10", "a.png", "c/d/e", "b.png", ".hidden", "c/.x/y", "Z", "é"]);
        fs::create_dir(folder.root().join("empty")).expect("made");
        assert_eq!(walked(folder.root()), ["Z", "a.png", "b/10", "b/2", "b.png", "c/d/e", "é"]);
        assert!(Walk::new(&folder.root().join("none")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_in_circles() {
        use std::os::unix::fs::symlink;
        let (folder, elsewhere) = (fixture(&["a/1", "b/2"]), fixture(&["3", "deep/4"]));
        let link = |target: &Path, name: &str| symlink(target, folder.root().join(name));
        link(elsewhere.root(), "c").expect("linked");
        link(Path::new("b/2"), "d").expect("linked");
        link(Path::new("nowhere"), "e").expect("linked");
        link(Path::new(".."), "a/up").expect("linked");
        // Two folders, each with a link into the other.
        link(&folder.root().join("b"), "a/b").expect("linked");
        link(&folder.root().join("a"), "b/a").expect("linked");
        let found = walked(folder.root());
        let circle = "a link to a folder that contains it";
        let expected = [
            "a/1",
            "a/b/2",
            &format!("a/b/a: {circle}"),
            &format!("a/up: {circle}"),
            "b/2",
            "b/a/1",
            &format!("b/a/b: {circle}"),
            &format!("b/a/up: {circle}"),
            "c/3",
            "c/deep/4",
            "d",
        ];
        assert_eq!(found[..expected.len()], expected);
        assert!(found[expected.len()].starts_with("e: a broken link"), "{found:?}");
        assert_eq!(found.len(), expected.len() + 1);
    }

    #[cfg(unix)]
    #[test]
    fn names_need_not_be_text() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let folder = fixture(&["a", "z"]);
        let odd = OsStr::from_bytes(b"m\xff.png");
        fs::write(folder.root().join(odd), b"x").expect("written");
        let files: Vec<FoundFile> = Walk::new(folder.root())
            .expect("a folder")
            .map(|entry| match entry.expect("read") {
                Entry::File(file) => file,
                _ => panic!("a file"),
            })
            .collect();
        assert_eq!(files[1].relative.as_os_str(), odd);
        assert_eq!(files[1].state().expect("it is there").0, 1);
    }
}
