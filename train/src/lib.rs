//! Networks and their training, in burn: the only crate that depends on it. It uses the engine, which runs trained
//! networks, and the kernels, which both use for computing.
//!
//! ```
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use lmtrain_corpora::{DataDirectory, open};
//! use lmtrain_engine::SavedWeights;
//! use lmtrain_runs::{Plan, Store};
//! use lmtrain_train::{Device, Job};
//!
//! // The plan of a network that was trained before, but tiny, and with three steps.
//! let trained = SavedWeights::read(Path::new("../runs/models/200K-int8.lmw"))?;
//! let mut plan = Plan {
//!     name: "tiny".to_owned(),
//!     size: "w16l1h1".parse()?,
//!     context: 64,
//!     steps: 3,
//!     validate_every: 3,
//!     validation_sequences: 2,
//!     ..trained.origin.plan.clone()
//! };
//! plan.choices.head_size = None;
//!
//! let corpus = Arc::new(open("markov:bytes=100K", &DataDirectory::at("data"))?);
//! let bytes = |range| Arc::new(lmtrain_train::ByteTokens::new(corpus.clone(), range));
//! let folder = tempfile::tempdir()?;
//! let run = Store::new(folder.path()).run(&plan.name);
//! run.save_plan(&plan)?;
//! let fitted = Device::Cpu.fit(Job {
//!     plan,
//!     run: run.clone(),
//!     training: bytes(0..90_000),
//!     validation: bytes(90_000..100_000),
//!     tokenizer: [0; 32],
//!     dashboard: false,
//!     stop: Arc::default(),
//!     keeping: None,
//!     observe: Box::new(|_| {}),
//! })?;
//! assert!(fitted.finished && run.weights_path().is_file());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// Shapes stand in brackets, `[batch, time]`, which rustdoc takes for links.
#![allow(rustdoc::broken_intra_doc_links)]

#[cfg(feature = "wgpu")]
mod any_gpu;
mod batches;
mod checkpoint;
mod device;
#[cfg(test)]
mod engine_tests;
mod error;
#[cfg(feature = "cuda")]
mod gpu;
#[cfg(test)]
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod gpu_tests;
#[cfg(any(feature = "cuda", feature = "wgpu", test))]
mod guard;
mod learner;
mod mixed;
mod network;
#[cfg(any(feature = "cuda", feature = "wgpu", test))]
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
