//! Measuring and coding: corpora, chunks, quantisation, the range coder, classical compressors,
//! rates and the archive format. It never knows which network predicts (see [`Predictor`]) and
//! names no tensor library; `lmtrain-train`, to its right, implements the predictor.

pub mod corpora;
pub mod predictor;

pub use predictor::{Predictor, PredictorError, Session};
