//! Errors of pretrained models: each names the file, and the key or tensor in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lmtrain_corpora::CorpusError;
use lmtrain_runs::{GIT_LFS_POINTER, is_git_lfs_pointer};
use lmtrain_tokenizers::TokenizerError;

/// What to do about a missing `tokenizer.json`.
pub(super) const TOKENIZER_HINT: &str = "Python's `transformers` can write one: \
     `AutoTokenizer.from_pretrained(NAME).save_pretrained(DIR)`";
/// What to do about missing weights.
pub(super) const WEIGHTS_HINT: &str = "Python's `transformers` can write them: \
     `AutoModelForCausalLM.from_pretrained(NAME).save_pretrained(DIR)`";

/// A model that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PretrainedError {
    /// There is no such folder.
    #[error("{} is not a folder; a model is a folder with config.json, model.safetensors and \
        tokenizer.json", .0.display())]
    NoFolder(PathBuf),
    /// A file that a model must have is not there.
    #[error("{} has no {file}\nhint: {hint}", folder.display())]
    Missing {
        /// The model's folder.
        folder: PathBuf,
        /// The file.
        file: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file of weights cannot be mapped.
    #[error(transparent)]
    Map(#[from] CorpusError),
    /// A file is not what it should be, or of a kind that this program does not know.
    #[error("{}: {reason}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Several things are wrong.
    #[error("{} cannot be used; {} things are wrong:{}", folder.display(), faults.len(), listed(faults))]
    Several {
        /// The model's folder.
        folder: PathBuf,
        /// What is wrong.
        faults: Vec<PretrainedError>,
    },
    /// A part was not read because of faults that were found before.
    #[error("it was not read completely, because of earlier errors")]
    GivenUp,
    /// The tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// Refuses a pointer of Git LFS where one of a model's files should be.
pub(super) fn refuse_pointer(path: &Path, bytes: &[u8]) -> Result<(), PretrainedError> {
    match is_git_lfs_pointer(bytes) {
        true => Err(PretrainedError::refused(path, GIT_LFS_POINTER)),
        false => Ok(()),
    }
}

/// Most faults that are listed.
const MOST_LISTED: usize = 20;

/// A line for each fault.
fn listed(faults: &[PretrainedError]) -> String {
    let line = |fault: &PretrainedError| format!("\n- {}", fault.to_string().replace('\n', "\n  "));
    let mut lines: String = faults.iter().take(MOST_LISTED).map(line).collect();
    if let Some(more) = faults.len().checked_sub(MOST_LISTED).filter(|more| *more > 0) {
        lines.push_str(&format!("\n- and {more} more"));
    }
    lines
}

impl PretrainedError {
    /// All faults as one error, each of them once, or nothing if there are none.
    pub(super) fn of(folder: &Path, faults: Vec<Self>) -> Result<(), Self> {
        let mut seen = BTreeSet::new();
        let mut faults: Vec<Self> = faults
            .into_iter()
            .filter(|fault| !matches!(fault, Self::GivenUp) && seen.insert(fault.to_string()))
            .collect();
        match faults.len() {
            0 => Ok(()),
            1 => Err(faults.remove(0)),
            _ => Err(Self::Several { folder: folder.to_owned(), faults }),
        }
    }

    pub(super) fn missing(folder: &Path, file: &'static str, hint: &'static str) -> Self {
        Self::Missing { folder: folder.to_owned(), file, hint }
    }

    pub(super) fn refused(path: &Path, reason: impl Into<String>) -> Self {
        Self::Refused { path: path.to_owned(), reason: reason.into() }
    }
}
