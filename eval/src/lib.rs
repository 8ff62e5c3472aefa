//! Measuring and coding: corpora, chunks, quantization, the range coder, classical compressors, rates and the archive
//! format. This crate never knows which network predicts (see [`Predictor`]) and depends on no tensor library; the
//! predictor is implemented in `lmtrain-engine` and `lmtrain-train`.

pub mod archive;
pub mod block;
pub mod chunks;
pub mod coder;
pub mod compressors;
pub mod generate;
pub mod interval;
pub mod measure;
pub mod predictor;
pub mod quantize;
#[cfg(test)]
mod testing;

pub use predictor::{Predictor, PredictorError, Session};
