//! A plan, with the data that it is trained on.

use std::sync::Arc;

use lmtrain_runs::{Plan, Run};
use lmtrain_tokenizers::BpeTokenizer;
use lmtrain_train::Tokens;

/// A plan resolved, with what it needs to be trained.
pub(super) struct Resolved {
    pub(super) run: Run,
    pub(super) plan: Plan,
    pub(super) training: Arc<dyn Tokens>,
    pub(super) validation: Arc<dyn Tokens>,
    /// None for bytes.
    pub(super) vocabulary: Option<BpeTokenizer>,
    pub(super) seconds_per_step: Option<f64>,
}
