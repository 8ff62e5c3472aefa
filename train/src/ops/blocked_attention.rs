//! Causal attention by burn's operations in blocks of queries, as in FlashAttention (Dao et al.,
//! arXiv 2205.14135): a block meets all keys before its end, the future is skipped, and the backward
//! pass makes the scores again from the logarithm of their sum. No [time, time] is ever stored, so
//! that memory grows with the number of tokens. Queries, keys, values and what is kept have the
//! type of `qkv`; scores and soft-max are f32.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor, TensorData};
use lmtrain_runs::recipe::ROPE_BASE;

use super::reference::{rms_norm, rms_norm_backward, single};
use super::{AttentionKept, Heads};

/// Scores of a block, roughly: 256 MiB in f32.
const SCORES: usize = 1 << 26;
/// The fewest queries of a block, and the most.
const QUERIES: (usize, usize) = (64, 512);

/// Queries, keys and values as attention uses them, each [batch, heads, time, d], in the type of
/// what they were made of; and queries and keys before norm, gain and rotation, in f32.
struct Prepared<B: Backend> {
    query: Tensor<B, 4>,
    key: Tensor<B, 4>,
    value: Tensor<B, 4>,
    raw: [Tensor<B, 4>; 2],
}

fn prepare<B: Backend>(heads: Heads, qkv: Tensor<B, 3>, gain: Option<Tensor<B, 1>>) -> Prepared<B> {
    let number_type = qkv.dtype();
    let [raw_query, raw_key, value] = split_heads(heads.count, qkv);
    let (raw_query, raw_key) = (single(raw_query), single(raw_key));
    let raw = [raw_query.clone(), raw_key.clone()];
    let (query, key) = match gain {
        None => (raw_query, raw_key),
        Some(gain) => (rms_norm(raw_query) * per_head(gain), rms_norm(raw_key)),
    };
    let [_, _, time, dimension] = query.dims();
    let turn = rotation::<B>(time, [dimension, heads.turning(dimension)], &query.device());
    let [query, key] = [query, key].map(|x| rotate(x, &turn, 1.0).cast(number_type));
    Prepared { query, key, value, raw }
}

/// [heads] → [1, heads, 1, 1].
fn per_head<B: Backend>(gain: Tensor<B, 1>) -> Tensor<B, 4> {
    let heads = gain.dims()[0];
    gain.reshape([1, heads, 1, 1])
}

fn split_heads<B: Backend>(heads: usize, qkv: Tensor<B, 3>) -> [Tensor<B, 4>; 3] {
    let [batch, time, triple] = qkv.dims();
    let dimension = triple / 3 / heads;
    let parts = qkv.reshape([batch, time, 3 * heads, dimension]).swap_dims(1, 2);
    [0, 1, 2].map(|part| parts.clone().narrow(1, part * heads, heads)) // [batch, heads, time, d]
}

/// Cosines and sines of the rotary angles, each [1, 1, time, d/2].
fn rotation<B: Backend>(
    time: usize,
    dimensions: [usize; 2],
    device: &B::Device,
) -> [Tensor<B, 4>; 2] {
    let table = angles(time, dimensions);
    let shape = [1, 1, time, dimensions[0] / 2];
    [&table.0, &table.1]
        .map(|values| Tensor::from_data(TensorData::new(values.clone(), shape), device))
}

pub(crate) type Angles = (Vec<f32>, Vec<f32>);

/// Cosines and sines [time, d/2] of d dimensions and those that turn, computed in f64 on the host: a
/// GPU's own functions are too rough for angles of thousands. Each shape is computed once.
pub(crate) fn angles(time: usize, [dimension, rotated]: [usize; 2]) -> Arc<Angles> {
    static KNOWN: Mutex<BTreeMap<[usize; 3], Arc<Angles>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || {
        let half = dimension / 2;
        let angle = |index: usize| {
            let (position, pair) = (index / half, index % half);
            let turns = if 2 * pair < rotated { 1.0 } else { 0.0 };
            turns * position as f64 * ROPE_BASE.powf(-2.0 * pair as f64 / rotated as f64)
        };
        (0..time * half).map(|index| (angle(index).cos() as f32, angle(index).sin() as f32)).unzip()
    };
    known.entry([time, dimension, rotated]).or_insert_with(|| Arc::new(make())).clone()
}

/// Turns the pairs (i, i + d/2) by their position's angle, or back for `direction` −1.
fn rotate<B: Backend>(
    x: Tensor<B, 4>,
    [cosine, sine]: &[Tensor<B, 4>; 2],
    direction: f64,
) -> Tensor<B, 4> {
    let half = x.dims()[3] / 2;
    let (first, second) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
    let sine = sine.clone() * direction;
    let turned_first = first.clone() * cosine.clone() - second.clone() * sine.clone();
    let turned_second = second * cosine.clone() + first * sine;
    Tensor::cat(vec![turned_first, turned_second], 3)
}

/// a · b in f32, whatever they are: the tensor cores' sums, not rounded to bf16.
fn precise<B: Backend>(a: Tensor<B, 4>, b: Tensor<B, 4>) -> Tensor<B, 4> {
    single(a).matmul(single(b))
}

/// Scores, times `factor`, of the queries from `first` on with all keys until the last of these queries,
/// those of the future at −∞: [batch, heads, count, first + count].
fn scores<B: Backend>(
    first: usize,
    factor: f64,
    query: Tensor<B, 4>,
    key: Tensor<B, 4>,
) -> Tensor<B, 4> {
    let [_, _, count, _] = query.dims();
    let future =
        Tensor::<B, 2, Bool>::tril_mask([count, first + count], first as i64, &query.device());
    let scores = precise(query, key.swap_dims(2, 3)) * factor;
    scores.mask_fill(future.unsqueeze(), f32::NEG_INFINITY)
}

/// Blocks of queries: their first, and their count.
fn blocks(time: usize, block: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..time).step_by(block).map(move |first| (first, block.min(time - first)))
}

/// Queries of a block, so that the scores of a block have a bounded number.
pub(crate) fn block_length(heads: usize, [batch, time, _]: [usize; 3]) -> usize {
    let (least, most) = QUERIES;
    (SCORES / (batch * heads * time)).clamp(least, most)
}

/// Output and logarithms of the soft-max's sums; `block` queries at a time, or as many as suit.
pub(crate) fn attention<B: Backend>(
    block: Option<usize>,
    heads: Heads,
    qkv: Tensor<B, 3>,
    gain: Option<Tensor<B, 1>>,
) -> (Tensor<B, 3>, Tensor<B, 3>) {
    let (number_type, [_, time, _]) = (qkv.dtype(), qkv.dims());
    let block = block.unwrap_or_else(|| block_length(heads.count, qkv.dims()));
    let Prepared { query, key, value, .. } = prepare(heads, qkv, gain);
    let factor = 1.0 / (query.dims()[3] as f64).sqrt();
    let (mut outputs, mut log_sums) = (Vec::new(), Vec::new());
    for (first, count) in blocks(time, block) {
        let seen = |x: &Tensor<B, 4>| x.clone().narrow(2, 0, first + count);
        let scores = scores(first, factor, query.clone().narrow(2, first, count), seen(&key));
        let top = scores.clone().max_dim(3);
        let exponentials = (scores - top.clone()).exp(); // [batch, heads, count, first + count]
        let sums = exponentials.clone().sum_dim(3);
        let mixed = single(exponentials.cast(number_type).matmul(seen(&value)));
        outputs.push((mixed / sums.clone()).cast(number_type));
        log_sums.push(sums.log() + top);
    }
    (join_heads(Tensor::cat(outputs, 2)), Tensor::cat(log_sums, 2).squeeze_dim(3))
}

/// [batch, heads, time, d] → [batch, time, heads · d].
fn join_heads<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 3> {
    let [batch, heads, time, dimension] = x.dims();
    x.swap_dims(1, 2).reshape([batch, time, heads * dimension])
}

/// The gradient through the soft-max as in FlashAttention (Dao et al., arXiv 2205.14135, B.4):
/// dS = P ∘ (dP − rowsum(dO ∘ O)), with P made again block by block.
pub(crate) fn attention_backward<B: Backend>(
    block: Option<usize>,
    heads: Heads,
    kept: AttentionKept<B>,
    gain: Option<Tensor<B, 1>>,
    gradient: Tensor<B, 3>,
) -> (Tensor<B, 3>, Option<Tensor<B, 1>>) {
    let AttentionKept { qkv, mixed, log_sum } = kept;
    let block = block.unwrap_or_else(|| block_length(heads.count, qkv.dims()));
    let number_type = qkv.dtype();
    let prepared = prepare(heads, qkv, gain.clone());
    let [batch, _, time, dimension] = prepared.query.dims();
    let factor = 1.0 / (dimension as f64).sqrt();
    let by_head =
        |x: Tensor<B, 3>| x.reshape([batch, time, heads.count, dimension]).swap_dims(1, 2);
    let (mixed, gradient) = (by_head(mixed), by_head(gradient).cast(number_type));
    let along = (single(mixed) * single(gradient.clone())).sum_dim(3); // [batch, heads, time, 1]
    let log_sum = log_sum.unsqueeze_dim(3);

    let zeros = || Tensor::<B, 4>::zeros(prepared.key.shape(), &along.device());
    let (mut query_gradients, mut key_gradient, mut value_gradient) =
        (Vec::new(), zeros(), zeros());
    for (first, count) in blocks(time, block) {
        let seen = |x: &Tensor<B, 4>| x.clone().narrow(2, 0, first + count);
        let here = |x: &Tensor<B, 4>| x.clone().narrow(2, first, count);
        let (query, key, upstream) = (here(&prepared.query), seen(&prepared.key), here(&gradient));
        let shares = (scores(first, factor, query.clone(), key.clone()) - here(&log_sum)).exp();
        let share_gradient = precise(upstream.clone(), seen(&prepared.value).swap_dims(2, 3));
        let score_gradient = shares.clone() * (share_gradient - here(&along));
        let score_gradient = (score_gradient * factor).cast(number_type);
        let shares = shares.cast(number_type);
        value_gradient = add_first(value_gradient, shares.swap_dims(2, 3).matmul(upstream));
        query_gradients.push(single(score_gradient.clone().matmul(key)));
        key_gradient = add_first(key_gradient, score_gradient.swap_dims(2, 3).matmul(query));
    }
    let query_gradient = Tensor::cat(query_gradients, 2);
    let (parts, gain) =
        unprepare(heads, prepared.raw, gain, [query_gradient, key_gradient, value_gradient]);
    (Tensor::cat(parts.map(join_heads).to_vec(), 2).cast(number_type), gain)
}

/// Adds to the first of the keys.
fn add_first<B: Backend>(sum: Tensor<B, 4>, more: Tensor<B, 4>) -> Tensor<B, 4> {
    let [batch, heads, count, dimension] = more.dims();
    let place = [0..batch, 0..heads, 0..count, 0..dimension];
    let first = sum.clone().narrow(2, 0, count) + single(more);
    sum.slice_assign(place, first)
}

/// The backward pass of [`prepare`]: gradients of queries, keys and values, in f32, and the gain's.
fn unprepare<B: Backend>(
    heads: Heads,
    [raw_query, raw_key]: [Tensor<B, 4>; 2],
    gain: Option<Tensor<B, 1>>,
    [query, key, value]: [Tensor<B, 4>; 3],
) -> ([Tensor<B, 4>; 3], Option<Tensor<B, 1>>) {
    let [_, count, time, dimension] = query.dims();
    let turn = rotation::<B>(time, [dimension, heads.turning(dimension)], &query.device());
    let [query, key] = [query, key].map(|x| rotate(x, &turn, -1.0));
    let Some(gain) = gain else { return ([query, key, value], None) };
    let each = rms_norm(raw_query.clone()) * query.clone();
    let gain_gradient = each.swap_dims(0, 1).reshape([count as i32, -1]).sum_dim(1).squeeze_dim(1);
    let query = rms_norm_backward(raw_query, query * per_head(gain));
    ([query, rms_norm_backward(raw_key, key), value], Some(gain_gradient))
}
