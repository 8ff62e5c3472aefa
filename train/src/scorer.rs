//! A trained run on a device that does not promise the same bits everywhere, as a [`Predictor`]: it
//! measures only, through burn's network.

use std::ops::Range;

use lmtrain_eval::{Predictor, PredictorError, Session};
use lmtrain_runs::Plan;
use lmtrain_runs::units::BITS_PER_NAT;

use crate::batches::Batch;
use crate::network::Network;
use crate::ops::Kernels;
use crate::predictor::{SavedWeights, WeightsError, check};
use crate::tensor_file::TensorFile;
use crate::weights::network_from;

/// Tokens of one pass through the network: enough to keep every core busy, few enough that what
/// they need stays small beside the weights.
const TOKENS_A_PASS: usize = 8192;

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
        chunks.iter().try_for_each(|chunk| check(&self.plan, chunk))?;
        Ok(groups)
    }

    fn batch(&self, group: &[&[u32]], length: usize) -> Batch<B> {
        let targets = group.iter().flat_map(|chunk| chunk.iter().map(|token| token.cast_signed()));
        Batch::new(self.plan.begin_token(), targets.collect(), length, &self.device)
    }
}

/// A network on a device that does not promise the same bits everywhere: it measures only.
pub(crate) struct Scorer<B: Kernels>(Model<B>);

impl<B: Kernels> Scorer<B> {
    /// The network of saved weights, on a device.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub(crate) fn new(saved: &SavedWeights, device: B::Device) -> Result<Self, WeightsError> {
        Model::new(saved, device).map(Self)
    }
}

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

    fn session(
        &self,
        _lanes: usize,
        _tokens: usize,
    ) -> Result<Box<dyn Session + '_>, PredictorError> {
        Err(PredictorError("coding runs on the processor: use `--device cpu`".to_owned()))
    }
}
