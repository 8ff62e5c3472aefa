//! Measuring and coding: corpora, chunks, quantisation, the range coder, classical compressors,
//! rates and the archive format. It never knows which network predicts (see [`Predictor`]) and
//! names no tensor library; `lmtrain-train`, to its right, implements the predictor.

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
