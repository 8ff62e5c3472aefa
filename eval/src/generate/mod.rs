//! Sampling from a network or a compressor (the paper's section 3.4). Some stretches of bytes are given, and the others
//! are sampled: the end of a text, or the right half of every row of an image.
//!
//! A network samples by decoding random bits ([`by_predictor`]) with the same session, quantizer and range decoder that
//! restore archives, so samples follow the distribution that the coder uses. A compressor samples by its lengths
//! ([`by_compressor`]): p(b) ∝ 2^(ℓ(x) − ℓ(xb)).

mod compressor;
mod network;
mod random_bits;

use std::io;
use std::ops::ControlFlow;

use lmtrain_tokenizers::TokenizerError;

use crate::block::BlockError;

pub use compressor::{Lengths, by_compressor};
pub use network::by_predictor;

/// A stretch of what is generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// Bytes that are known.
    Given(Vec<u8>),
    /// So many bytes to draw.
    Free(usize),
}

/// How bytes are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawing {
    /// Samples to draw, each with random bits of its own.
    pub samples: usize,
    /// Probabilities are raised to the power of 1 over this, and sum to 1 again; above 0.
    pub temperature: f64,
    /// Seed of the random bits.
    pub seed: u64,
}

/// One sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampled {
    /// Every byte, given ones too. It has the stretches' length.
    pub bytes: Vec<u8>,
    /// Σ −log2 p of the sampled tokens or bytes, under the distribution that they were drawn from.
    pub bits: f64,
    /// The distribution of the first byte that was drawn, if a draw decides one byte.
    pub first_byte: Option<Vec<f64>>,
}

/// Called now and then with the bytes drawn so far, of all samples. A break stops.
pub type Pulse<'a> = dyn FnMut(u64) -> ControlFlow<()> + 'a;

/// What went wrong with generating.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The network failed, or gave no distribution.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// What is given has no tokens.
    #[error(transparent)]
    Tokens(#[from] TokenizerError),
    /// The compressor failed.
    #[error("{name} failed: {source}")]
    Compressor {
        /// Its name.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// No allowed token has a probability above 0; or the random bits ran out, which happens once in 10^8 draws.
    #[error("nothing can be sampled at byte {at}: {why}")]
    Nothing {
        /// Byte of the sample.
        at: usize,
        /// What is wrong.
        why: String,
    },
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}

/// The length of all stretches in bytes, and how many of them are drawn.
#[must_use]
pub fn lengths(stretches: &[Stretch]) -> (usize, usize) {
    stretches.iter().fold((0, 0), |(all, free), stretch| match stretch {
        Stretch::Given(bytes) => (all + bytes.len(), free),
        Stretch::Free(count) => (all + count, free + count),
    })
}

#[cfg(test)]
mod tests;
