//! What a network is to this crate: something that predicts the next token. It has two interfaces, which a test of each
//! implementation compares with each other: [`Predictor::score`] is for measuring; [`Session`], and [`Predictor::rows`]
//! for chunks that are known in advance, are for coding. Which network it is, and on which device, is hidden behind
//! them.

use std::ops::ControlFlow;

/// A failure of the network or its device, in its own words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PredictorError(pub String);

/// Predicts each token of a chunk from those before it, starting from an empty context.
pub trait Predictor: Send + Sync {
    /// Number of different tokens; a row of probabilities has as many entries.
    fn vocabulary(&self) -> usize;

    /// The most tokens that a chunk may have.
    fn context(&self) -> usize;

    /// Fed before a chunk's first token and never coded; it may lie outside the vocabulary.
    fn begin_token(&self) -> u32;

    /// SHA-256 of everything that determines the probabilities: weights and shape.
    fn identity(&self) -> [u8; 32];

    /// Whether a session gives the same bits on every machine, however its tokens are grouped into steps. If not,
    /// encoding must step token by token, and decoding must happen on the same machine.
    fn is_exact(&self) -> bool;

    /// Chunks that a session best predicts side by side: more share the reading of the weights,
    /// fewer let what they hold stay in a core's caches.
    fn side_by_side(&self) -> u16 {
        4
    }

    /// Bits, −log2 p, of every token of each chunk: one vector for each chunk, with one entry for each token. These
    /// are under the network's own distribution, on any device; [`quantize::bits_of`](crate::quantize::bits_of) adds
    /// the coder's floor.
    ///
    /// # Errors
    /// If a chunk is longer than the context, holds a token outside the vocabulary, or the device
    /// fails.
    fn score(&self, chunks: &[&[u32]]) -> Result<Vec<Vec<f32>>, PredictorError>;

    /// Probabilities of every token of each chunk, in parts as they are computed: `sink` gets the chunk's index, the
    /// part's first token and its rows [count, vocabulary], and may stop the computation. An exact predictor gives the
    /// bits that a session would; this is only called for exact predictors.
    ///
    /// # Errors
    /// As [`Self::score`].
    fn rows(&self, chunks: &[&[u32]], sink: &RowSink<'_>) -> Result<(), PredictorError> {
        let mut rows = Vec::new();
        for (index, chunk) in chunks.iter().enumerate().filter(|(_, chunk)| !chunk.is_empty()) {
            let known = &chunk[..chunk.len() - 1];
            let inputs: Vec<u32> =
                std::iter::once(self.begin_token()).chain(known.iter().copied()).collect();
            self.session(1, inputs.len())?.step(&inputs, inputs.len(), &mut rows)?;
            if sink(index, 0, &rows).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Starts `lanes` chunks of up to `tokens` side by side, each from an empty context.
    ///
    /// # Errors
    /// If `tokens` exceeds the context, or the device fails.
    fn session(&self, lanes: usize, tokens: usize)
    -> Result<Box<dyn Session + '_>, PredictorError>;
}

/// Receives rows of probabilities: chunk, first token, [count, vocabulary]. It may be called from
/// several threads, but for one chunk in order.
pub type RowSink<'a> = dyn Fn(usize, usize, &[f32]) -> ControlFlow<()> + Sync + 'a;

/// Chunks in the middle of being predicted, side by side.
pub trait Session: Send {
    /// Feeds the next `count` tokens of every lane and returns the probabilities of the tokens that follow. The first
    /// token fed is the begin token.
    ///
    /// `inputs`: [lanes, count]; `rows` becomes [lanes, count, vocabulary]. Every entry is finite
    /// and not negative, and a row sums to 1 but for rounding.
    ///
    /// # Errors
    /// If the context is exceeded, a token is outside the vocabulary, or the device fails.
    fn step(
        &mut self,
        inputs: &[u32],
        count: usize,
        rows: &mut Vec<f32>,
    ) -> Result<(), PredictorError>;

    /// Forgets all tokens: every lane starts over from an empty context.
    fn restart(&mut self);
}
