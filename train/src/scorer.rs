//! A trained run on a device that does not promise the same bits everywhere, as a [`Predictor`]: it
//! measures only, through burn's network, in f32 or bf16.

use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use lmtrain_eval::{Predictor, PredictorError, Session};
use lmtrain_runs::units::BITS_PER_NAT;
use lmtrain_runs::{Plan, Precision};
use sha2::{Digest, Sha256};

use crate::batches::Batch;
use crate::guard::guarded;
use crate::network::Network;
use crate::ops::Kernels;
use crate::weights::network_from;
use lmtrain_engine::tensor_file::TensorFile;
use lmtrain_engine::{SavedWeights, WeightsError, check};

/// Tokens of one pass through the network: enough to keep a GPU busy.
const TOKENS_A_PASS: usize = 1 << 16;

/// A network on a device that does not promise the same bits everywhere: it measures only.
pub(crate) struct Scorer<B: Kernels> {
    network: Network<B>,
    plan: Plan,
    identity: [u8; 32],
    device: B::Device,
}

impl<B: Kernels> Scorer<B> {
    /// The network of saved weights, on a device.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen, or the device fails.
    pub(crate) fn new(
        saved: &SavedWeights,
        precision: Precision,
        device: B::Device,
    ) -> Result<Self, WeightsError> {
        let plan = Plan { precision, ..saved.origin.plan.clone() };
        let load = || {
            TensorFile::from_checked(&saved.bytes)
                .and_then(|mut file| network_from(&plan, &mut file, &device))
                .map(Network::rounded)
                .map_err(|source| WeightsError::Format { place: plan.name.clone(), source })
        };
        let network = guarded(load).map_err(WeightsError::Device)??;
        Ok(Self { network, plan, identity: saved.identity, device })
    }

    /// −ln p of each token of chunks of one length.
    fn nats(&self, group: &[&[u32]]) -> Tensor<B, 1> {
        let targets = group.iter().flat_map(|chunk| chunk.iter().map(|token| token.cast_signed()));
        let (begin_token, length) = (self.plan.begin_token(), group[0].len());
        let batch = Batch::new(begin_token, targets.collect(), length, &self.device);
        self.network.loss(batch.inputs, batch.targets)
    }
}

/// Runs of neighbouring chunks of the same length, which go through a network together, of so many tokens or one
/// chunk; empty chunks are in none.
pub(crate) fn neighbours(chunks: &[&[u32]], tokens: usize) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    while start < chunks.len() {
        let length = chunks[start].len();
        let most = (tokens / length.max(1)).max(1);
        let same = chunks[start..].iter().take(most).take_while(|it| it.len() == length);
        let end = start + same.count();
        if length > 0 {
            groups.push(start..end);
        }
        start = end;
    }
    groups
}

/// Bits of each token by the −ln p of each group's; all passes are under way before the first is waited for.
pub(crate) fn bits_of<B: Backend>(
    chunks: &[&[u32]],
    groups: Vec<Range<usize>>,
    nats: impl Fn(&[&[u32]]) -> Tensor<B, 1>,
) -> Vec<Vec<f32>> {
    let mut bits = vec![Vec::new(); chunks.len()];
    let passes: Vec<_> = groups.iter().map(|group| nats(&chunks[group.clone()])).collect();
    for (group, nats) in groups.into_iter().zip(passes) {
        let nats = nats.into_data();
        let each: Vec<f32> =
            nats.iter::<f32>().map(|nats| (f64::from(nats) * BITS_PER_NAT) as f32).collect();
        let length = chunks[group.start].len();
        for (bits, chunk) in bits[group].iter_mut().zip(each.chunks_exact(length)) {
            *bits = chunk.to_vec();
        }
    }
    bits
}

impl<B: Kernels> Predictor for Scorer<B> {
    fn vocabulary(&self) -> usize {
        self.plan.tokenization.vocabulary()
    }

    fn context(&self) -> usize {
        self.plan.context
    }

    fn begin_token(&self) -> u32 {
        self.plan.begin_token()
    }

    /// Not the weights' own: what was half measured here is not gone on with on the processor, nor
    /// in another precision.
    fn identity(&self) -> [u8; 32] {
        let measured = format!("measured in {}", self.plan.precision);
        Sha256::new().chain_update(self.identity).chain_update(measured).finalize().into()
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn score(&self, chunks: &[&[u32]]) -> Result<Vec<Vec<f32>>, PredictorError> {
        chunks.iter().try_for_each(|chunk| check(&self.plan, chunk))?;
        let groups = neighbours(chunks, TOKENS_A_PASS);
        guarded(|| bits_of(chunks, groups, |group| self.nats(group))).map_err(PredictorError)
    }

    fn session(
        &self,
        _lanes: usize,
        _tokens: usize,
    ) -> Result<Box<dyn Session + '_>, PredictorError> {
        Err(PredictorError("coding runs on the processor: use `--device cpu`".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::NdArray;
    use lmtrain_runs::random::SplitMix64;

    use super::*;
    use lmtrain_engine::Origin;
    use lmtrain_engine::tensor_file::Precision as Stored;
    use lmtrain_engine::testing::{variants, weights};

    #[test]
    fn a_device_without_kernels_scores_what_the_processor_does() {
        for (name, plan) in variants() {
            let plan = Plan { context: 90, ..plan };
            let mut file = weights(&plan);
            let origin = Origin { plan, tokenizer: String::new(), step: 1 };
            file.metadata = serde_json::to_string(&origin).expect("serialises");
            let bytes = file.to_bytes(Stored::Half).expect("fits");
            let saved = SavedWeights::from_bytes(bytes, "a test").expect("weights");
            let scorer =
                Scorer::<NdArray>::new(&saved, Precision::F32, Default::default()).expect("loads");
            let processor = saved.predictor().expect("loads");
            assert_ne!(scorer.identity(), processor.identity());
            let mut generator = SplitMix64::new(1);
            let chunks: Vec<Vec<u32>> = [90, 90, 0, 7, 90]
                .map(|length| (0..length).map(|_| generator.below(256) as u32).collect())
                .into();
            let chunks: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
            let (ours, exact) = (scorer.score(&chunks), processor.score(&chunks));
            let (ours, exact) = (ours.expect("scores"), exact.expect("scores"));
            let total =
                |bits: &[Vec<f32>]| -> f64 { bits.iter().flatten().copied().map(f64::from).sum() };
            for (ours, exact) in ours.iter().zip(&exact) {
                assert_eq!(ours.len(), exact.len());
            }
            let error = (total(&ours) / total(&exact) - 1.0).abs();
            assert!(error < 3e-6, "{name}: {error:.1e}");
            assert!(scorer.score(&[&[256]]).is_err() && scorer.session(1, 1).is_err());
        }
    }
}
