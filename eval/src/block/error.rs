//! Errors of coding.

use crate::coder::CoderError;
use crate::predictor::PredictorError;
use crate::quantize::QuantizeError;

/// Why a block could not be coded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// A chunk that the network's context does not hold.
    #[error("a chunk has {tokens} tokens, but the network's context holds {context}")]
    Context {
        /// Tokens of the chunk.
        tokens: usize,
        /// Tokens that fit.
        context: usize,
    },
    /// The network failed.
    #[error(transparent)]
    Predictor(#[from] PredictorError),
    /// The network gave rows of another shape than asked for.
    #[error("the network returned {found} probabilities instead of {expected}")]
    Shape {
        /// Entries that came.
        found: usize,
        /// Entries of [lanes, count, vocabulary].
        expected: usize,
    },
    /// The network gave a row that is no distribution, or a token is outside the vocabulary.
    #[error("chunk {chunk} of the block, token {position}: {source}")]
    Row {
        /// Chunk within the block.
        chunk: usize,
        /// Token within the chunk.
        position: usize,
        /// What is wrong.
        source: QuantizeError,
    },
    /// The payload is not what the encoder wrote.
    #[error(transparent)]
    Coder(#[from] CoderError),
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}
