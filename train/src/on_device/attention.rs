//! The engine's attention in burn's operations, in blocks of queries.

use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor};
use lmtrain_kernels::{AttentionHeads, HeadNorm, HeldAs, NormOf};

use super::network::{DeviceLayer, DeviceNetwork};
use super::rounding::{LARGEST_KEY, LARGEST_VALUE, rounded, rounded_powers};
use crate::ops::reference::{convolve, single};

/// Queries, keys and values of a layer. Those of a group of heads share keys and values.
struct Prepared<B: Backend> {
    /// [batch · key heads, group, time, dims].
    query: Tensor<B, 4>,
    /// [batch · key heads, time, dims].
    key: Tensor<B, 3>,
    value: Tensor<B, 3>,
    /// Where they are rounded as bytes, what the values are multiples of: [batch · key heads, 1, time].
    steps: Option<Tensor<B, 3>>,
}

impl<B: Backend> DeviceNetwork<B> {
    /// Normed rows [batch · time, width] of tokens [batch · time] → what the attention adds to them.
    pub(super) fn attention(
        &self,
        layer: &DeviceLayer<B>,
        x: Tensor<B, 2>,
        tokens: &Tensor<B, 1, Int>,
        [batch, time]: [usize; 2],
    ) -> Tensor<B, 2> {
        let AttentionHeads { heads, key_heads, dims, window, soft_cap, .. } = layer.heads;
        let group = heads / key_heads;
        let prepared = self.prepared(layer, x, tokens, [batch, time]);
        let block = (self.block / (batch * heads * time)).clamp(64, 512);
        let mixed = (0..time).step_by(block).map(|first| {
            let count = block.min(time - first);
            let (low, end) = (layer.heads.first_key(first), first + count);
            let seen = |x: &Tensor<B, 3>| x.clone().narrow(1, low, end - low);
            let rows = [batch * key_heads, group * count, dims];
            let query = prepared.query.clone().narrow(2, first, count).reshape(rows);
            let keys = seen(&prepared.key).swap_dims(1, 2);
            let mut scores = match &prepared.steps {
                // Whole numbers and their sums, which are exact in f32.
                Some(_) => single(query).matmul(single(keys)),
                None => single(query.matmul(keys)),
            };
            if let Some(cap) = soft_cap.map(|cap| cap * std::f32::consts::LOG2_E) {
                scores = (scores / cap).tanh() * cap;
            }
            let device = scores.device();
            let outside = |mask: Tensor<B, 2, Bool>| mask.repeat_dim(0, group).unsqueeze();
            let (shape, diagonal) = ([count, end - low], (first - low) as i64);
            let future = Tensor::tril_mask(shape, diagonal, &device);
            scores = scores.mask_fill(outside(future), f32::NEG_INFINITY);
            if let Some(window) = window.filter(|window| *window < end) {
                let gone = Tensor::triu_mask(shape, diagonal + 1 - window as i64, &device);
                scores = scores.mask_fill(outside(gone), f32::NEG_INFINITY);
            }
            // Scores are in powers of two.
            let mut top = scores.clone().max_dim(2);
            if prepared.steps.is_some() {
                // What powers leave out is a whole number, for probabilities to be rounded as in the engine.
                top = top.floor();
            }
            let mut shares = ((scores - top) * std::f32::consts::LN_2).exp();
            let total = shares.clone().sum_dim(2);
            if let Some(steps) = &prepared.steps {
                shares = rounded_powers(shares, steps.clone().narrow(2, low, end - low));
            }
            let values = seen(&prepared.value);
            let mixed = single(shares.cast(self.numbers).matmul(values)) / total;
            mixed.reshape([batch, heads, count, dims])
        });
        let mixed = Tensor::cat(mixed.collect(), 2).swap_dims(1, 2);
        layer.mixing.apply(mixed.reshape([batch * time, heads * dims]))
    }

    /// What the attention of normed rows is between.
    fn prepared(
        &self,
        layer: &DeviceLayer<B>,
        x: Tensor<B, 2>,
        tokens: &Tensor<B, 1, Int>,
        [batch, time]: [usize; 2],
    ) -> Prepared<B> {
        let AttentionHeads { heads, key_heads, dims, held, .. } = layer.heads;
        let group = heads / key_heads;
        let mut qkv = layer.qkv.apply(x); // [batch · time, heads.row()]
        if let Some(taps) = &layer.qkv_convolution {
            qkv = convolve(time, qkv, taps.clone());
        }
        if let Some(table) = &layer.values {
            let values = single(table.clone().select(0, tokens.clone()));
            let before = qkv.dims()[1] - values.dims()[1];
            let nothing = Tensor::zeros([batch * time, before], &values.device());
            qkv = qkv + Tensor::cat(vec![nothing, values], 1);
        }
        let qkv = qkv.reshape([batch, time, heads + 2 * key_heads, dims]);
        let part = |first: usize, count: usize| qkv.clone().narrow(2, first, count);
        let [query_scale, key_scale] = &layer.scales;
        let query = self.prepare(layer, query_scale, part(0, heads));
        let key = self.prepare(layer, key_scale, part(heads, key_heads));
        // [batch · key heads, group, time, dims]
        let by_head = |x: Tensor<B, 4>, group: usize| {
            x.swap_dims(1, 2).reshape([batch * key_heads, group, time, dims])
        };
        let mut query = by_head(query, group);
        let [mut key, mut value] =
            [key, part(heads + key_heads, key_heads)].map(|x| by_head(x, 1).squeeze_dim::<3>(1));
        let mut steps = None;
        if held == HeldAs::Bytes {
            [query, _] = rounded(LARGEST_KEY, query);
            [key, _] = rounded(LARGEST_KEY, key);
            let step;
            [value, step] = rounded(LARGEST_VALUE, value);
            steps = Some(step.swap_dims(1, 2));
        }
        let [key, value] = [key, value].map(|x| x.cast(self.numbers));
        Prepared { query: query.cast(self.numbers), key, value, steps }
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
