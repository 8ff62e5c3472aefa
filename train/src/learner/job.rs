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
    /// Set by whoever wants training to stop with everything kept; by the dashboard, if its terminal
    /// has gone.
    pub stop: Arc<AtomicBool>,
    /// Dropped once everything is kept after a stop, or training has ended: whoever asked for the stop
    /// may end the process then, whatever is still being computed.
    pub keeping: Option<Box<dyn Send>>,
    /// Told of each record as it is made.
    pub observe: Box<dyn FnMut(&StepRecord) + Send>,
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    /// Steps done.
    pub step: u64,
    /// Whether these are all of the plan's.
    pub finished: bool,
    /// The lowest validation, in bits a byte, and so that of the kept weights.
    pub best_bits_per_byte: Option<f64>,
    /// Seconds of training, over all sessions.
    pub seconds: f64,
}
