//! The folder of one run: its files, and the records that are appended to them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use crate::curve::CurveRecord;
use crate::drawn::SampleRecord;
use crate::files::{
    FileError, append_line, append_line_unless, line_of, read_if_there, read_lines, write_atomic,
};
use crate::plan::Plan;
use crate::record::{Kind, RateRecord, StepRecord};

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct Run {
    name: String,
    folder: PathBuf,
}

/// Holds a run for one process until dropped.
#[derive(Debug)]
pub struct RunLock(#[expect(dead_code, reason = "held for its lock")] File);

impl Run {
    /// The run of this name in this folder, there or not.
    pub(super) fn at(name: &str, folder: PathBuf) -> Self {
        Self { name: name.to_owned(), folder }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The resolved plan.
    #[must_use]
    pub fn plan_path(&self) -> PathBuf {
        self.folder.join("plan.toml")
    }

    /// The weights of the finished run, and of an unfinished one its best so far.
    #[must_use]
    pub fn weights_path(&self) -> PathBuf {
        self.folder.join("weights.safetensors")
    }

    /// What training goes on from.
    #[must_use]
    pub fn checkpoint_folder(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    /// Per-chunk values of one measurement, by its key's file name.
    #[must_use]
    pub fn chunks_path(&self, file: &str) -> PathBuf {
        self.folder.join("chunks").join(file)
    }

    /// The vocabulary of its tokenizer, if it has one.
    #[must_use]
    pub fn tokenizer_path(&self) -> PathBuf {
        self.folder.join("tokenizer.json")
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.join("lock")
    }

    fn steps_path(&self) -> PathBuf {
        self.folder.join("train.jsonl")
    }

    pub(super) fn rates_path(&self) -> PathBuf {
        self.folder.join("rates.jsonl")
    }

    fn curves_path(&self) -> PathBuf {
        self.folder.join("curves.jsonl")
    }

    fn samples_path(&self) -> PathBuf {
        self.folder.join("samples.jsonl")
    }

    /// The saved plan, if there is one, under the run's name.
    ///
    /// # Errors
    /// If the file is damaged or cannot be read.
    pub fn plan(&self) -> Result<Option<Plan>, StoreError> {
        let path = self.plan_path();
        let Some(text) = read_if_there(&path)? else { return Ok(None) };
        let plan: Plan = toml::from_str(&text)
            .map_err(|error| FileError::damaged(&path, error.to_string().trim()))?;
        Ok(Some(Plan { name: self.name.clone(), ..plan }))
    }

    /// Saves the plan.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_plan(&self, plan: &Plan) -> Result<(), StoreError> {
        let path = self.plan_path();
        let text = toml::to_string(plan);
        let text = text.map_err(|error| FileError::damaged(&path, error.to_string()))?;
        Ok(write_atomic(&path, text.as_bytes())?)
    }

    /// The logged steps.
    ///
    /// # Errors
    /// If the file is damaged or cannot be read.
    pub fn steps(&self) -> Result<Vec<StepRecord>, StoreError> {
        Ok(read_lines(&self.steps_path())?.records)
    }

    /// Appends a logged step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append_step(&self, record: &StepRecord) -> Result<(), StoreError> {
        Ok(append_line(&self.steps_path(), record)?)
    }

    /// Forgets the logged steps after `step`, which a checkpoint older than they does not know.
    ///
    /// # Errors
    /// If the file is damaged or cannot be written.
    pub fn keep_steps_until(&self, step: u64) -> Result<(), StoreError> {
        let path = self.steps_path();
        let kept = self.steps()?.into_iter().filter(|record| record.step <= step);
        let mut text = Vec::new();
        for record in kept {
            text.extend(line_of(&path, &record)?);
        }
        Ok(write_atomic(&path, &text)?)
    }

    /// The recorded rates; a run's own under its name.
    ///
    /// # Errors
    /// If the file is damaged or cannot be read.
    pub fn rates(&self) -> Result<Vec<RateRecord>, StoreError> {
        Ok(self.named(read_lines(&self.rates_path())?.records))
    }

    /// A run's own rates under its name.
    fn named(&self, mut rates: Vec<RateRecord>) -> Vec<RateRecord> {
        for rate in rates.iter_mut().filter(|rate| rate.kind() == Kind::Run) {
            rate.name.clone_from(&self.name);
        }
        rates
    }

    /// Appends a rate.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append_rate(&self, record: &RateRecord) -> Result<(), StoreError> {
        Ok(append_line(&self.rates_path(), record)?)
    }

    /// Appends a rate, unless one that is there already stands for it, which is given then: the last of these. Of
    /// several processes that come to the same rate, one records it.
    ///
    /// # Errors
    /// If it cannot be written, or the file is damaged.
    pub fn append_rate_unless(
        &self,
        record: &RateRecord,
        stands: impl Fn(&RateRecord) -> bool,
    ) -> Result<Option<RateRecord>, StoreError> {
        let found = |rates| self.named(rates).into_iter().rfind(|rate| stands(rate));
        Ok(append_line_unless(&self.rates_path(), record, found)?)
    }

    /// The recorded samples; a run's own under its name.
    ///
    /// # Errors
    /// If the file is damaged or cannot be read.
    pub fn samples(&self) -> Result<Vec<SampleRecord>, StoreError> {
        let mut samples: Vec<SampleRecord> = read_lines(&self.samples_path())?.records;
        for sample in samples.iter_mut().filter(|sample| sample.kind() == Kind::Run) {
            sample.name.clone_from(&self.name);
        }
        Ok(samples)
    }

    /// Appends a sample.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append_sample(&self, record: &SampleRecord) -> Result<(), StoreError> {
        Ok(append_line(&self.samples_path(), record)?)
    }

    /// The recorded rates against context; a run's own under its name.
    ///
    /// # Errors
    /// If the file is damaged or cannot be read.
    pub fn curves(&self) -> Result<Vec<CurveRecord>, StoreError> {
        let mut curves: Vec<CurveRecord> = read_lines(&self.curves_path())?.records;
        for curve in curves.iter_mut().filter(|curve| curve.kind() == Kind::Run) {
            curve.name.clone_from(&self.name);
        }
        Ok(curves)
    }

    /// Appends a rate against context.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append_curve(&self, record: &CurveRecord) -> Result<(), StoreError> {
        Ok(append_line(&self.curves_path(), record)?)
    }

    /// Holds the run for this process.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another process holds it.
    pub fn lock(&self) -> Result<RunLock, StoreError> {
        fs::create_dir_all(&self.folder).map_err(FileError::io("create", &self.folder))?;
        let path = self.lock_path();
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(FileError::io("write", &path))?;
        match file.try_lock() {
            Ok(()) => {
                self.sweep_temporaries();
                Ok(RunLock(file))
            }
            Err(fs::TryLockError::WouldBlock) => Err(StoreError::Busy(self.name.clone())),
            Err(fs::TryLockError::Error(error)) => Err(FileError::io("lock", &path)(error).into()),
        }
    }

    /// Removes what processes that were killed in the middle of a file left behind.
    fn sweep_temporaries(&self) {
        for folder in [self.folder.clone(), self.checkpoint_folder()] {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()) {
                if path.extension().is_some_and(|extension| extension == "tmp") {
                    // What cannot be removed does no harm but take room.
                    let _ = fs::remove_file(path);
                }
            }
        }
    }

    /// Removes everything the run has, its records included, but the lock: first what was trained,
    /// last the plan, so that a run cleared halfway is never one plan with another's weights.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn clear(&self) -> Result<(), StoreError> {
        let first = [self.weights_path(), self.checkpoint_folder()];
        let mut rest = Vec::new();
        let refuse = || FileError::io("read", &self.folder);
        for entry in fs::read_dir(&self.folder).map_err(refuse())? {
            let path = entry.map_err(refuse())?.path();
            if path != self.plan_path() && path != self.lock_path() && !first.contains(&path) {
                rest.push(path);
            }
        }
        for path in first.into_iter().chain(rest).chain([self.plan_path()]) {
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::io("remove", &path)(error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }
}
