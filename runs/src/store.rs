//! The store: one folder a run under `<runs>/work/`. Files are written whole and atomically;
//! records are appended as whole lines, as they are measured. What is damaged is an error that
//! names the file, never a wrong number.
//!
//! A run is its folder's name. The names that plan, weights and records hold are notes of what it was
//! called when they were written: whoever reads them here gets the folder's, so that a run may be
//! renamed, and copied, like any other folder.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::curve::CurveRecord;
use crate::drawn::SampleRecord;
use crate::files::{FileError, append_line, line_of, read_if_there, read_lines, write_atomic};
use crate::plan::Plan;
use crate::record::{Kind, RateRecord, StepRecord};

/// The folder of the classical compressors' records, beside the runs'.
const COMPRESSORS: &str = "compressors";
/// The folder of the pretrained models' records, a folder each.
const PRETRAINED: &str = "pretrained";

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written, or is damaged.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process holds the run.
    #[error("run `{0}` is being trained by another process")]
    Busy(String),
}

/// All runs under one folder.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct Run {
    name: String,
    folder: PathBuf,
}

/// Holds a run for one process until dropped.
#[derive(Debug)]
pub struct RunLock(#[expect(dead_code, reason = "held for its lock")] File);

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
        Run { name: name.to_owned(), folder: self.root.join("work").join(name) }
    }

    /// Where the classical compressors' rates are kept.
    #[must_use]
    pub fn compressors(&self) -> Run {
        self.run(COMPRESSORS)
    }

    /// Where a pretrained model's rates are kept.
    #[must_use]
    pub fn pretrained(&self, name: &str) -> Run {
        let folder = name.replace(['/', '\\'], "--");
        Run { name: name.to_owned(), folder: self.root.join(PRETRAINED).join(folder) }
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

    /// Every rate recorded: the compressors', each run's, then each pretrained model's.
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

    /// Records of the compressors, of each run, then of each pretrained model.
    fn of_each<T>(
        &self,
        read: impl Fn(&Run) -> Result<Vec<T>, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut records = read(&self.compressors())?;
        for run in self.runs()? {
            records.extend(read(&run)?);
        }
        for name in names_in(&self.root.join(PRETRAINED))? {
            records.extend(read(&self.pretrained(&name))?);
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

impl Run {
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

    fn rates_path(&self) -> PathBuf {
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
        let mut rates: Vec<RateRecord> = read_lines(&self.rates_path())?.records;
        for rate in rates.iter_mut().filter(|rate| rate.kind() == Kind::Run) {
            rate.name.clone_from(&self.name);
        }
        Ok(rates)
    }

    /// Appends a rate.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append_rate(&self, record: &RateRecord) -> Result<(), StoreError> {
        Ok(append_line(&self.rates_path(), record)?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CompressorFacts, Facts};
    use crate::{plan, record};

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::new(folder.path());
        (folder, store)
    }

    #[test]
    fn runs_and_records_are_found_again() {
        let (_folder, store) = store();
        assert!(store.runs().expect("nothing there").is_empty());
        let plan = plan::tests::example();
        let run = store.run(&plan.name);
        run.save_plan(&plan).expect("saved");
        let rate = record::tests::example();
        run.append_rate(&rate).expect("appended");
        store.compressors().append_rate(&rate).expect("appended");
        assert_eq!(store.runs().expect("one")[0].plan().expect("reads"), Some(plan));
        assert_eq!(store.rates().expect("two").len(), 2);
        run.clear().expect("cleared");
        assert!(store.runs().expect("none left").is_empty());
    }

    #[test]
    fn a_run_is_what_its_folder_is_called() {
        let (_folder, store) = store();
        let plan = plan::tests::example();
        let run = store.run("before");
        run.save_plan(&plan).expect("saved");
        let mut rate = record::tests::example();
        run.append_rate(&rate).expect("appended");
        fs::rename(run.folder(), store.run("after").folder()).expect("renamed");
        let run = &store.runs().expect("one")[0];
        assert_eq!(run.plan().expect("reads").expect("there").name, "after");
        assert_eq!(store.rates().expect("one")[0].name, "after");
        rate.facts = Facts::Compressor(CompressorFacts::default());
        store.compressors().append_rate(&rate).expect("appended");
        assert_eq!(store.rates().expect("two")[0].name, rate.name, "compressors keep their names");
    }

    #[test]
    fn an_unfinished_line_is_cut_and_a_damaged_one_named() {
        let (_folder, store) = store();
        let run = store.run("a");
        let rate = record::tests::example();
        run.append_rate(&rate).expect("appended");
        let path = run.rates_path();
        let mut text = fs::read(&path).expect("there");
        text.extend(b"{\"name\":\"half a li");
        fs::write(&path, &text).expect("written");
        assert_eq!(run.rates().expect("the whole line").len(), 1);
        run.append_rate(&rate).expect("appended");
        assert_eq!(run.rates().expect("two whole lines").len(), 2);
        fs::write(&path, b"{\"name\":1}\n").expect("written");
        let message = run.rates().expect_err("damaged").to_string();
        assert!(message.contains("rates.jsonl") && message.contains("line 1"), "{message}");
    }

    #[test]
    fn a_run_is_held_by_one() {
        let (_folder, store) = store();
        let run = store.run("a");
        let lock = run.lock().expect("free");
        assert!(matches!(run.lock(), Err(StoreError::Busy(_))));
        drop(lock);
        run.lock().expect("free again");
    }

    #[test]
    fn garbage_never_panics() {
        let (_folder, store) = store();
        let run = store.run("a");
        for text in [&b"\xff\xfe"[..], b"size = 3", b"", b"[[[["] {
            write_atomic(&run.plan_path(), text).expect("written");
            assert!(run.plan().is_err());
        }
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
        write_atomic(&run.rates_path(), pointer).expect("written");
        let message = run.rates().expect_err("no records").to_string();
        assert!(message.contains("rates.jsonl") && message.contains("git lfs pull"), "{message}");
    }
}
