//! Networks, their kernels and their training: the only crate that names burn. To its left are the
//! names of runs, tokenizers and the evaluator, whose [`lmtrain_eval::Predictor`] it implements.

mod batches;
mod checkpoint;
mod learner;
pub mod network;
mod ops;
mod optimizer;
mod paths;
#[cfg(test)]
mod reference_tests;
mod tensor_file;
mod validation;
mod weights;

pub use batches::{ByteTokens, Tokens};
pub use learner::{Fitted, Job, TrainError, fit, seconds_per_step};
