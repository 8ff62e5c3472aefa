//! One logged step of a training.

use serde::{Deserialize, Serialize};

use crate::units::{Bits, Bytes};

/// One logged step of a training, a line of `train.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Optimizer steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Raw bytes that those tokens stand for.
    pub raw_bytes: Bytes,
    /// Mean training loss since the last record, in nats a token.
    pub train_nats_per_token: f64,
    /// The same in bits a raw byte.
    pub train_bits_per_byte: f64,
    /// Global norm of the gradient before clipping, at this step.
    pub gradient_norm: f64,
    /// Factor on the learning rates at this step.
    pub learning_rate_factor: f64,
    /// Tokens a second since the last record, validation and saving excluded.
    pub train_tokens_per_s: f64,
    /// Seconds of training so far, over all of its sessions.
    pub seconds: f64,
    /// Σ −log2 p of each batch before its update, over fresh data only; absent once data repeat
    /// (Blier & Ollivier, arXiv 1802.07044).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prequential_bits: Option<Bits>,
    /// On the validation part, if this step validated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_bits_per_byte: Option<f64>,
}
