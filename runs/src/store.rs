//! The store: one folder a run under `<runs>/work/`. Files are written whole and atomically;
//! records are appended as whole lines, as they are measured. What is damaged is an error that
//! names the file, never a wrong number.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::git_lfs::{GIT_LFS_POINTER, is_git_lfs_pointer};
use crate::plan::Plan;
use crate::record::{RateRecord, StepRecord};

/// The folder of the classical compressors' records, beside the runs'.
const COMPRESSORS: &str = "compressors";
/// The folder of the pretrained models' records, a folder each.
const PRETRAINED: &str = "pretrained";

/// What went wrong with a file of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The content is not what it should be.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
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
        let mut records = self.compressors().rates()?;
        for run in self.runs()? {
            records.extend(run.rates()?);
        }
        for name in names_in(&self.root.join(PRETRAINED))? {
            records.extend(self.pretrained(&name).rates()?);
        }
        Ok(records)
    }
}

/// The names in a folder, in order; none where there is no folder.
fn names_in(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(at(folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(at(folder))?.file_name().to_string_lossy().into_owned());
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

    /// The saved plan, if there is one.
    ///
    /// # Errors
    /// If the file is damaged or cannot be read.
    pub fn plan(&self) -> Result<Option<Plan>, StoreError> {
        let path = self.plan_path();
        let Some(text) = read_if_there(&path)? else { return Ok(None) };
        let plan = toml::from_str(&text)
            .map_err(|error| damaged(&path, error.to_string().trim().to_owned()))?;
        Ok(Some(plan))
    }

    /// Saves the plan.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_plan(&self, plan: &Plan) -> Result<(), StoreError> {
        let path = self.plan_path();
        let text = toml::to_string(plan).map_err(|error| damaged(&path, error.to_string()))?;
        write_atomic(&path, text.as_bytes())
    }

    /// The logged steps.
    ///
    /// # Errors
    /// If the file is damaged or cannot be read.
    pub fn steps(&self) -> Result<Vec<StepRecord>, StoreError> {
        read_lines(&self.steps_path())
    }

    /// Appends a logged step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append_step(&self, record: &StepRecord) -> Result<(), StoreError> {
        append_line(&self.steps_path(), record)
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
        write_atomic(&path, &text)
    }

    /// The recorded rates.
    ///
    /// # Errors
    /// If the file is damaged or cannot be read.
    pub fn rates(&self) -> Result<Vec<RateRecord>, StoreError> {
        read_lines(&self.rates_path())
    }

    /// Appends a rate.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append_rate(&self, record: &RateRecord) -> Result<(), StoreError> {
        append_line(&self.rates_path(), record)
    }

    /// Holds the run for this process.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another process holds it.
    pub fn lock(&self) -> Result<RunLock, StoreError> {
        fs::create_dir_all(&self.folder).map_err(at(&self.folder))?;
        let path = self.lock_path();
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(at(&path))?;
        match file.try_lock() {
            Ok(()) => {
                self.sweep_temporaries();
                Ok(RunLock(file))
            }
            Err(fs::TryLockError::WouldBlock) => Err(StoreError::Busy(self.name.clone())),
            Err(fs::TryLockError::Error(error)) => Err(at(&path)(error)),
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
        for entry in fs::read_dir(&self.folder).map_err(at(&self.folder))? {
            let path = entry.map_err(at(&self.folder))?.path();
            if path != self.plan_path() && path != self.lock_path() && !first.contains(&path) {
                rest.push(path);
            }
        }
        for path in first.into_iter().chain(rest).chain([self.plan_path()]) {
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error))?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Writes a file so that it is there whole or not at all: temporary file, fsync, rename, and fsync
/// of the folder.
///
/// # Errors
/// If any of these fails.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(at(folder))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = folder.join(name);
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if cfg!(unix) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        at(path)(error)
    })
}

/// Appends one JSON line, whole: a line that an earlier process left unfinished is cut off first.
///
/// # Errors
/// If it cannot be written.
pub fn append_line<T: Serialize>(path: &Path, record: &T) -> Result<(), StoreError> {
    let line = line_of(path, record)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let append = || -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        cut_unfinished_line(&mut file)?;
        file.write_all(&line)?;
        file.sync_data()
    };
    append().map_err(at(path))
}

/// Reads JSON lines; none if the file is not there. A last line without its end was being written
/// when a process died, and is left out.
///
/// # Errors
/// If a finished line does not parse, naming it.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, StoreError> {
    let Some(text) = read_if_there(path)? else { return Ok(Vec::new()) };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |(index, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| damaged(path, format!("line {}: {error}", index + 1)))
    };
    whole.lines().enumerate().filter(|(_, line)| !line.is_empty()).map(parse).collect()
}

fn cut_unfinished_line(file: &mut File) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    let length = file.metadata()?.len();
    let mut end = length;
    let mut byte = [0];
    while end > 0 {
        file.seek(SeekFrom::Start(end - 1))?;
        file.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            break;
        }
        end -= 1;
    }
    if end < length { file.set_len(end) } else { Ok(()) }
}

fn line_of<T: Serialize>(path: &Path, record: &T) -> Result<Vec<u8>, StoreError> {
    let mut line = serde_json::to_vec(record).map_err(|error| damaged(path, error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}

fn read_if_there(path: &Path) -> Result<Option<String>, StoreError> {
    match fs::read(path) {
        Ok(bytes) if is_git_lfs_pointer(&bytes) => Err(damaged(path, GIT_LFS_POINTER.to_owned())),
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| damaged(path, "it is not UTF-8 text".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    |source| StoreError::Io { path: path.to_owned(), source }
}

fn damaged(path: &Path, reason: String) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
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
