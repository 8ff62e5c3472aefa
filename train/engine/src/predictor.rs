//! The engine as a [`Predictor`]: on the CPU it scores whole chunks and codes them with KV caches, with the same bits
//! however tokens are grouped.

use lmtrain_eval::predictor::RowSink;
use lmtrain_eval::{Predictor, PredictorError, Session};

use crate::{Engine, EngineSession};

/// What a network is to whoever asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Tokens that it predicts.
    pub vocabulary: usize,
    /// Of these, how many it can be fed: the first ones. Some heads are larger than the embedding.
    pub known: usize,
    /// The most tokens that a chunk may have.
    pub context: usize,
    /// Fed before a chunk's first token.
    pub begin_token: u32,
    /// SHA-256 of what decides the probabilities.
    pub identity: [u8; 32],
}

impl Signature {
    /// That of an engine.
    #[must_use]
    pub fn of(engine: &Engine, begin_token: u32, identity: [u8; 32]) -> Self {
        let (vocabulary, context) = (engine.vocabulary(), engine.context());
        let known = vocabulary.min(engine.known_tokens());
        Self { vocabulary, known, context, begin_token, identity }
    }

    /// Checks that the network can be given these chunks.
    ///
    /// # Errors
    /// If one is longer than the context, or has a token outside the vocabulary.
    pub fn check(&self, chunks: &[&[u32]]) -> Result<(), PredictorError> {
        for chunk in chunks {
            self.check_length(chunk.len(), "a chunk of")?;
        }
        // A token is fed once it has been predicted.
        match chunks.iter().copied().flatten().find(|token| **token as usize >= self.known) {
            Some(token) => {
                let known = self.known;
                let message = format!("token {token} is outside the vocabulary of {known}");
                Err(PredictorError(message))
            }
            None => Ok(()),
        }
    }

    fn check_length(&self, tokens: usize, what: &str) -> Result<(), PredictorError> {
        let context = self.context;
        if tokens > context {
            let message = format!("{what} {tokens} tokens exceeds the context of {context}");
            return Err(PredictorError(message));
        }
        Ok(())
    }
}

/// A network on the processor: a run's, or a pretrained model's.
pub struct ExactPredictor {
    engine: Engine,
    signature: Signature,
    side_by_side: u16,
}

impl ExactPredictor {
    /// Of a network; its sessions best have so many sequences.
    #[must_use]
    pub fn new(engine: Engine, signature: Signature, side_by_side: u16) -> Self {
        Self { engine, signature, side_by_side }
    }

    /// The network.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What it is to whoever asks it.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl Predictor for ExactPredictor {
    fn vocabulary(&self) -> usize {
        self.signature.vocabulary
    }

    fn context(&self) -> usize {
        self.signature.context
    }

    fn begin_token(&self) -> u32 {
        self.signature.begin_token
    }

    fn identity(&self) -> [u8; 32] {
        self.signature.identity
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn side_by_side(&self) -> u16 {
        self.side_by_side
    }

    fn score(&self, chunks: &[&[u32]]) -> Result<Vec<Vec<f32>>, PredictorError> {
        self.signature.check(chunks)?;
        Ok(self.engine.score(self.begin_token(), chunks))
    }

    fn rows(&self, chunks: &[&[u32]], sink: &RowSink<'_>) -> Result<(), PredictorError> {
        self.signature.check(chunks)?;
        self.engine.rows(self.begin_token(), chunks, sink);
        Ok(())
    }

    fn session(
        &self,
        lanes: usize,
        tokens: usize,
    ) -> Result<Box<dyn Session + '_>, PredictorError> {
        self.signature.check_length(tokens, "a session of")?;
        Ok(Box::new(self.engine.session(lanes, tokens)))
    }
}

impl Session for EngineSession<'_> {
    fn step(
        &mut self,
        inputs: &[u32],
        count: usize,
        rows: &mut Vec<f32>,
    ) -> Result<(), PredictorError> {
        let (lanes, known) = (self.sequences(), self.engine().known_tokens());
        if count > self.room() {
            return Err(PredictorError(format!("{count} tokens where {} fit", self.room())));
        }
        let unknown = inputs.iter().any(|token| *token as usize >= known);
        if inputs.len() != lanes * count || unknown {
            return Err(PredictorError(format!("inputs of {lanes} lanes, {count} each")));
        }
        EngineSession::step(self, inputs, count, rows);
        Ok(())
    }

    fn restart(&mut self) {
        EngineSession::restart(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{plan, variants, weights};
    use crate::{Origin, SavedWeights, tensor_file};
    use lmtrain_runs::Plan;
    use lmtrain_runs::random::SplitMix64;
    use lmtrain_runs::recipe::Recipe;
    use std::sync::Mutex;

    const CONTEXT: usize = 150;

    fn predictor(plan: Plan) -> Box<dyn Predictor> {
        let plan = Plan { context: CONTEXT, ..plan };
        let mut file = weights(&plan);
        let origin = Origin { plan, tokenizer: String::new(), step: 1 };
        file.metadata = serde_json::to_string(&origin).expect("serialises");
        let bytes = file.to_bytes(tensor_file::StoredPrecision::Half).expect("fits");
        let saved = SavedWeights::from_bytes(bytes, "a test").expect("weights");
        saved.predictor().expect("complete")
    }

    fn chunk(length: usize, seed: u64) -> Vec<u32> {
        let mut generator = SplitMix64::new(seed);
        (0..length).map(|_| generator.below(256) as u32).collect()
    }

    /// Every row of each chunk, by whole chunks.
    fn whole(predictor: &dyn Predictor, chunks: &[&[u32]]) -> Vec<Vec<f32>> {
        let all = Mutex::new(vec![Vec::new(); chunks.len()]);
        let take = |index: usize, first: usize, rows: &[f32]| {
            let mut all = all.lock().expect("no panic");
            assert_eq!(all[index].len(), first * 256);
            all[index].extend_from_slice(rows);
            std::ops::ControlFlow::Continue(())
        };
        predictor.rows(chunks, &take).expect("predicts");
        all.into_inner().expect("no panic")
    }

    /// The same, by a session whose steps have these numbers of tokens.
    fn stepped(predictor: &dyn Predictor, chunks: &[&[u32]], steps: &[usize]) -> Vec<Vec<f32>> {
        let mut session = predictor.session(chunks.len(), CONTEXT).expect("starts");
        let (mut all, mut rows) = (vec![Vec::new(); chunks.len()], Vec::new());
        let mut position = 0;
        for &count in steps {
            let input = |chunk: &[u32], at: usize| match at {
                0 => predictor.begin_token(),
                _ => chunk[at - 1],
            };
            let places = position..position + count;
            let inputs: Vec<u32> =
                chunks.iter().flat_map(|chunk| places.clone().map(|at| input(chunk, at))).collect();
            session.step(&inputs, count, &mut rows).expect("steps");
            for (all, rows) in all.iter_mut().zip(rows.chunks_exact(count * 256)) {
                all.extend_from_slice(rows);
            }
            position += count;
        }
        all
    }

    #[test]
    fn sessions_and_whole_chunks_give_the_same_bits_and_scores_agree() {
        for (name, plan) in variants() {
            let predictor = predictor(plan);
            let predictor = predictor.as_ref();
            let chunks: Vec<Vec<u32>> = (0..5).map(|seed| chunk(CONTEXT, seed)).collect();
            let chunks: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
            let rows = whole(predictor, &chunks);
            assert!(rows == stepped(predictor, &chunks, &[1; CONTEXT]), "{name}, single steps");
            assert!(rows == stepped(predictor, &chunks, &[64, 1, 1, 50, 34]), "{name}, mixed");
            assert!(rows[2..3] == whole(predictor, &chunks[2..3]), "{name}, alone");
            for (rows, (scores, chunk)) in
                rows.iter().zip(predictor.score(&chunks).expect("scores").iter().zip(&chunks))
            {
                for ((row, score), token) in rows.chunks_exact(256).zip(scores).zip(*chunk) {
                    let bits = -f64::from(row[*token as usize]).log2();
                    assert!((bits - f64::from(*score)).abs() < 1e-4, "{name}: {bits} {score}");
                    let sum: f64 = row.iter().copied().map(f64::from).sum();
                    assert!((sum - 1.0).abs() < 1e-5, "{name}: {sum}");
                }
            }
        }
    }

    #[test]
    fn chunks_of_any_lengths_are_scored_and_what_does_not_fit_is_an_error() {
        let predictor = predictor(plan(Recipe::Modern));
        let chunks: Vec<Vec<u32>> = [0, 1, 7, 7, 0, CONTEXT].map(|length| chunk(length, 3)).into();
        let slices: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
        let scores = predictor.score(&slices).expect("scores");
        for (scores, chunk) in scores.iter().zip(&chunks) {
            assert_eq!(scores.len(), chunk.len());
        }
        assert_eq!(scores[2][..], scores[5][..7], "the same tokens, whatever follows");
        assert!(predictor.score(&[&chunk(CONTEXT + 1, 0)]).is_err());
        assert!(predictor.score(&[&[256]]).is_err());
        let mut session = predictor.session(1, CONTEXT).expect("starts");
        assert!(session.step(&[0; CONTEXT + 1], CONTEXT + 1, &mut Vec::new()).is_err());
        assert!(session.step(&[257], 1, &mut Vec::new()).is_err());
        assert!(predictor.session(1, CONTEXT + 1).is_err());
    }
}
