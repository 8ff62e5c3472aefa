//! An unfinished file: written under a random name, beside the place where the finished file will be.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{FileError, folder_of};
use crate::temporaries::{self, Listed};

/// The suffix of unfinished files.
const SUFFIX: &str = ".tmp";
const RANDOM_LETTERS: usize = 10;

/// A file that gets its name once it is whole, and vanishes if it never is.
#[derive(Debug)]
pub struct Unfinished {
    file: NamedTempFile,
    target: PathBuf,
    /// The file whose mode and owner the finished file gets.
    model: Option<Metadata>,
    listed: Listed,
}

impl Unfinished {
    /// Opens a new file beside `target`, with the mode of any new file.
    ///
    /// # Errors
    /// If the folder is not there or cannot be written.
    pub fn beside(target: &Path) -> Result<Self, FileError> {
        Self::like(target, None)
    }

    /// The same, with the mode, and so far as the system allows the owner and group, of another.
    pub(super) fn like(target: &Path, model: Option<Metadata>) -> Result<Self, FileError> {
        let prefix = prefix(target);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX).rand_bytes(RANDOM_LETTERS);
        #[cfg(unix)]
        builder.permissions(ownership::while_unfinished(model.as_ref()));
        let file =
            builder.tempfile_in(folder_of(target)).map_err(FileError::io("write", target))?;
        let listed = temporaries::list(file.path());
        Ok(Self { file, target: target.to_owned(), model, listed })
    }

    /// The file, to write to.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Gives the file its final name, once it is on disk.
    ///
    /// # Errors
    /// If it cannot be brought onto the disk or renamed; it is gone then, and what had the name is
    /// still there.
    pub fn finish(self) -> Result<(), FileError> {
        let Self { file, target, model, listed: _listed } = self;
        let named = || -> io::Result<()> {
            #[cfg(unix)]
            if let Some(model) = model {
                ownership::take_over(file.as_file(), &model)?;
            }
            #[cfg(not(unix))]
            drop(model);
            file.as_file().sync_all()?;
            file.persist(&target).map_err(|refused| refused.error)?;
            // A folder may be one to write to and not to read.
            match File::open(folder_of(&target)) {
                Ok(folder) if cfg!(unix) => folder.sync_all(),
                _ => Ok(()),
            }
        };
        named().map_err(FileError::io("write", &target))
    }
}

/// Removes files that killed processes left beside `target`. Only the holder of its lock may call this.
pub fn remove_leftovers(target: &Path) {
    let prefix = prefix(target);
    for entry in fs::read_dir(folder_of(target)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&prefix) && name.ends_with(SUFFIX) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The beginning of an unfinished file's name: hidden, derived from the final name, and short however long that is.
fn prefix(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default();
    format!(".{:08x}-", crc32fast::hash(name.as_encoded_bytes()))
}

/// Owners, groups and modes, as `gzip` and `xz` carry them over.
#[cfg(unix)]
mod ownership {
    use std::fs::{File, Metadata, Permissions};
    use std::io;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

    /// Mode of an unfinished file: its owner's share of the final mode; without a model what every new
    /// file gets, which the process's mask narrows.
    pub(super) fn while_unfinished(model: Option<&Metadata>) -> Permissions {
        Permissions::from_mode(model.map_or(0o666, |model| model.mode() & 0o600))
    }

    /// Gives a file the mode of `model`, and its owner and group, which only root can always do. If the group cannot
    /// be kept, the new group gets no more rights than everybody. Access control lists and extended attributes are not
    /// copied; file systems without modes keep their own behaviour.
    pub(super) fn take_over(file: &File, model: &Metadata) -> io::Result<()> {
        let own = file.metadata()?;
        if own.uid() != model.uid() {
            let _ = fchown(file, Some(model.uid()), None);
        }
        let has_group = own.gid() == model.gid() || fchown(file, None, Some(model.gid())).is_ok();
        let mode = model.mode() & 0o777;
        let everybody = mode & 0o7;
        let mode = if has_group { mode } else { mode & (0o707 | everybody << 3) };
        let _ = file.set_permissions(Permissions::from_mode(mode));
        Ok(())
    }
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
        assert_eq!((count(), &*fs::read(&target).expect("there")), (1, &b"whole"[..]));
    }

    #[test]
    fn leftovers_of_one_file_are_removed_and_no_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let [one, other] = ["corpus", "corpus2"].map(|name| folder.path().join(name));
        // As after a kill: nobody removes them.
        for target in [&one, &other] {
            Unfinished::beside(target).expect("opened").file.keep().expect("kept");
        }
        remove_leftovers(&one);
        let names = fs::read_dir(folder.path()).expect("there");
        let names: Vec<_> = names.map(|entry| entry.expect("one").file_name()).collect();
        assert_eq!(names.len(), 1);
        assert!(names[0].to_string_lossy().starts_with(&prefix(&other)));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_sees_more_of_an_unfinished_file_than_of_the_finished_one() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let folder = tempfile::tempdir().expect("a folder");
        let model = folder.path().join("model");
        fs::write(&model, "").expect("written");
        let target = folder.path().join("target");
        for mode in [0o777, 0o644, 0o600, 0o440, 0o200, 0o007, 0o000] {
            fs::set_permissions(&model, fs::Permissions::from_mode(mode)).expect("changed");
            let model = fs::metadata(&model).expect("there");
            let mut unfinished = Unfinished::like(&target, Some(model)).expect("opened");
            let before = unfinished.file().metadata().expect("known").mode() & 0o7777;
            unfinished.finish().expect("named");
            let after = fs::metadata(&target).expect("there").mode() & 0o7777;
            assert_eq!((before & !after, after), (0, mode), "{before:o} {after:o}");
        }
    }
}
