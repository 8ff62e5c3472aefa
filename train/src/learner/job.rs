//! A training job, and how it ended.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lmtrain_runs::{Plan, Run, StepRecord};

use crate::batches::Tokens;

/// What to train, and who watches.
pub struct Job {
    /// The resolved plan.
    pub plan: Plan,
    /// Where it is kept.
    pub run: Run,
    /// What trains.
    pub training: Arc<dyn Tokens>,
    /// What validates.
    pub validation: Arc<dyn Tokens>,
    /// SHA-256 of the tokenizer's vocabulary.
    pub tokenizer: [u8; 32],
    /// Show burn-train's dashboard on the terminal.
    pub dashboard: bool,
    /// Set to stop training with everything saved; also set by the dashboard if its terminal has gone.
    pub stop: Arc<AtomicBool>,
    /// Dropped once everything is saved after a stop, or training has ended: the process may then be ended, whatever
    /// is still being computed.
    pub keeping: Option<Box<dyn Send>>,
    /// Called with each record as it is made.
    pub observe: Box<dyn FnMut(&StepRecord) + Send>,
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    /// Steps done.
    pub step: u64,
    /// Whether these are all of the plan's.
    pub finished: bool,
    /// The lowest validation in bits per byte, which is that of the saved weights.
    pub best_bits_per_byte: Option<f64>,
    /// Seconds of training, over all sessions.
    pub seconds: f64,
}
