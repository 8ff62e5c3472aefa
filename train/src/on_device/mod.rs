//! A network on a device that does not guarantee the same bits everywhere, as a [`Predictor`]: it only measures, in f32
//! or with bf16 products. Runs and pretrained models use the same code.

mod attention;
mod layers;
mod network;
mod rounding;
#[cfg(test)]
mod tests;

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use lmtrain_engine::{ExactPredictor, Signature};
#[cfg(feature = "cuda")]
use lmtrain_engine::{SavedWeights, WeightsError};
use lmtrain_eval::{Predictor, PredictorError, Session};
use lmtrain_runs::Precision;
use lmtrain_runs::units::BITS_PER_NAT;
#[cfg(feature = "cuda")]
use lmtrain_runs::{Plan, recipe::Weights};
use sha2::{Digest, Sha256};

use crate::guard::guarded;
use crate::network::Network;
use crate::ops::{Ops, number_type};
#[cfg(feature = "cuda")]
use crate::weights::network_from;
use layers::Place;
use network::DeviceNetwork;

/// Numbers of a pass's residual stream, roughly, and the fewest and most tokens of it: enough to keep a GPU busy.
const NUMBERS_A_PASS: usize = 1 << 25;
const TOKENS_A_PASS: (usize, usize) = (1 << 14, 1 << 16);

/// A network that gives the −ln p of tokens.
pub(crate) trait Scores<B: Backend>: Send + Sync {
    /// −ln p of targets [batch · time] after inputs [batch · time], for [batch, time].
    fn nats(
        &self,
        inputs: Tensor<B, 1, Int>,
        targets: Tensor<B, 1, Int>,
        shape: [usize; 2],
    ) -> Tensor<B, 1>;
}

impl<B: Backend> Scores<B> for DeviceNetwork<B> {
    fn nats(
        &self,
        inputs: Tensor<B, 1, Int>,
        targets: Tensor<B, 1, Int>,
        shape: [usize; 2],
    ) -> Tensor<B, 1> {
        self.nats_of_rows(self.hidden(inputs, shape), targets)
    }
}

impl<B: Ops> Scores<B> for Network<B> {
    fn nats(
        &self,
        inputs: Tensor<B, 1, Int>,
        targets: Tensor<B, 1, Int>,
        shape: [usize; 2],
    ) -> Tensor<B, 1> {
        self.loss(inputs.reshape(shape), targets.reshape(shape))
    }
}

/// A network on a device: the engine's, or the very one that is trained.
pub(crate) struct OnDevice<B: Backend, N = DeviceNetwork<B>> {
    signature: Signature,
    network: N,
    precision: Precision,
    tokens_a_pass: usize,
    device: B::Device,
}

impl<B: Backend> OnDevice<B> {
    /// Copies a network's weights to a device.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn new(
        exact: &ExactPredictor,
        precision: Precision,
        device: B::Device,
    ) -> Result<Self, String> {
        let place = Place { numbers: number_type(precision), device: &device };
        let transformer = exact.engine().network();
        let network = guarded(|| DeviceNetwork::new(transformer, &place))?;
        let tokens_a_pass = tokens_a_pass(transformer.width);
        Ok(Self { signature: exact.signature().clone(), network, precision, tokens_a_pass, device })
    }
}

#[cfg(feature = "cuda")]
impl<B: Ops> OnDevice<B, Network<B>> {
    /// A run in bf16, as it is trained: with the device's kernels, which are faster than the engine's description in
    /// burn's operations, and without the rounding of the CPU's inference.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen, or the device fails.
    pub(crate) fn of_run(saved: &SavedWeights, device: B::Device) -> Result<Self, WeightsError> {
        let precision = Precision::Bf16;
        let mut plan = Plan { precision, ..saved.origin.plan.clone() };
        // Weights that were trained for levels are rounded to them already.
        plan.choices.weights = Weights::F16;
        let exact = saved.exact()?;
        let format =
            |source| WeightsError::Format { place: saved.origin.plan.name.clone(), source };
        let mut file = saved.file().map_err(format)?;
        let network = guarded(|| network_from::<B>(&plan, &mut file, &device));
        let network = network.map_err(WeightsError::Device)?.map_err(format)?;
        let tokens_a_pass = tokens_a_pass(plan.size.width);
        Ok(Self { signature: exact.signature().clone(), network, precision, tokens_a_pass, device })
    }
}

/// Tokens that go through a network of this width together.
fn tokens_a_pass(width: usize) -> usize {
    let (least, most) = TOKENS_A_PASS;
    (NUMBERS_A_PASS / width).clamp(least, most)
}

impl<B: Backend, N: Scores<B>> OnDevice<B, N> {
    /// −ln p of each token of chunks of one length.
    fn nats(&self, group: &[&[u32]]) -> Tensor<B, 1> {
        let length = group[0].len();
        let ids = |tokens: Vec<u32>| {
            let ids = tokens.into_iter().map(u32::cast_signed).collect();
            Tensor::<B, 1, Int>::from_data(
                TensorData::new::<i32, _>(ids, [group.len() * length]),
                &self.device,
            )
        };
        let begin = self.signature.begin_token;
        let fed = |chunk: &&[u32]| [&[begin], &chunk[..length - 1]].concat();
        let inputs = ids(group.iter().flat_map(fed).collect());
        self.network.nats(inputs, ids(group.concat()), [group.len(), length])
    }
}

impl<B: Backend, N: Scores<B>> Predictor for OnDevice<B, N> {
    fn vocabulary(&self) -> usize {
        self.signature.vocabulary
    }

    fn context(&self) -> usize {
        self.signature.context
    }

    fn begin_token(&self) -> u32 {
        self.signature.begin_token
    }

    /// Not the weights' own: what was half measured here is not gone on with on the processor, nor in another
    /// precision.
    fn identity(&self) -> [u8; 32] {
        let measured = format!("measured in {}", self.precision);
        Sha256::new().chain_update(self.signature.identity).chain_update(measured).finalize().into()
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn score(&self, chunks: &[&[u32]]) -> Result<Vec<Vec<f32>>, PredictorError> {
        self.signature.check(chunks)?;
        let groups = neighbours(chunks, self.tokens_a_pass);
        guarded(|| bits_of(chunks, groups, |group| self.nats(group))).map_err(PredictorError)
    }

    fn session(&self, _: usize, _: usize) -> Result<Box<dyn Session + '_>, PredictorError> {
        Err(PredictorError("coding runs on the processor: use `--device cpu`".to_owned()))
    }
}

/// Runs of neighbouring chunks of the same length, which go through a network together, of so many tokens or one
/// chunk; empty chunks are in none.
fn neighbours(chunks: &[&[u32]], tokens: usize) -> Vec<Range<usize>> {
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
fn bits_of<B: Backend>(
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
