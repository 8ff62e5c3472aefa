//! The journal of a measurement: one line of JSON for every finished group of chunks, with a fingerprint of what is
//! measured, so that nothing is measured twice and results of another measurement are never mixed in. Each line has a
//! checksum, so that damage is an error and never a different rate.

use std::collections::BTreeMap;
use std::path::Path;

use lmtrain_runs::files::{Lines, append_line, read_lines};
use lmtrain_runs::notice;
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
pub(super) struct Journal<'a, T> {
    path: Option<&'a Path>,
    fingerprint: String,
    done: BTreeMap<u64, T>,
}

impl<'a, T: Serialize + DeserializeOwned> Journal<'a, T> {
    /// Reads what is there. A last line cut short is not.
    pub(super) fn open(path: Option<&'a Path>, fingerprint: String) -> Result<Self, MeasureError> {
        let mut done = BTreeMap::new();
        let Some(path) = path else { return Ok(Self { path, fingerprint, done }) };
        let Lines { records, unchecked } = read_lines::<Line<T>>(path)?;
        if unchecked > 0 {
            notice::without_digest(path);
        }
        for line in records {
            if line.measurement != fingerprint {
                let (found, expected) = (line.measurement, fingerprint);
                return Err(MeasureError::Foreign { path: path.to_owned(), found, expected });
            }
            done.insert(line.group, line.result);
        }
        Ok(Self { path: Some(path), fingerprint, done })
    }

    /// What an earlier session found for a group.
    pub(super) fn take(&mut self, group: u64) -> Option<T> {
        self.done.remove(&group)
    }

    /// Keeps a finished group.
    pub(super) fn append(&self, group: u64, result: &T) -> Result<(), MeasureError> {
        let Some(path) = self.path else { return Ok(()) };
        let line = Line { measurement: self.fingerprint.clone(), group, result };
        Ok(append_line(path, &line)?)
    }
}

/// A fingerprint of facts, each of them a line.
pub(super) fn fingerprint(facts: &[String]) -> String {
    let digest = Sha256::digest(facts.join("\n").as_bytes());
    hex(&digest[..16])
}
