//! Where weights come from. Weights are always kept together with their plan and their tokenizer's identity, which are
//! the metadata of the file.

use lmtrain_runs::Plan;
use serde::{Deserialize, Serialize};

/// What must be known to use weights: their plan, tokenizer and step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The plan they were trained by.
    pub plan: Plan,
    /// SHA-256 of the tokenizer's vocabulary, hexadecimal; zeros for bytes.
    pub tokenizer: String,
    /// Optimizer steps that made them.
    pub step: u64,
}
