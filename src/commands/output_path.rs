//! Where `compress` and `decompress` write if no output is named: beside the input, and never over another file.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The suffix of archives.
const ARCHIVE: &str = "lmz";

/// The archive to make of a file: the one that is named, else the file's name with the suffix after it.
pub(super) fn of_archive(named: Option<&Path>, file: &Path) -> Result<PathBuf> {
    if let Some(named) = named.or_else(|| standard(file)) {
        return Ok(named.to_owned());
    }
    let mut path = file.as_os_str().to_owned();
    path.push(format!(".{ARCHIVE}"));
    new(path.into())
}

/// The file to restore from an archive: the one that is named, else the archive's name without the suffix.
pub(super) fn of_restored(named: Option<&Path>, archive: &Path) -> Result<PathBuf> {
    if let Some(named) = named.or_else(|| standard(archive)) {
        return Ok(named.to_owned());
    }
    if archive.extension().is_none_or(|suffix| suffix != ARCHIVE) {
        bail!(
            "{} does not end in `.{ARCHIVE}`, so the restored file has no name\nhint: give it one with `-o FILE`",
            archive.display()
        );
    }
    new(archive.with_extension(""))
}

/// What comes from standard input goes to standard output.
fn standard(input: &Path) -> Option<&Path> {
    Some(input).filter(|input| input.as_os_str() == "-")
}

/// A path that nobody typed replaces nothing.
fn new(path: PathBuf) -> Result<PathBuf> {
    if path.symlink_metadata().is_ok() {
        let name = path.display();
        bail!(
            "{name} exists already\nhint: `-o FILE` writes to another file; `-o {name}` replaces this one"
        );
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_named_after_inputs() {
        let archive = |named: Option<&str>, file: &str| {
            of_archive(named.map(Path::new), Path::new(file)).expect("a name")
        };
        assert_eq!(archive(None, "nowhere/notes.txt"), Path::new("nowhere/notes.txt.lmz"));
        assert_eq!(archive(None, "-"), Path::new("-"));
        assert_eq!(archive(Some("a"), "notes.txt"), Path::new("a"));
        let restored = |named: Option<&str>, archive: &str| {
            of_restored(named.map(Path::new), Path::new(archive)).ok()
        };
        assert_eq!(restored(None, "nowhere/notes.txt.lmz"), Some("nowhere/notes.txt".into()));
        assert_eq!(restored(None, "-"), Some("-".into()));
        assert_eq!(restored(Some("b"), "notes"), Some("b".into()));
        for nameless in ["nowhere/notes.txt", "nowhere/.lmz", "lmz"] {
            assert_eq!(restored(None, nameless), None, "{nameless}");
        }
    }

    #[test]
    fn nothing_is_replaced_unasked() {
        let folder = tempfile::tempdir().expect("a folder");
        let [notes, archive] = ["notes", "notes.lmz"].map(|name| folder.path().join(name));
        for path in [&notes, &archive] {
            std::fs::write(path, "there").expect("written");
        }
        for refused in [of_archive(None, &notes), of_restored(None, &archive)] {
            let message = refused.expect_err("it is there").to_string();
            assert!(message.contains("exists already") && message.contains("`-o "), "{message}");
        }
        assert_eq!(of_archive(Some(&archive), &notes).ok(), Some(archive));
    }
}
