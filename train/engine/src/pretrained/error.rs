//! What can be wrong with a pretrained model: each error names the file, and the key or tensor within.

use std::path::{Path, PathBuf};

use lmtrain_corpora::CorpusError;
use lmtrain_runs::{GIT_LFS_POINTER, is_git_lfs_pointer};
use lmtrain_tokenizers::TokenizerError;

/// What to do about a missing `tokenizer.json`.
pub(super) const TOKENIZER_HINT: &str = "Python's `transformers` writes one: \
     `AutoTokenizer.from_pretrained(NAME).save_pretrained(DIR)`";
/// What to do about missing weights.
pub(super) const WEIGHTS_HINT: &str = "Python's `transformers` writes them: \
     `AutoModelForCausalLM.from_pretrained(NAME).save_pretrained(DIR)`";

/// A model that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PretrainedError {
    /// There is no such folder.
    #[error("{} is no folder; a model is a folder with config.json, model.safetensors and tokenizer.json", .0.display())]
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

impl PretrainedError {
    pub(super) fn missing(folder: &Path, file: &'static str, hint: &'static str) -> Self {
        Self::Missing { folder: folder.to_owned(), file, hint }
    }

    pub(super) fn refused(path: &Path, reason: impl Into<String>) -> Self {
        Self::Refused { path: path.to_owned(), reason: reason.into() }
    }
}
