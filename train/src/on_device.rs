//! A pretrained network in burn's operations, for a device that does not promise the same bits everywhere: it measures
//! only, in f32, or with products of bf16. It is made from the engine's own description, so that it computes what the
//! engine does, and the loaders need to know of neither.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor, TensorData, activation};
use lmtrain_eval::{Predictor, PredictorError, Session};
use lmtrain_runs::Precision;
use sha2::{Digest, Sha256};

use crate::guard::guarded;
use crate::ops::reference::{number_type, single};
use crate::scorer::{bits_of, neighbours};
use lmtrain_engine::pretrained::PretrainedModel;
use lmtrain_engine::{Layer, Order, Transformer};
use lmtrain_kernels::{
    AttentionHeads, Gate, HeadNorm, HeldAs, NormOf, PackedWeights, RotaryTable, RowNorm,
};

/// Tokens of one pass through the network.
const TOKENS_A_PASS: usize = 1 << 14;
/// Numbers of a block, of scores or logits: 256 MiB in f32.
const BLOCK: usize = 1 << 26;

/// A pretrained model on a device.
pub(crate) struct OnDevice<'a, B: Backend> {
    model: &'a PretrainedModel,
    network: Network<B>,
    precision: Precision,
    device: B::Device,
}

impl<'a, B: Backend> OnDevice<'a, B> {
    /// Copies a model's weights to a device.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn new(
        model: &'a PretrainedModel,
        precision: Precision,
        device: B::Device,
    ) -> Result<Self, String> {
        let place = Place { numbers: number_type(precision), device: &device };
        let network = guarded(|| Network::new(model.engine().network(), &place))?;
        Ok(Self { model, network, precision, device })
    }

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
        let fed = |chunk: &&[u32]| [&[self.model.begin_token()], &chunk[..length - 1]].concat();
        let inputs = ids(group.iter().flat_map(fed).collect());
        let x = self.network.hidden(inputs, [group.len(), length]);
        self.network.nats(x, ids(group.concat()))
    }
}

impl<B: Backend> Predictor for OnDevice<'_, B> {
    fn vocabulary(&self) -> usize {
        self.model.vocabulary()
    }

    fn context(&self) -> usize {
        self.model.context()
    }

    fn begin_token(&self) -> u32 {
        self.model.begin_token()
    }

    /// Not the model's own: what was half measured here is not gone on with elsewhere.
    fn identity(&self) -> [u8; 32] {
        let measured = format!("measured in {}", self.precision);
        Sha256::new().chain_update(self.model.identity()).chain_update(measured).finalize().into()
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn score(&self, chunks: &[&[u32]]) -> Result<Vec<Vec<f32>>, PredictorError> {
        self.model.check(chunks)?;
        let groups = neighbours(chunks, TOKENS_A_PASS);
        guarded(|| bits_of(chunks, groups, |group| self.nats(group))).map_err(PredictorError)
    }

    fn session(&self, _: usize, _: usize) -> Result<Box<dyn Session + '_>, PredictorError> {
        Err(PredictorError("coding runs on the processor: use `--device cpu`".to_owned()))
    }
}

/// Where weights go, and what those of products become.
struct Place<'a, B: Backend> {
    numbers: DType,
    device: &'a B::Device,
}

impl<B: Backend> Place<'_, B> {
    fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<B, D> {
        Tensor::from_data(TensorData::new(values, shape), self.device)
    }

    fn row(&self, values: &[f32]) -> Tensor<B, 1> {
        self.tensor(values.to_vec(), [values.len()])
    }

    /// [inputs, outputs], with zeros up to so many outputs.
    fn linear(&self, packed: &PackedWeights, outputs: usize) -> Linear<B> {
        let inputs = packed.inputs();
        let mut columns = vec![0.0; outputs * inputs];
        for (output, column) in columns.chunks_exact_mut(inputs).enumerate().take(packed.outputs())
        {
            packed.column(output, column);
        }
        let weights = self.tensor(columns, [outputs, inputs]).swap_dims(0, 1);
        let bias = packed.bias().map(|bias| {
            let mut padded = bias.to_vec();
            padded.resize(outputs, 0.0);
            self.row(&padded)
        });
        Linear { weights: weights.cast(self.numbers), bias }
    }
}

struct Linear<B: Backend> {
    /// [inputs, outputs].
    weights: Tensor<B, 2>,
    bias: Option<Tensor<B, 1>>,
}

impl<B: Backend> Linear<B> {
    /// x [rows, inputs] → [rows, outputs], in f32.
    fn apply(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let y = single(x.cast(self.weights.dtype()).matmul(self.weights.clone()));
        match &self.bias {
            Some(bias) => y + bias.clone().unsqueeze(),
            None => y,
        }
    }
}

/// `RowNorm`, of rows whose last columns may be filled up with zeros.
struct Norm<B: Backend> {
    scale: Option<Tensor<B, 1>>,
    /// For norms that take the mean away: what is added, and 1 where a column counts.
    layer: Option<[Tensor<B, 1>; 2]>,
    columns: usize,
    epsilon: f32,
}

impl<B: Backend> Norm<B> {
    fn new(norm: &RowNorm, width: usize, place: &Place<'_, B>) -> Self {
        let filled = |values: &[f32]| {
            let mut values = values.to_vec();
            values.resize(width, 0.0);
            place.row(&values)
        };
        match norm {
            RowNorm::Rms { scale, epsilon } => Norm {
                scale: scale.as_deref().map(filled),
                layer: None,
                columns: scale.as_ref().map_or(width, Vec::len),
                epsilon: *epsilon,
            },
            RowNorm::Layer { scale, offset, epsilon } => Norm {
                scale: Some(filled(scale)),
                layer: Some([filled(offset), filled(&vec![1.0; scale.len()])]),
                columns: scale.len(),
                epsilon: *epsilon,
            },
        }
    }

    /// x [rows, width].
    fn apply(&self, mut x: Tensor<B, 2>) -> Tensor<B, 2> {
        let mean = |x: Tensor<B, 2>| x.sum_dim(1) / self.columns as f32;
        if let Some([_, counts]) = &self.layer {
            x = (x.clone() - mean(x)) * counts.clone().unsqueeze();
        }
        let deviation = (mean(x.clone() * x.clone()) + self.epsilon).sqrt();
        x = x / deviation;
        if let Some(scale) = &self.scale {
            x = x * scale.clone().unsqueeze();
        }
        match &self.layer {
            Some([offset, _]) => x + offset.clone().unsqueeze(),
            None => x,
        }
    }
}

/// One layer: `engine::Layer`.
struct DeviceLayer<B: Backend> {
    attention_norm: Option<Norm<B>>,
    attention_after: Option<Norm<B>>,
    heads: AttentionHeads,
    rotary: Option<usize>,
    /// [1, 1, heads, dims] for queries and keys.
    scales: [Tensor<B, 4>; 2],
    qkv: Linear<B>,
    mixing: Linear<B>,
    mlp_norm: Option<Norm<B>>,
    mlp_after: Option<Norm<B>>,
    gate: Option<Linear<B>>,
    up: Linear<B>,
    activation: Gate,
    down: Linear<B>,
}

/// The network: `engine::Transformer`.
struct Network<B: Backend> {
    numbers: DType,
    /// [tokens, width].
    embedding: Tensor<B, 2>,
    embedding_scale: f32,
    /// [context, width].
    positions: Option<Tensor<B, 2>>,
    embedding_norm: Option<Norm<B>>,
    /// [context, 2, dims] each: cosines, and signed sines.
    rotary: Vec<Tensor<B, 3>>,
    residual_scale: f32,
    order: Order,
    layers: Vec<DeviceLayer<B>>,
    final_norm: Option<Norm<B>>,
    head: Linear<B>,
    soft_cap: Option<f32>,
    /// Scores of a block of queries, and logits of a block of rows, roughly.
    block: usize,
}

impl<B: Backend> Network<B> {
    fn new(network: &Transformer, place: &Place<'_, B>) -> Self {
        let width = network.width;
        let norm = |norm: &Option<RowNorm>| norm.as_ref().map(|norm| Norm::new(norm, width, place));
        let linear = |packed: &PackedWeights| place.linear(packed, packed.outputs());
        // The MLP's inner numbers are filled up to whole vectors, as `down` reads them.
        let inner = |packed: &PackedWeights| place.linear(packed, packed.stride());
        let layer = |layer: &Layer| {
            let heads = &layer.heads;
            assert_eq!(heads.held, HeldAs::Singles, "nothing is rounded here");
            let scale = |values: &[f32]| {
                place.tensor(values.to_vec(), [1, 1, values.len() / heads.dims, heads.dims])
            };
            DeviceLayer {
                attention_norm: norm(&layer.attention_norm),
                attention_after: norm(&layer.attention_after),
                rotary: layer.rotary,
                scales: [scale(&heads.query_scale), scale(&heads.key_scale)],
                qkv: linear(&layer.qkv),
                mixing: linear(&layer.mixing),
                mlp_norm: norm(&layer.mlp_norm),
                mlp_after: norm(&layer.mlp_after),
                gate: layer.gate.as_ref().map(inner),
                up: inner(&layer.up),
                activation: layer.activation,
                down: linear(&layer.down),
                heads: heads.clone(),
            }
        };
        let head = linear(&network.head);
        let table = network.embedding.as_ref().map(|table| linear(table).weights);
        let rotary = |table: &RotaryTable| {
            place.tensor(table.values().to_vec(), [table.positions(), 2, table.dims()])
        };
        Network {
            numbers: place.numbers,
            embedding: table.unwrap_or_else(|| head.weights.clone()).swap_dims(0, 1),
            embedding_scale: network.embedding_scale,
            positions: network
                .positions
                .as_ref()
                .map(|values| place.tensor(values.clone(), [values.len() / width, width])),
            embedding_norm: norm(&network.embedding_norm),
            rotary: network.rotary.iter().map(rotary).collect(),
            residual_scale: network.residual_scale,
            order: network.order,
            layers: network.layers.iter().map(layer).collect(),
            final_norm: norm(&network.final_norm),
            head,
            soft_cap: network.soft_cap,
            block: BLOCK,
        }
    }

    /// Tokens [batch · time] → rows [batch · time, width] before the head.
    fn hidden(&self, tokens: Tensor<B, 1, Int>, shape: [usize; 2]) -> Tensor<B, 2> {
        let [batch, time] = shape;
        let norm = |norm: &Option<Norm<B>>, x: Tensor<B, 2>| match norm {
            Some(norm) => norm.apply(x),
            None => x,
        };
        let mut x = single(self.embedding.clone().select(0, tokens)) * self.embedding_scale;
        if let Some(positions) = &self.positions {
            x = x + positions.clone().narrow(0, 0, time).repeat_dim(0, batch);
        }
        x = norm(&self.embedding_norm, x);
        for layer in &self.layers {
            // What the stream takes up.
            let attention = |x| {
                norm(&layer.attention_after, self.attention(layer, x, shape)) * self.residual_scale
            };
            let mlp = |x| norm(&layer.mlp_after, layer.mlp(x)) * self.residual_scale;
            x = match self.order {
                Order::PreNorm => {
                    let x = x.clone() + attention(norm(&layer.attention_norm, x));
                    x.clone() + mlp(norm(&layer.mlp_norm, x))
                }
                Order::Parallel => {
                    let attended = attention(norm(&layer.attention_norm, x.clone()));
                    x.clone() + attended + mlp(norm(&layer.mlp_norm, x))
                }
                Order::PostNorm => {
                    let x = norm(&layer.attention_norm, x.clone() + attention(x));
                    norm(&layer.mlp_norm, x.clone() + mlp(x))
                }
            };
        }
        norm(&self.final_norm, x)
    }

    /// −ln p of targets [rows] after x [rows, width].
    fn nats(&self, x: Tensor<B, 2>, targets: Tensor<B, 1, Int>) -> Tensor<B, 1> {
        let [rows, _] = x.dims();
        let vocabulary = self.head.weights.dims()[1];
        let block = (self.block / vocabulary).clamp(1, rows);
        let parts = (0..rows).step_by(block).map(|first| {
            let count = block.min(rows - first);
            let mut logits = self.head.apply(x.clone().narrow(0, first, count));
            if let Some(cap) = self.soft_cap {
                logits = (logits / cap).tanh() * cap;
            }
            let top = logits.clone().max_dim(1);
            let total = (logits.clone() - top.clone()).exp().sum_dim(1).log() + top;
            let targets = targets.clone().narrow(0, first, count).unsqueeze_dim(1);
            (total - logits.gather(1, targets)).squeeze_dim(1)
        });
        Tensor::cat(parts.collect(), 0)
    }

    /// Normed rows [batch · time, width] → what the attention adds to them.
    fn attention(
        &self,
        layer: &DeviceLayer<B>,
        x: Tensor<B, 2>,
        shape: [usize; 2],
    ) -> Tensor<B, 2> {
        let [batch, time] = shape;
        let AttentionHeads { heads, key_heads, dims, window, soft_cap, .. } = layer.heads;
        let group = heads / key_heads;
        let qkv = layer.qkv.apply(x).reshape([batch, time, heads + 2 * key_heads, dims]);
        let part = |first: usize, count: usize| qkv.clone().narrow(2, first, count);
        let [query_scale, key_scale] = &layer.scales;
        let query = self.prepare(layer, query_scale, part(0, heads));
        let key = self.prepare(layer, key_scale, part(heads, key_heads));
        // [batch · key heads, group, time, dims]: those of a group share keys and values.
        let by_head = |x: Tensor<B, 4>, group: usize| {
            x.swap_dims(1, 2).reshape([batch * key_heads, group, time, dims]).cast(self.numbers)
        };
        let query = by_head(query, group);
        let [key, value] =
            [key, part(heads + key_heads, key_heads)].map(|x| by_head(x, 1).squeeze_dim::<3>(1));
        let block = (self.block / (batch * heads * time)).clamp(64, 512);
        let mixed = (0..time).step_by(block).map(|first| {
            let count = block.min(time - first);
            let (low, end) = (layer.heads.first_key(first), first + count);
            let seen = |x: &Tensor<B, 3>| x.clone().narrow(1, low, end - low);
            let rows = [batch * key_heads, group * count, dims];
            let query = query.clone().narrow(2, first, count).reshape(rows);
            let mut scores = single(query.matmul(seen(&key).swap_dims(1, 2)));
            if let Some(cap) = soft_cap.map(|cap| cap * std::f32::consts::LOG2_E) {
                scores = (scores / cap).tanh() * cap;
            }
            let device = scores.device();
            let outside =
                |mask: Tensor<B, 2, burn::tensor::Bool>| mask.repeat_dim(0, group).unsqueeze();
            let (shape, diagonal) = ([count, end - low], (first - low) as i64);
            let future = Tensor::tril_mask(shape, diagonal, &device);
            scores = scores.mask_fill(outside(future), f32::NEG_INFINITY);
            if let Some(window) = window.filter(|window| *window < end) {
                let gone = Tensor::triu_mask(shape, diagonal + 1 - window as i64, &device);
                scores = scores.mask_fill(outside(gone), f32::NEG_INFINITY);
            }
            // Scores are in powers of two.
            let top = scores.clone().max_dim(2);
            let shares = ((scores - top) * std::f32::consts::LN_2).exp();
            let total = shares.clone().sum_dim(2);
            let mixed = single(shares.cast(self.numbers).matmul(seen(&value))) / total;
            mixed.reshape([batch, heads, count, dims])
        });
        let mixed = Tensor::cat(mixed.collect(), 2).swap_dims(1, 2);
        layer.mixing.apply(mixed.reshape([batch * time, heads * dims]))
    }

    /// Queries or keys [batch, time, heads, dims], normed, scaled and rotated as `kernels::prepare_rows` does it.
    fn prepare(
        &self,
        layer: &DeviceLayer<B>,
        scale: &Tensor<B, 4>,
        mut x: Tensor<B, 4>,
    ) -> Tensor<B, 4> {
        if let Some(HeadNorm { of, dimensions, epsilon }) = layer.heads.norm {
            let mut squares = (x.clone() * x.clone()).sum_dim(3);
            match of {
                NormOf::Head => {}
                NormOf::AllHeads => squares = squares.mean_dim(2),
                NormOf::CentredHead => {
                    let mean = x.clone().sum_dim(3) / dimensions as f32;
                    x = x - mean.clone();
                    // Where a head is filled up, that leaves the negated mean, which does not count.
                    let filled = mean.clone() * mean * (layer.heads.dims - dimensions) as f32;
                    squares = (x.clone() * x.clone()).sum_dim(3) - filled;
                }
            }
            let squares = squares / dimensions as f32;
            x = x / (squares + epsilon).sqrt();
        }
        x = x * scale.clone();
        let Some(table) = layer.rotary.map(|index| &self.rotary[index]) else { return x };
        let [batch, time, count, dims] = x.dims();
        let angles = |which: usize| {
            let angles = table.clone().narrow(0, 0, time).narrow(1, which, 1);
            angles.reshape([1, time, 1, dims])
        };
        let sixteens = x.clone().reshape([batch * time * count * dims / 16, 2, 8]);
        let swapped =
            Tensor::cat(vec![sixteens.clone().narrow(1, 1, 1), sixteens.narrow(1, 0, 1)], 1);
        x * angles(0) + swapped.reshape([batch, time, count, dims]) * angles(1)
    }
}

impl<B: Backend> DeviceLayer<B> {
    /// Normed rows [rows, width] → what the MLP adds to them.
    fn mlp(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let activate = |x: Tensor<B, 2>| match self.activation {
            Gate::Relu => activation::relu(x),
            Gate::ReluSquared => activation::relu(x).powi_scalar(2),
            Gate::LeakyReluSquared => activation::leaky_relu(x, 0.5).powi_scalar(2),
            Gate::GeluTanh => activation::gelu_approximate(x),
            Gate::GeluErf => activation::gelu(x),
            Gate::Silu => activation::silu(x),
            Gate::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
        };
        let inner = match &self.gate {
            None => activate(self.up.apply(x)),
            Some(gate) => activate(gate.apply(x.clone())) * self.up.apply(x),
        };
        self.down.apply(inner)
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::NdArray;
    use lmtrain_runs::random::SplitMix64;

    use super::*;
    use lmtrain_engine::testing::{FIXTURES, copy};

    /// Chunks of two blocks of queries, of one token and of none; and how far their bits are apart, at most and in
    /// the mean.
    fn errors<B: Backend>(name: &str, precision: Precision) -> (f32, f64) {
        let folder = copy(name);
        let model = PretrainedModel::open(folder.path()).expect(name);
        let mut elsewhere = OnDevice::<B>::new(&model, precision, Default::default()).expect(name);
        elsewhere.network.block = 1;
        assert_ne!(elsewhere.identity(), Predictor::identity(&model));
        let mut generator = SplitMix64::new(7);
        let known = model.engine().known_tokens().min(model.vocabulary()) as u64;
        let longest = model.context().min(90);
        let chunks: Vec<Vec<u32>> = [longest, longest, 0, 1, 7]
            .map(|length| (0..length).map(|_| generator.below(known) as u32).collect())
            .into();
        let chunks: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
        let (found, expected) = (elsewhere.score(&chunks), model.score(&chunks));
        let (found, expected) = (found.expect(name).concat(), expected.expect(name).concat());
        assert_eq!(found.len(), expected.len(), "{name}");
        assert!(elsewhere.score(&[&[u32::MAX]]).is_err() && elsewhere.session(1, 1).is_err());
        let errors = found.iter().zip(&expected).map(|(found, expected)| found - expected);
        let sum: f64 = errors.clone().map(f64::from).sum();
        (errors.fold(0.0, |most, error| error.abs().max(most)), sum / found.len() as f64)
    }

    #[test]
    fn a_device_without_kernels_scores_what_the_processor_does() {
        for name in FIXTURES {
            let (most, mean) = errors::<NdArray>(name, Precision::F32);
            assert!(most < 1e-4 && mean.abs() < 1e-5, "{name}: {most} {mean}");
        }
    }

    #[cfg(feature = "cuda")]
    #[test]
    #[ignore = "needs a GPU"]
    fn gpu_scores_pretrained_models_as_the_processor_does() {
        for name in FIXTURES {
            for (precision, limit) in [(Precision::F32, 1e-3), (Precision::Bf16, 5e-2)] {
                let (most, mean) = errors::<crate::cuda::Cuda>(name, precision);
                println!("{name}, {precision}: {most:.1e} bits at most, {mean:.1e} in the mean");
                assert!(mean.abs() < limit, "{name}, {precision}: {most} {mean}");
            }
        }
    }
}
