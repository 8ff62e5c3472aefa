//! Errors of training.

use std::path::PathBuf;

use lmtrain_engine::tensor_file::FormatError;
use lmtrain_runs::{FileError, StoreError};

/// What went wrong in training.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The data do not fill one sequence.
    #[error("the training data have {tokens} tokens, but one sequence takes {context}")]
    TooShort {
        /// Tokens there are.
        tokens: usize,
        /// Tokens of a sequence.
        context: usize,
    },
    /// The loss is not finite.
    #[error(
        "training diverged: at step {step} the loss is {loss}; the checkpoint of step {kept} is kept"
    )]
    Diverged {
        /// The step at which it was seen.
        step: u64,
        /// The loss.
        loss: f64,
        /// Step of the last good checkpoint, 0 if none.
        kept: u64,
    },
    /// An update left a weight that is not finite.
    #[error(
        "training diverged: at step {step} `{tensor}` is not finite; the last checkpoint is kept"
    )]
    Broken {
        /// The step at which it was seen.
        step: u64,
        /// The tensor of the checkpoint that was not written.
        tensor: String,
    },
    /// A file of the run is not what it should be.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of the run cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The checkpoint is of another plan.
    #[error("the checkpoint of run `{0}` was made with another plan")]
    OtherPlan(String),
    /// Tensors cannot be written or read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the run cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The passes of a step do not go round.
    #[error(
        "the {parts} passes of a step cannot be divided evenly among {devices} devices\n\
         hint: `--accumulate {devices}`, or a multiple of it, with a smaller `--batch`"
    )]
    Uneven {
        /// Devices.
        devices: usize,
        /// Passes of a step.
        parts: usize,
    },
    /// The device failed, or its memory ran out: what it said, and what to do.
    #[error("{0}")]
    Device(String),
    /// The dashboard was told to kill the training.
    #[error("training was killed; `--resume` continues from the last checkpoint")]
    Killed,
}
