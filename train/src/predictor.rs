//! A trained run as a [`Predictor`]: it scores chunks in batches, and codes them through caches of
//! keys and values. On the processor both give the same bits however tokens are grouped.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::flex::FlexDevice;
use burn::tensor::{Int, Tensor, TensorData};
use lmtrain_eval::predictor::RowSink;
use lmtrain_eval::{Predictor, PredictorError, Session};
use lmtrain_runs::Plan;
use lmtrain_runs::units::BITS_PER_NAT;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::batches::Batch;
use crate::device::Device;
use crate::kernels::{AttentionCache, on_this_thread};
use crate::network::Network;
use crate::ops::{Kernels, attend_step, probabilities};
use crate::tensor_file::{FormatError, TensorFile};
use crate::weights::{Origin, network_from};

/// Tokens of one pass through the network: enough to keep every core busy, few enough that what
/// they need stays small beside the weights.
const TOKENS_A_PASS: usize = 8192;
/// The longest context that weights may have been trained with.
const MOST_CONTEXT: usize = 65_536;
/// Probabilities that are made at a time: 2 MiB.
const ROW_ENTRIES: usize = 1 << 19;

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
}

impl SavedWeights {
    /// Reads a run's weights.
    ///
    /// # Errors
    /// If the file cannot be read, or is no file of weights.
    pub fn read(path: &Path) -> Result<Self, WeightsError> {
        let place = path.display().to_string();
        let bytes = std::fs::read(path)
            .map_err(|source| WeightsError::Read { path: place.clone(), source })?;
        Self::from_bytes(bytes, &place)
    }

    /// Takes the bytes of such a file; `place` is for the error.
    ///
    /// # Errors
    /// If they are no file of weights.
    pub fn from_bytes(bytes: Vec<u8>, place: &str) -> Result<Self, WeightsError> {
        let refuse = |source| WeightsError::Format { place: place.to_owned(), source };
        let file = TensorFile::from_bytes(&bytes).map_err(refuse)?;
        let origin: Origin = serde_json::from_str(&file.metadata)
            .map_err(|error| refuse(FormatError(format!("metadata: {error}"))))?;
        let identity = Sha256::digest(&bytes).into();
        check_plan(&origin, &file).map_err(refuse)?;
        Ok(Self { bytes: Arc::new(bytes), origin, identity })
    }

    /// The network that they are, ready to predict on a device.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn predictor(&self, device: &Device) -> Result<Box<dyn Predictor>, WeightsError> {
        match device {
            Device::Cpu => {
                let model = Model::<Flex>::new(self, FlexDevice)?;
                Ok(Box::new(CpuPredictor(model)))
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(index) => {
                let device = burn_cuda::CudaDevice::new(*index);
                let model = Model::<crate::device::Cuda>::new(self, device)?;
                Ok(Box::new(Scorer(model)))
            }
        }
    }
}

/// An archive's weights may be anyone's: what they say of their plan must be what they are before
/// memory is taken by it.
fn check_plan(origin: &Origin, file: &TensorFile) -> Result<(), FormatError> {
    let context = origin.plan.context;
    if !(1..=MOST_CONTEXT).contains(&context) {
        return Err(FormatError(format!("a context of {context} tokens")));
    }
    let numbers: usize = file.tensors.values().map(|numbers| numbers.values.len()).sum();
    if numbers as u64 != origin.plan.parameters() {
        let parameters = origin.plan.parameters();
        return Err(FormatError(format!("{numbers} numbers where the plan has {parameters}")));
    }
    Ok(())
}

struct Model<B: Kernels> {
    network: Network<B>,
    plan: Plan,
    identity: [u8; 32],
    device: B::Device,
}

impl<B: Kernels> Model<B> {
    fn new(saved: &SavedWeights, device: B::Device) -> Result<Self, WeightsError> {
        let plan = saved.origin.plan.clone();
        let network = TensorFile::from_bytes(&saved.bytes)
            .and_then(|mut file| network_from(&plan, &mut file, &device))
            .map_err(|source| WeightsError::Format { place: plan.name.clone(), source })?;
        Ok(Self { network, plan, identity: saved.identity, device })
    }

    fn score(&self, chunks: &[&[u32]]) -> Result<Vec<Vec<f32>>, PredictorError> {
        let mut bits = vec![Vec::new(); chunks.len()];
        for group in self.groups(chunks)? {
            let length = chunks[group.start].len();
            let batch = self.batch(&chunks[group.clone()], length);
            let nats = self.network.loss(batch.inputs, batch.targets).into_data();
            let each: Vec<f32> =
                nats.iter::<f32>().map(|nats| (f64::from(nats) * BITS_PER_NAT) as f32).collect();
            for (bits, chunk) in bits[group].iter_mut().zip(each.chunks_exact(length)) {
                *bits = chunk.to_vec();
            }
        }
        Ok(bits)
    }

    /// Runs of neighbouring chunks of the same length, which go through the network together;
    /// empty chunks are in none.
    fn groups(&self, chunks: &[&[u32]]) -> Result<Vec<Range<usize>>, PredictorError> {
        let mut groups = Vec::new();
        let mut start = 0;
        while start < chunks.len() {
            let length = chunks[start].len();
            let most = (TOKENS_A_PASS / length.max(1)).max(1);
            let same = chunks[start..].iter().take(most).take_while(|it| it.len() == length);
            let end = start + same.count();
            if length > 0 {
                groups.push(start..end);
            }
            start = end;
        }
        chunks.iter().try_for_each(|chunk| self.check(chunk))?;
        Ok(groups)
    }

    fn batch(&self, group: &[&[u32]], length: usize) -> Batch<B> {
        let targets = group.iter().flat_map(|chunk| chunk.iter().map(|token| token.cast_signed()));
        Batch::new(self.plan.begin_token(), targets.collect(), length, &self.device)
    }

    fn check(&self, chunk: &[u32]) -> Result<(), PredictorError> {
        let (context, vocabulary) = (self.plan.context, self.plan.tokenization.vocabulary());
        let length = chunk.len();
        if length > context {
            let message = format!("a chunk of {length} tokens exceeds the context of {context}");
            return Err(PredictorError(message));
        }
        match chunk.iter().find(|token| **token as usize >= vocabulary) {
            Some(token) => Err(PredictorError(format!(
                "token {token} is outside the vocabulary of {vocabulary}"
            ))),
            None => Ok(()),
        }
    }
}

impl Model<Flex> {
    /// Whole chunks in one pass, and their rows in parts that stay in the processor's caches.
    fn rows(&self, chunks: &[&[u32]], sink: &mut RowSink<'_>) -> Result<(), PredictorError> {
        let part = (ROW_ENTRIES / self.plan.tokenization.vocabulary()).max(1);
        let mut rows = Vec::new();
        for group in self.groups(chunks)? {
            let length = chunks[group.start].len();
            let batch = self.batch(&chunks[group.clone()], length);
            let hidden = self.network.hidden(batch.inputs);
            for (index, chunk) in group.enumerate() {
                for first in (0..length).step_by(part) {
                    let count = part.min(length - first);
                    let hidden = hidden.clone().narrow(0, index * length + first, count);
                    probabilities(self.network.output_head(), hidden, &mut rows);
                    if sink(chunk, first, &rows).is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

struct CpuPredictor(Model<Flex>);

impl Predictor for CpuPredictor {
    fn vocabulary(&self) -> usize {
        self.0.plan.tokenization.vocabulary()
    }

    fn context(&self) -> usize {
        self.0.plan.context
    }

    fn begin_token(&self) -> u32 {
        self.0.plan.begin_token()
    }

    fn identity(&self) -> [u8; 32] {
        self.0.identity
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn score(&self, chunks: &[&[u32]]) -> Result<Vec<Vec<f32>>, PredictorError> {
        self.0.score(chunks)
    }

    fn rows(&self, chunks: &[&[u32]], sink: &mut RowSink<'_>) -> Result<(), PredictorError> {
        self.0.rows(chunks, sink)
    }

    fn session(&self, lanes: usize) -> Result<Box<dyn Session + '_>, PredictorError> {
        let size = self.0.plan.size;
        let a_group = lanes.div_ceil(rayon::current_num_threads()).max(1);
        let group = |first: usize| {
            let lanes = a_group.min(lanes - first);
            let head_dimension = size.head_dimension();
            let cache = AttentionCache::new(lanes, size.heads, head_dimension, self.context());
            Group {
                lanes: (0..lanes).collect(),
                caches: vec![cache; size.layers],
                rows: Vec::new(),
            }
        };
        let groups = (0..lanes).step_by(a_group).map(group).collect();
        Ok(Box::new(CpuSession { model: &self.0, groups, lanes, position: 0 }))
    }
}

/// Chunks side by side, in a group a thread: what one core does through all layers stays in its
/// caches, and threads meet once a step.
struct CpuSession<'a> {
    model: &'a Model<Flex>,
    groups: Vec<Group>,
    lanes: usize,
    position: usize,
}

/// Some of the chunks, with the keys and values of what they have seen, a cache a layer.
struct Group {
    lanes: Vec<usize>,
    caches: Vec<AttentionCache>,
    /// Probabilities of the last step, [lanes, count, vocabulary].
    rows: Vec<f32>,
}

impl Session for CpuSession<'_> {
    fn step(
        &mut self,
        inputs: &[u32],
        count: usize,
        rows: &mut Vec<f32>,
    ) -> Result<(), PredictorError> {
        let plan = &self.model.plan;
        if self.position + count > plan.context {
            let context = plan.context;
            return Err(PredictorError(format!("a chunk exceeds the context of {context} tokens")));
        }
        let known = plan.embedding_rows();
        if inputs.len() != self.lanes * count || inputs.iter().any(|token| *token as usize >= known)
        {
            return Err(PredictorError(format!("inputs of {} lanes, {count} each", self.lanes)));
        }
        rows.clear();
        if inputs.is_empty() {
            return Ok(());
        }
        let model = self.model;
        let a_group = self.groups[0].lanes.len() * count;
        self.groups.par_iter_mut().zip(inputs.par_chunks(a_group)).for_each(|(group, inputs)| {
            on_this_thread(|| group.step(model, inputs, count));
        });
        for group in &self.groups {
            rows.extend_from_slice(&group.rows);
        }
        self.position += count;
        Ok(())
    }
}

impl Group {
    /// inputs: [lanes, count].
    fn step(&mut self, model: &Model<Flex>, inputs: &[u32], count: usize) {
        let Self { lanes, caches, rows } = self;
        let tokens: Vec<i32> = inputs.iter().map(|token| token.cast_signed()).collect();
        let tokens = TensorData::new(tokens, [lanes.len(), count]);
        let tokens = Tensor::<Flex, 2, Int>::from_data(tokens, &FlexDevice);
        let hidden = model.network.hidden_attending(tokens, &mut |layer, qkv, gain| {
            attend_step(&mut caches[layer], lanes, qkv, gain)
        });
        probabilities(model.network.output_head(), hidden, rows);
    }
}

/// A network on a device that does not promise the same bits everywhere: it measures only.
#[cfg(feature = "cuda")]
struct Scorer<B: Kernels>(Model<B>);

#[cfg(feature = "cuda")]
impl<B: Kernels> Predictor for Scorer<B> {
    fn vocabulary(&self) -> usize {
        self.0.plan.tokenization.vocabulary()
    }

    fn context(&self) -> usize {
        self.0.plan.context
    }

    fn begin_token(&self) -> u32 {
        self.0.plan.begin_token()
    }

    fn identity(&self) -> [u8; 32] {
        self.0.identity
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn score(&self, chunks: &[&[u32]]) -> Result<Vec<Vec<f32>>, PredictorError> {
        self.0.score(chunks)
    }

    fn session(&self, _lanes: usize) -> Result<Box<dyn Session + '_>, PredictorError> {
        Err(PredictorError("coding runs on the processor: use `--device cpu`".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference_tests::{plan, weights};
    use crate::tensor_file::Precision;
    use lmtrain_runs::random::SplitMix64;
    use lmtrain_runs::recipe::Recipe;

    const CONTEXT: usize = 150;

    fn predictor(recipe: Recipe) -> Box<dyn Predictor> {
        let mut plan = plan(recipe);
        plan.context = CONTEXT;
        let mut file = weights(&plan);
        let origin = Origin { plan, tokenizer: String::new(), step: 1 };
        file.metadata = serde_json::to_string(&origin).expect("serialises");
        let bytes = file.to_bytes(Precision::Half).expect("fits");
        let saved = SavedWeights::from_bytes(bytes, "a test").expect("weights");
        saved.predictor(&Device::Cpu).expect("complete")
    }

    fn chunk(length: usize, seed: u64) -> Vec<u32> {
        let mut generator = SplitMix64::new(seed);
        (0..length).map(|_| generator.below(256) as u32).collect()
    }

    /// Every row of each chunk, by whole chunks.
    fn whole(predictor: &dyn Predictor, chunks: &[&[u32]]) -> Vec<Vec<f32>> {
        let mut all = vec![Vec::new(); chunks.len()];
        let take = &mut |index: usize, first: usize, rows: &[f32]| {
            assert_eq!(all[index].len(), first * 256);
            all[index].extend_from_slice(rows);
            std::ops::ControlFlow::Continue(())
        };
        predictor.rows(chunks, take).expect("predicts");
        all
    }

    /// The same, by a session whose steps have these numbers of tokens.
    fn stepped(predictor: &dyn Predictor, chunks: &[&[u32]], steps: &[usize]) -> Vec<Vec<f32>> {
        let mut session = predictor.session(chunks.len()).expect("starts");
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
        for recipe in Recipe::ALL {
            let predictor = predictor(recipe);
            let predictor = predictor.as_ref();
            let chunks: Vec<Vec<u32>> = (0..5).map(|seed| chunk(CONTEXT, seed)).collect();
            let chunks: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
            let rows = whole(predictor, &chunks);
            assert!(rows == stepped(predictor, &chunks, &[1; CONTEXT]), "{recipe}, single steps");
            assert!(rows == stepped(predictor, &chunks, &[64, 1, 1, 50, 34]), "{recipe}, mixed");
            assert!(rows[2..3] == whole(predictor, &chunks[2..3]), "{recipe}, alone");
            for (rows, (scores, chunk)) in
                rows.iter().zip(predictor.score(&chunks).expect("scores").iter().zip(&chunks))
            {
                for ((row, score), token) in rows.chunks_exact(256).zip(scores).zip(*chunk) {
                    let bits = -f64::from(row[*token as usize]).log2();
                    assert!((bits - f64::from(*score)).abs() < 1e-4, "{recipe}: {bits} {score}");
                    let sum: f64 = row.iter().copied().map(f64::from).sum();
                    assert!((sum - 1.0).abs() < 1e-5, "{recipe}: {sum}");
                }
            }
        }
    }

    #[test]
    fn chunks_of_any_lengths_are_scored_and_what_does_not_fit_is_an_error() {
        let predictor = predictor(Recipe::Modern);
        let chunks: Vec<Vec<u32>> = [0, 1, 7, 7, 0, CONTEXT].map(|length| chunk(length, 3)).into();
        let slices: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
        let scores = predictor.score(&slices).expect("scores");
        for (scores, chunk) in scores.iter().zip(&chunks) {
            assert_eq!(scores.len(), chunk.len());
        }
        assert_eq!(scores[2][..], scores[5][..7], "the same tokens, whatever follows");
        assert!(predictor.score(&[&chunk(CONTEXT + 1, 0)]).is_err());
        assert!(predictor.score(&[&[256]]).is_err());
        let mut session = predictor.session(1).expect("starts");
        assert!(session.step(&[0; CONTEXT + 1], CONTEXT + 1, &mut Vec::new()).is_err());
        assert!(session.step(&[257], 1, &mut Vec::new()).is_err());
    }
}
