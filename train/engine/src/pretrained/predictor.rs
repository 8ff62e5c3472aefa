//! A pretrained model as a [`Predictor`]: what the evaluator sees of it.

use lmtrain_eval::predictor::RowSink;
use lmtrain_eval::{Predictor, PredictorError, Session};

use super::PretrainedModel;
use crate::Layer;

/// Tokens of a chunk in archives.
const CODED_TOKENS: usize = 2048;
/// Keys and values that a core holds when it codes: more would take more memory than the weights.
const MOST_HELD: usize = 256 << 20;

impl PretrainedModel {
    /// Whether the network can be given these chunks.
    ///
    /// # Errors
    /// If one is longer than the context, or has a token outside the vocabulary.
    pub fn check(&self, chunks: &[&[u32]]) -> Result<(), PredictorError> {
        let (context, vocabulary) = (self.context(), self.vocabulary());
        // Some heads are larger than the embedding; a token is fed once it has been predicted.
        let known = vocabulary.min(self.engine.known_tokens());
        if let Some(chunk) = chunks.iter().find(|chunk| chunk.len() > context) {
            let length = chunk.len();
            let message = format!("a chunk of {length} tokens exceeds the context of {context}");
            return Err(PredictorError(message));
        }
        match chunks.iter().copied().flatten().find(|token| **token as usize >= known) {
            Some(token) => Err(PredictorError(format!(
                "token {token} of the tokenizer is outside the model's vocabulary of {known}"
            ))),
            None => Ok(()),
        }
    }
}

impl Predictor for PretrainedModel {
    fn vocabulary(&self) -> usize {
        self.engine.vocabulary()
    }

    fn context(&self) -> usize {
        self.engine.context()
    }

    fn begin_token(&self) -> u32 {
        self.begin
    }

    fn identity(&self) -> [u8; 32] {
        self.identity
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn side_by_side(&self) -> u16 {
        let held = |layer: &Layer| 2 * layer.heads.key_heads * layer.heads.dims * size_of::<f32>();
        let layers = &self.engine.network().layers;
        let sequence = layers.iter().map(held).sum::<usize>() * self.context().min(CODED_TOKENS);
        let fitting = u16::try_from(MOST_HELD / sequence.max(1)).unwrap_or(u16::MAX);
        self.engine.side_by_side().min(fitting.max(1))
    }

    fn score(&self, chunks: &[&[u32]]) -> Result<Vec<Vec<f32>>, PredictorError> {
        self.check(chunks)?;
        Ok(self.engine.score(self.begin, chunks))
    }

    fn rows(&self, chunks: &[&[u32]], sink: &RowSink<'_>) -> Result<(), PredictorError> {
        self.check(chunks)?;
        self.engine.rows(self.begin, chunks, sink);
        Ok(())
    }

    fn session(
        &self,
        lanes: usize,
        tokens: usize,
    ) -> Result<Box<dyn Session + '_>, PredictorError> {
        let context = self.context();
        if tokens > context {
            let message = format!("chunks of {tokens} tokens exceed the context of {context}");
            return Err(PredictorError(message));
        }
        Ok(Box::new(self.engine.session(lanes, tokens)))
    }
}
