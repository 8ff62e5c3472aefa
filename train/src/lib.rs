//! Networks and their training, in burn: the only crate that depends on it. It uses the engine, which runs trained
//! networks, and the kernels, which both use for computing.

// Shapes stand in brackets, `[batch, time]`, which rustdoc takes for links.
#![allow(rustdoc::broken_intra_doc_links)]

mod batches;
mod checkpoint;
mod device;
#[cfg(test)]
mod engine_tests;
mod error;
#[cfg(feature = "cuda")]
mod gpu;
#[cfg(all(feature = "cuda", test))]
mod gpu_tests;
#[cfg(any(feature = "cuda", test))]
mod guard;
mod learner;
mod mixed;
mod network;
#[cfg(any(feature = "cuda", test))]
mod on_device;
mod ops;
mod optimizer;
mod paths;
#[cfg(test)]
mod reference_tests;
mod speed;
mod validation;
mod weights;

pub use batches::{ByteTokens, Stretch, Tokens};
pub use device::Device;
pub use error::TrainError;
pub use learner::{Fitted, Job};
pub use mixed::MixedTokens;
pub use speed::{Peak, untrained};
