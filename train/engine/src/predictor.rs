//! A trained run as a [`Predictor`]: on the processor the [`Engine`] scores chunks whole and codes
//! them through caches of keys and values, with the same bits however tokens are grouped.

use std::path::Path;
use std::sync::Arc;

use lmtrain_eval::predictor::RowSink;
use lmtrain_eval::{Predictor, PredictorError, Session};
use lmtrain_runs::plan::MOST_CONTEXT;
use lmtrain_runs::{Plan, notice};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::tensor_file::{FormatError, TensorFile};
use crate::{Engine, EngineSession, Origin};

/// Weights as they were saved, with the plan that made them.
#[derive(Clone)]
pub struct SavedWeights {
    /// The file's bytes.
    pub bytes: Arc<Vec<u8>>,
    /// Plan, tokenizer and step.
    pub origin: Origin,
    /// SHA-256 of the file.
    pub identity: [u8; 32],
}

/// Weights that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the weights in {place} cannot be used: {source}")]
    Format {
        /// Where they were.
        place: String,
        /// What is wrong.
        source: FormatError,
    },
    /// A GPU failed.
    #[error("{0}")]
    Device(String),
}

impl SavedWeights {
    /// Reads a run's weights.
    ///
    /// # Errors
    /// If the file cannot be read, is no file of weights, or is damaged.
    pub fn read(path: &Path) -> Result<Self, WeightsError> {
        let place = path.display().to_string();
        let bytes = std::fs::read(path)
            .map_err(|source| WeightsError::Read { path: place.clone(), source })?;
        let (saved, digest) = Self::open(bytes, &place)?;
        if digest == Digest::Absent {
            notice::without_digest(path);
        }
        Ok(saved)
    }

    /// Takes the bytes of such a file, which something else vouches for if they have no digest of
    /// their own; `place` is for the error.
    ///
    /// # Errors
    /// If they are no file of weights, or damaged.
    pub fn from_bytes(bytes: Vec<u8>, place: &str) -> Result<Self, WeightsError> {
        Self::open(bytes, place).map(|(saved, _)| saved)
    }

    fn open(bytes: Vec<u8>, place: &str) -> Result<(Self, Digest), WeightsError> {
        let refuse = |source| WeightsError::Format { place: place.to_owned(), source };
        let (file, digest) = TensorFile::from_bytes(&bytes).map_err(refuse)?;
        let origin: Origin = serde_json::from_str(&file.metadata)
            .map_err(|error| refuse(FormatError(format!("metadata: {error}"))))?;
        let identity = Sha256::digest(&bytes).into();
        check_plan(&origin, &file).map_err(refuse)?;
        let bytes = Arc::new(bytes);
        Ok((Self { bytes, origin, identity }, digest))
    }

    /// The same weights, as those of a run of this name: the name within them is what the run was
    /// called when it was trained.
    #[must_use]
    pub fn of_run(mut self, name: &str) -> Self {
        name.clone_into(&mut self.origin.plan.name);
        self
    }

    /// The network that they are, ready to predict on the processor.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn predictor(&self) -> Result<Box<dyn Predictor>, WeightsError> {
        Ok(Box::new(CpuPredictor::new(self)?))
    }
}

/// An archive's weights may be anyone's: what they say of their plan must be what they are before
/// memory is taken by it.
fn check_plan(origin: &Origin, file: &TensorFile) -> Result<(), FormatError> {
    let context = origin.plan.context;
    if !(1..=MOST_CONTEXT).contains(&context) {
        return Err(FormatError(format!("a context of {context} tokens")));
    }
    let numbers = file.count();
    if numbers as u64 != origin.plan.parameters() {
        let parameters = origin.plan.parameters();
        return Err(FormatError(format!("{numbers} numbers where the plan has {parameters}")));
    }
    Ok(())
}

/// A chunk that the network of a plan cannot be given.
///
/// # Errors
/// If it is longer than the context, or has a token outside the vocabulary.
pub fn check(plan: &Plan, chunk: &[u32]) -> Result<(), PredictorError> {
    let (context, vocabulary) = (plan.context, plan.tokenization.vocabulary());
    let length = chunk.len();
    if length > context {
        let message = format!("a chunk of {length} tokens exceeds the context of {context}");
        return Err(PredictorError(message));
    }
    match chunk.iter().find(|token| **token as usize >= vocabulary) {
        Some(token) => {
            Err(PredictorError(format!("token {token} is outside the vocabulary of {vocabulary}")))
        }
        None => Ok(()),
    }
}

/// A run on the processor.
struct CpuPredictor {
    engine: Engine,
    plan: Plan,
    identity: [u8; 32],
}

impl CpuPredictor {
    fn new(saved: &SavedWeights) -> Result<Self, WeightsError> {
        let plan = saved.origin.plan.clone();
        let engine = TensorFile::from_checked(&saved.bytes)
            .and_then(|mut file| Engine::of_run(&plan, &mut file))
            .map_err(|source| WeightsError::Format { place: plan.name.clone(), source })?;
        Ok(Self { engine, plan, identity: saved.identity })
    }

    fn check(&self, chunks: &[&[u32]]) -> Result<(), PredictorError> {
        chunks.iter().try_for_each(|chunk| check(&self.plan, chunk))
    }
}

impl Predictor for CpuPredictor {
    fn vocabulary(&self) -> usize {
        self.plan.tokenization.vocabulary()
    }

    fn context(&self) -> usize {
        self.plan.context
    }

    fn begin_token(&self) -> u32 {
        self.plan.begin_token()
    }

    fn identity(&self) -> [u8; 32] {
        self.identity
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn side_by_side(&self) -> u16 {
        self.engine.side_by_side()
    }

    fn score(&self, chunks: &[&[u32]]) -> Result<Vec<Vec<f32>>, PredictorError> {
        self.check(chunks)?;
        Ok(self.engine.score(self.begin_token(), chunks))
    }

    fn rows(&self, chunks: &[&[u32]], sink: &RowSink<'_>) -> Result<(), PredictorError> {
        self.check(chunks)?;
        self.engine.rows(self.begin_token(), chunks, sink);
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
    use crate::tensor_file;
    use crate::testing::{plan, variants, weights};
    use lmtrain_runs::random::SplitMix64;
    use lmtrain_runs::recipe::Recipe;
    use std::sync::Mutex;

    const CONTEXT: usize = 150;

    fn predictor(plan: Plan) -> Box<dyn Predictor> {
        let plan = Plan { context: CONTEXT, ..plan };
        let mut file = weights(&plan);
        let origin = Origin { plan, tokenizer: String::new(), step: 1 };
        file.metadata = serde_json::to_string(&origin).expect("serialises");
        let bytes = file.to_bytes(tensor_file::Precision::Half).expect("fits");
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
