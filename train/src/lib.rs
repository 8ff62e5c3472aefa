//! Networks, their kernels and their training: the only crate that names burn. To its left are the
//! names of runs, tokenizers and the evaluator, whose [`lmtrain_eval::Predictor`] it implements.

// Shapes stand in brackets, `[batch, time]`, which rustdoc takes for links.
#![allow(rustdoc::broken_intra_doc_links)]

mod batches;
mod checkpoint;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
pub mod engine;
#[cfg(all(feature = "cuda", test))]
mod gpu_tests;
#[cfg(any(feature = "cuda", test))]
mod guard;
pub mod kernels;
mod learner;
mod network;
mod ops;
mod optimizer;
mod paths;
mod predictor;
pub mod pretrained;
#[cfg(test)]
mod reference_tests;
#[cfg(any(feature = "cuda", test))]
mod scorer;
mod speed;
mod tensor_file;
mod validation;
mod weight_code;
mod weights;

pub use batches::{ByteTokens, Tokens};
pub use device::Device;
pub use learner::{Fitted, Job, TrainError};
pub use predictor::{SavedWeights, WeightsError};
pub use speed::Peak;
pub use weights::Origin;

/// The SIMD level that the processor's kernels run at, as a name.
///
/// # Errors
/// If `LMTRAIN_SIMD` asks for one that there is not, or that this machine does not have.
pub fn simd_level() -> Result<String, String> {
    kernels::level().map(|level| level.to_string())
}
