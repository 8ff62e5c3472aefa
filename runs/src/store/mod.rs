//! The store: one folder for each run under `<runs>/work/`. Files are written atomically; records are appended as whole
//! lines, as soon as they are measured. A damaged file is an error that names the file, never a wrong number.
//!
//! The name of a run is the name of its folder. The names in plans, weights and records are those at the time of
//! writing, kept for information; reading them here gives the folder's name instead. So a run may be renamed and copied
//! like any other folder.

mod error;
mod run;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::curve::CurveRecord;
use crate::drawn::SampleRecord;
use crate::files::FileError;
use crate::record::RateRecord;

pub use error::StoreError;
pub use run::{Run, RunLock};

/// The folder of the classical compressors' records, beside the runs'.
const COMPRESSORS: &str = "compressors";
/// The folder of the pretrained models' records, a folder each.
const PRETRAINED: &str = "pretrained";
/// The folder of the packed networks' records, a folder each.
const PACKED: &str = "packed";

/// All runs under one folder.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store under `root`; nothing is made before something is written.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder that holds it.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The run of this name, there or not.
    #[must_use]
    pub fn run(&self, name: &str) -> Run {
        Run::at(name, self.root.join("work").join(name))
    }

    /// Where the classical compressors' rates are kept.
    #[must_use]
    pub fn compressors(&self) -> Run {
        self.run(COMPRESSORS)
    }

    /// Where a pretrained model's rates are kept.
    #[must_use]
    pub fn pretrained(&self, name: &str) -> Run {
        self.beside(PRETRAINED, name)
    }

    /// Where a packed network's rates are kept.
    #[must_use]
    pub fn packed(&self, name: &str) -> Run {
        self.beside(PACKED, name)
    }

    fn beside(&self, kind: &str, name: &str) -> Run {
        let folder = name.replace(['/', '\\'], "--");
        Run::at(name, self.root.join(kind).join(folder))
    }

    /// Every run that has a plan, by name.
    ///
    /// # Errors
    /// If the folder is there and cannot be read.
    pub fn runs(&self) -> Result<Vec<Run>, StoreError> {
        let runs = names_in(&self.root.join("work"))?;
        let runs = runs.iter().map(|name| self.run(name));
        Ok(runs.filter(|run| run.plan_path().is_file()).collect())
    }

    /// Every rate recorded: the compressors', each run's, each pretrained model's, then each packed network's.
    ///
    /// # Errors
    /// If a file is damaged or cannot be read.
    pub fn rates(&self) -> Result<Vec<RateRecord>, StoreError> {
        self.of_each(Run::rates)
    }

    /// Every sample recorded, in the same order.
    ///
    /// # Errors
    /// If a file is damaged or cannot be read.
    pub fn samples(&self) -> Result<Vec<SampleRecord>, StoreError> {
        self.of_each(Run::samples)
    }

    /// Every rate against context recorded, in the same order.
    ///
    /// # Errors
    /// If a file is damaged or cannot be read.
    pub fn curves(&self) -> Result<Vec<CurveRecord>, StoreError> {
        self.of_each(Run::curves)
    }

    /// Records of the compressors, of each run, then of each pretrained model and packed network.
    fn of_each<T>(
        &self,
        read: impl Fn(&Run) -> Result<Vec<T>, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut records = read(&self.compressors())?;
        for run in self.runs()? {
            records.extend(read(&run)?);
        }
        for kind in [PRETRAINED, PACKED] {
            for name in names_in(&self.root.join(kind))? {
                records.extend(read(&self.beside(kind, &name))?);
            }
        }
        Ok(records)
    }
}

/// The names in a folder, in order; none where there is no folder.
fn names_in(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FileError::io("read", folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(FileError::io("read", folder))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
