//! The engine's network in burn's operations. It is made from the engine's own description, so it computes what the
//! engine computes, for runs and for every pretrained architecture.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor, activation};
use lmtrain_engine::{Layer, Order, Transformer};
use lmtrain_kernels::{AttentionHeads, Gate, PackedWeights, RotaryTable, RowNorm};

use super::layers::{Linear, Norm, Place};
use crate::ops::reference::{convolve, single};

/// Numbers of a block, of scores or logits: 256 MiB in f32.
const BLOCK: usize = 1 << 26;

/// One layer: `engine::Layer`.
pub(super) struct DeviceLayer<B: Backend> {
    entry: DeviceEntry<B>,
    attention_norm: Option<Norm<B>>,
    attention_after: Option<Norm<B>>,
    pub(super) heads: AttentionHeads,
    pub(super) rotary: Option<usize>,
    /// [1, 1, heads, dims] for queries and keys.
    pub(super) scales: [Tensor<B, 4>; 2],
    pub(super) qkv: Linear<B>,
    /// Of queries, keys and values, along time: [4 · heads.row()].
    pub(super) qkv_convolution: Option<Tensor<B, 1>>,
    /// [known tokens, values of a token].
    pub(super) values: Option<Tensor<B, 2>>,
    pub(super) mixing: Linear<B>,
    mlp_norm: Option<Norm<B>>,
    mlp_after: Option<Norm<B>>,
    gate: Option<Linear<B>>,
    up: Linear<B>,
    activation: Gate,
    down: Linear<B>,
}

/// What a layer does with the stream before it reads it: `engine::Entry`.
struct DeviceEntry<B: Backend> {
    residual: Option<[f32; 2]>,
    skip: Option<(usize, [f32; 2])>,
    /// [4 · width].
    convolution: Option<Tensor<B, 1>>,
}

/// The network: `engine::Transformer`.
pub(crate) struct DeviceNetwork<B: Backend> {
    pub(super) numbers: DType,
    /// [tokens, width].
    embedding: Tensor<B, 2>,
    embedding_scale: f32,
    /// [context, width].
    positions: Option<Tensor<B, 2>>,
    embedding_norm: Option<Norm<B>>,
    /// [4 · width].
    embedding_convolution: Option<Tensor<B, 1>>,
    /// [context, 2, dims] each: cosines, and signed sines.
    pub(super) rotary: Vec<Tensor<B, 3>>,
    residual_scale: f32,
    order: Order,
    layers: Vec<DeviceLayer<B>>,
    final_norm: Option<Norm<B>>,
    head: Linear<B>,
    soft_cap: Option<f32>,
    /// Scores of a block of queries, and logits of a block of rows, roughly.
    pub(super) block: usize,
}

impl<B: Backend> DeviceNetwork<B> {
    pub(super) fn new(network: &Transformer, place: &Place<'_, B>) -> Self {
        let width = network.width;
        let norm = |norm: &Option<RowNorm>| norm.as_ref().map(|norm| Norm::new(norm, width, place));
        let linear = |packed: &PackedWeights| place.linear(packed, packed.outputs());
        // The MLP's inner numbers are filled up to whole vectors, as `down` reads them.
        let inner = |packed: &PackedWeights| place.linear(packed, packed.stride());
        let taps = |taps: &Option<Vec<f32>>| taps.as_ref().map(|taps| place.row(taps));
        let layer = |layer: &Layer| {
            let heads = &layer.heads;
            let scale = |values: &[f32]| {
                place.tensor(values.to_vec(), [1, 1, values.len() / heads.dims, heads.dims])
            };
            let entry = DeviceEntry {
                residual: layer.entry.residual,
                skip: layer.entry.skip,
                convolution: taps(&layer.entry.convolution),
            };
            DeviceLayer {
                entry,
                attention_norm: norm(&layer.attention_norm),
                attention_after: norm(&layer.attention_after),
                rotary: layer.rotary,
                scales: [scale(&heads.query_scale), scale(&heads.key_scale)],
                qkv: linear(&layer.qkv),
                qkv_convolution: taps(&layer.between.convolution),
                values: layer.between.values.as_ref().map(|values| place.table(values)),
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
        let table = network.embedding.as_ref().map(|table| place.table(table));
        let rotary = |table: &RotaryTable| {
            place.tensor(table.values().to_vec(), [table.positions(), 2, table.dims()])
        };
        DeviceNetwork {
            numbers: place.numbers,
            embedding: table.unwrap_or_else(|| head.weights.clone().swap_dims(0, 1)),
            embedding_scale: network.embedding_scale,
            positions: network
                .positions
                .as_ref()
                .map(|values| place.tensor(values.clone(), [values.len() / width, width])),
            embedding_norm: norm(&network.embedding_norm),
            embedding_convolution: taps(&network.embedding_convolution),
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
    pub(super) fn hidden(&self, tokens: Tensor<B, 1, Int>, shape: [usize; 2]) -> Tensor<B, 2> {
        let [batch, time] = shape;
        let norm = |norm: &Option<Norm<B>>, x: Tensor<B, 2>| match norm {
            Some(norm) => norm.apply(x),
            None => x,
        };
        let mut x = single(self.embedding.clone().select(0, tokens.clone())) * self.embedding_scale;
        if let Some(positions) = &self.positions {
            x = x + positions.clone().narrow(0, 0, time).repeat_dim(0, batch);
        }
        x = convolved(&self.embedding_convolution, time, norm(&self.embedding_norm, x));
        let first = x.clone();
        let mut outputs: Vec<Option<Tensor<B, 2>>> = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.entry.apply(x, &first, &outputs, time);
            // What the stream takes up.
            let attention = |x| {
                norm(&layer.attention_after, self.attention(layer, x, &tokens, shape))
                    * self.residual_scale
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
            outputs.push(self.is_skipped_from(index).then(|| x.clone()));
        }
        norm(&self.final_norm, x)
    }

    /// Whether a later layer reads what comes out of this one.
    fn is_skipped_from(&self, index: usize) -> bool {
        self.layers.iter().any(|later| later.entry.skip.is_some_and(|(from, _)| from == index))
    }

    /// −ln p of targets [rows] after x [rows, width].
    pub(super) fn nats_of_rows(&self, x: Tensor<B, 2>, targets: Tensor<B, 1, Int>) -> Tensor<B, 1> {
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
}

impl<B: Backend> DeviceEntry<B> {
    /// What the layer reads of the stream x [rows, width], after the embeddings and what came out of earlier layers.
    fn apply(
        &self,
        mut x: Tensor<B, 2>,
        first: &Tensor<B, 2>,
        outputs: &[Option<Tensor<B, 2>>],
        time: usize,
    ) -> Tensor<B, 2> {
        if let Some([of_x, of_first]) = self.residual {
            x = x * of_x + first.clone() * of_first;
        }
        if let Some((from, [of_x, of_output])) = self.skip
            && let Some(Some(output)) = outputs.get(from)
        {
            x = x * of_x + output.clone() * of_output;
        }
        convolved(&self.convolution, time, x)
    }
}

/// Rows of sequences of so many tokens, convolved if there are taps.
fn convolved<B: Backend>(
    taps: &Option<Tensor<B, 1>>,
    time: usize,
    x: Tensor<B, 2>,
) -> Tensor<B, 2> {
    match taps {
        Some(taps) => convolve(time, x, taps.clone()),
        None => x,
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
