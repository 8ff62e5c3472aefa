//! The journal of a measurement: one line of JSON for every finished group of chunks, with a fingerprint of what is
//! measured, so that nothing is measured twice and results of another measurement are never mixed in. Each line has a
//! checksum, so that damage is an error and never a different rate.
//!
//! Each share of a measurement has a file of its own beside the journal of an undivided one: `NAME.2-of-8.jsonl` beside
//! `NAME.jsonl`. Shares run on several machines, whose common file system often has no locks, so no two of them write
//! one file. All of these files are read: a group that is in one of them is measured, however it was divided.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use lmtrain_runs::FileError;
use lmtrain_runs::files::{Lines, append_line, read_lines};
use lmtrain_runs::notice;
use lmtrain_runs::sweep::Shard;
use lmtrain_runs::units::hex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::MeasureError;

#[derive(Serialize, Deserialize)]
struct Line<T> {
    measurement: String,
    group: u64,
    result: T,
}

/// Where finished groups are kept; without a path, nowhere.
pub(super) struct Journal<T> {
    /// The file of this share.
    path: Option<PathBuf>,
    fingerprint: String,
    /// What all files hold.
    done: BTreeMap<u64, T>,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Reads what is there, to go on with a share. A last line cut short is not.
    pub(super) fn open(
        path: Option<&Path>,
        share: Shard,
        fingerprint: String,
    ) -> Result<Self, MeasureError> {
        let mut done = BTreeMap::new();
        let Some(path) = path else { return Ok(Self { path: None, fingerprint, done }) };
        for path in files_of(path)? {
            let Lines { records, unchecked } = read_lines::<Line<T>>(&path)?;
            if unchecked > 0 {
                notice::without_digest(&path);
            }
            for line in records {
                if line.measurement != fingerprint {
                    let (found, expected) = (line.measurement, fingerprint);
                    return Err(MeasureError::Foreign { path, found, expected });
                }
                done.insert(line.group, line.result);
            }
        }
        Ok(Self { path: Some(file_of(path, share)), fingerprint, done })
    }

    /// What an earlier session, or another share, found for a group.
    pub(super) fn take(&mut self, group: u64) -> Option<T> {
        self.done.remove(&group)
    }

    /// Keeps a finished group.
    pub(super) fn append(&self, group: u64, result: &T) -> Result<(), MeasureError> {
        let Some(path) = &self.path else { return Ok(()) };
        let line = Line { measurement: self.fingerprint.clone(), group, result };
        Ok(append_line(path, &line)?)
    }
}

/// The file that a share writes.
fn file_of(journal: &Path, share: Shard) -> PathBuf {
    match share {
        Shard::WHOLE => journal.to_owned(),
        Shard { index, of } => journal.with_extension(format!("{index}-of-{of}.jsonl")),
    }
}

/// All files of a journal, by whatever shares.
fn files_of(journal: &Path) -> Result<Vec<PathBuf>, MeasureError> {
    let mut files = vec![journal.to_owned()];
    let (Some(folder), Some(stem)) = (journal.parent(), journal.file_stem()) else {
        return Ok(files);
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let refuse = |source| FileError::Io { action: "read", path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(refuse(error).into()),
    };
    let stem = stem.to_string_lossy();
    for entry in entries {
        let entry = entry.map_err(refuse)?;
        if is_of_share(&entry.file_name().to_string_lossy(), &stem) {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Whether a file is one that some share of a journal writes.
fn is_of_share(file: &str, stem: &str) -> bool {
    let rest = file.strip_prefix(stem).and_then(|rest| rest.strip_prefix('.'));
    let share = rest.and_then(|rest| rest.strip_suffix(".jsonl"));
    let numbers = share.and_then(|share| share.split_once("-of-"));
    numbers.is_some_and(|(index, of)| format!("{index}/{of}").parse::<Shard>().is_ok())
}

/// Removes a journal, with the files of all its shares: what it is of is measured from the beginning again.
///
/// # Errors
/// If a file cannot be removed.
pub fn forget(journal: &Path) -> Result<(), MeasureError> {
    for path in files_of(journal)? {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::Io { action: "remove", path, source: error }.into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// A fingerprint of facts, each of them a line.
pub(super) fn fingerprint(facts: &[String]) -> String {
    let digest = Sha256::digest(facts.join("\n").as_bytes());
    hex(&digest[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_shares_are_known_by_their_names() {
        let share = Shard { index: 2, of: 8 };
        let path = file_of(Path::new("chunks/ab.jsonl"), share);
        assert_eq!(path, Path::new("chunks/ab.2-of-8.jsonl"));
        assert_eq!(file_of(Path::new("ab.jsonl"), Shard::WHOLE), Path::new("ab.jsonl"));
        assert!(is_of_share("ab.2-of-8.jsonl", "ab"));
        for other in ["ab.jsonl", "abc.2-of-8.jsonl", "ab.9-of-8.jsonl", "ab.2-of-8.jsonl.tmp"] {
            assert!(!is_of_share(other, "ab"), "{other}");
        }
    }

    #[test]
    fn all_shares_are_read_and_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chunks").join("ab.jsonl");
        let shares = [Shard::WHOLE, Shard { index: 2, of: 2 }, Shard { index: 3, of: 5 }];
        let open = |share| Journal::<u64>::open(Some(&path), share, "f".to_owned());
        for (group, share) in (0..).zip(shares) {
            open(share).expect("opens").append(group, &(10 * group)).expect("written");
        }
        let mut all = open(Shard { index: 1, of: 2 }).expect("opens");
        assert_eq!([0, 1, 2, 3].map(|group| all.take(group)), [Some(0), Some(10), Some(20), None]);
        assert_eq!(fs::read_dir(folder.path().join("chunks")).expect("there").count(), 3);
        let other = Journal::<u64>::open(Some(&path), Shard::WHOLE, "g".to_owned());
        assert!(matches!(other, Err(MeasureError::Foreign { .. })));
        forget(&path).expect("removed");
        forget(&path).expect("nothing to remove");
        assert_eq!(open(Shard::WHOLE).expect("opens").take(0), None);
    }
}
