//! Measuring and coding: corpora, chunks, quantization, the range coder, classical compressors, rates and the archive
//! format. This crate never knows which network predicts (see [`Predictor`]) and depends on no tensor library; the
//! predictor is implemented in `lmtrain-engine` and `lmtrain-train`.
//!
//! A row of probabilities becomes whole frequencies, a token's share of them an interval, and intervals become bytes:
//!
//! ```
//! use lmtrain_eval::coder::{Decoder, Encoder};
//! use lmtrain_eval::quantize::{find, interval};
//!
//! // Of four tokens the first is likely. A network would give another row for each token.
//! let row = [0.85_f32, 0.05, 0.05, 0.05];
//! let tokens = [0_u32, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
//!
//! let mut encoder = Encoder::default();
//! for &token in &tokens {
//!     encoder.encode(interval(&row, token)?);
//! }
//! let bytes = encoder.finish();
//! // 14 · 0.23 + 2 · 4.32 = 11.9 bits, where two bits a token would be 32.
//! assert!(bytes.len() <= 2);
//!
//! let mut decoder = Decoder::new(&bytes);
//! for &token in &tokens {
//!     let total = interval(&row, 0)?.total;
//!     let (found, its_interval) = find(&row, decoder.target(total)?)?;
//!     decoder.consume(its_interval);
//!     assert_eq!(found, token);
//! }
//! decoder.finish()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
