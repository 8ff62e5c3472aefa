//! The cached step: new tokens of many independent sequences against the keys and values they hold.
//!
//! Scores go sixteen keys side by side and outputs sixteen dimensions, unlike in the whole-chunk pass, but each
//! number goes through the same operations in the same order: the bits are the same (`attention` says which).

use super::super::aligned::{Aligned, with_scratch};
use super::super::lanes::{Kernel, LANES, Lanes, dispatch, largest};
use super::super::level;
use super::super::math::{Exp2Below, exp2, nearest_even};
use super::super::parallel::{self, Shared};
use super::forward_tile::numbered;
use super::prepare;
use super::rotary::{self, Rotary};
use super::{KEY_BLOCK, query_scale, with_head_dim};

/// Vectors of the output that run side by side: their chains hide each other's latency.
const SIDE_BY_SIDE: usize = 8;

/// Keys and values of many independent sequences (lanes), in one layer.
#[derive(Clone)]
pub struct AttentionCache {
    heads: usize,
    head_dim: usize,
    /// Tokens a lane can hold: a multiple of 64.
    capacity: usize,
    /// Tokens each lane holds.
    lengths: Vec<usize>,
    /// [lane, head, block of 16 keys, head_dim, 16]: normed and rotated.
    keys: Aligned,
    /// [lane, key, head, head_dim].
    values: Aligned,
}

impl AttentionCache {
    /// An empty cache for `capacity` tokens in each of `lanes`.
    pub fn new(lanes: usize, heads: usize, head_dim: usize, capacity: usize) -> Self {
        let capacity = capacity.next_multiple_of(KEY_BLOCK);
        let size = lanes * capacity * heads * head_dim;
        AttentionCache {
            heads,
            head_dim,
            capacity,
            lengths: vec![0; lanes],
            keys: Aligned::zeros(size),
            values: Aligned::zeros(size),
        }
    }

    /// Tokens that a lane holds: the position of its next one.
    pub fn len(&self, lane: usize) -> usize {
        self.lengths[lane]
    }

    /// Whether a lane holds nothing.
    pub fn is_empty(&self, lane: usize) -> bool {
        self.lengths[lane] == 0
    }

    /// Forgets a lane's tokens.
    pub fn clear(&mut self, lane: usize) {
        self.lengths[lane] = 0;
    }
}

/// Appends `new` tokens to some lanes of the cache and attends: out [lanes, new, width] for qkv [lanes, new, 3·width].
///
/// Row i is for the cache's lane `lanes[i]`; the lanes must ascend, so that each is named once.
pub fn attention_step(
    cache: &mut AttentionCache,
    lanes: &[usize],
    new: usize,
    qkv: &[f32],
    gain: Option<&[f32]>,
    out: &mut [f32],
) {
    let (heads, head_dim) = (cache.heads, cache.head_dim);
    let width = heads * head_dim;
    assert!(lanes.windows(2).all(|pair| pair[0] < pair[1]), "lanes must ascend: {lanes:?}");
    assert_eq!(qkv.len(), lanes.len() * new * 3 * width, "qkv [{}, {new}, 3·{width}]", lanes.len());
    assert_eq!(out.len(), lanes.len() * new * width, "out [{}, {new}, {width}]", lanes.len());
    assert!(gain.is_none_or(|gain| gain.len() == heads), "gain [{heads}]");
    let longest = lanes.iter().map(|lane| cache.lengths[*lane] + new).max().unwrap_or(0);
    assert!(longest <= cache.capacity, "{longest} tokens in a cache for {}", cache.capacity);
    let held: usize = lanes.iter().map(|lane| cache.lengths[*lane] + new).sum();
    let level = level::current();
    let rotary = rotary::table(head_dim, longest);
    let size = cache.capacity * width;
    let (keys, values) =
        (Shared::new(cache.keys.as_mut_slice()), Shared::new(cache.values.as_mut_slice()));
    let (lengths, out) = (&cache.lengths, Shared::new(out));
    parallel::for_each(lanes.len(), held * new * width * 2, |index| {
        let lane = lanes[index];
        // SAFETY: the lanes differ, so each task has its own part of the cache and of out.
        let [keys, values, out] = unsafe {
            [
                keys.part(lane * size, size),
                values.part(lane * size, size),
                out.part(index * new * width, new * width),
            ]
        };
        let qkv = &qkv[index * new * 3 * width..][..new * 3 * width];
        let (length, rotary) = (lengths[lane], &*rotary);
        let sequence = Sequence { heads, length, rotary, qkv, gain, keys, values, out };
        with_scratch([width, heads * KEY_BLOCK, heads * 4], |scratch| {
            with_head_dim!(head_dim, D => dispatch(level, Step::<'_, D>(sequence, scratch)));
        });
    });
    for lane in lanes {
        cache.lengths[*lane] += new;
    }
}

/// One lane's new tokens and its part of the cache.
struct Sequence<'a> {
    heads: usize,
    /// Tokens held before the new ones.
    length: usize,
    rotary: &'a Rotary,
    qkv: &'a [f32],
    gain: Option<&'a [f32]>,
    keys: &'a mut [f32],
    values: &'a mut [f32],
    out: &'a mut [f32],
}

/// The same, for a head dimension, with scratch: a query, the powers of a block, and the state of each head.
struct Step<'a, const D: usize>(Sequence<'a>, [&'a mut [f32]; 3]);

impl<const D: usize> Kernel for Step<'_, D> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Step(mut sequence, [query, powers, state]) = self;
        let heads = sequence.heads;
        let width = heads * D;
        let state = &mut state[..heads * 4];
        for token in 0..sequence.out.len() / width {
            let position = sequence.length + token;
            sequence.append::<L, D>(lanes, token, position, query);
            let out = &mut sequence.out[token * width..][..width];
            let (keys, values) = (&*sequence.keys, &*sequence.values);
            attend::<L, D>(lanes, heads, position, query, keys, values, powers, state, out);
        }
    }
}

impl Sequence<'_> {
    /// Norms and rotates a token's queries, into `query` [heads, D], and keys, into the cache, as its values.
    #[inline(always)]
    fn append<L: Lanes, const D: usize>(
        &mut self,
        lanes: L,
        token: usize,
        position: usize,
        query: &mut [f32],
    ) {
        let sequence = self;
        let (heads, width) = (sequence.heads, sequence.heads * D);
        let capacity = sequence.keys.len() / width;
        let row = &sequence.qkv[token * 3 * width..][..3 * width];
        let angles = |i: usize| lanes.splat(sequence.rotary.value(position, i));
        // The heads of the queries, then those of the keys: sixteen at a time.
        for first in (0..2 * heads).step_by(LANES) {
            let rows = LANES.min(2 * heads - first);
            let scales: [f32; LANES] = std::array::from_fn(|i| {
                let head = first + i;
                let gain = sequence.gain.map_or(1.0, |gain| gain.get(head).copied().unwrap_or(1.0));
                if head < heads { gain * query_scale(D) } else { 1.0 }
            });
            // SAFETY: q and k lie side by side in `row`, so head `first + i` starts i·D further.
            let x =
                unsafe { prepare::load_rows::<L, D>(lanes, row[first * D..].as_ptr(), D, rows) };
            let norm = sequence.gain.is_some();
            let y = prepare::forward(lanes, &x, norm, lanes.vector(&scales), angles);
            for (d, column) in y.iter().enumerate() {
                let column = lanes.array(*column);
                for (i, value) in column.iter().enumerate().take(rows) {
                    let head = first + i;
                    if head < heads {
                        query[head * D + d] = *value;
                    } else {
                        let block = (head - heads) * capacity + position / LANES * LANES;
                        sequence.keys[block * D + d * LANES + position % LANES] = *value;
                    }
                }
            }
        }
        sequence.values[position * width..][..width].copy_from_slice(&row[2 * width..]);
    }
}

/// One token of one lane: all heads go through a block of keys before the next.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // The parts of the cache and of the scratch.
fn attend<L: Lanes, const D: usize>(
    lanes: L,
    heads: usize,
    position: usize,
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    powers: &mut [f32],
    state: &mut [f32],
    out: &mut [f32],
) {
    let capacity = keys.len() / (heads * D);
    let (largest, rest) = state.split_at_mut(heads);
    let (tops, rest) = rest.split_at_mut(heads);
    let (totals, factors) = rest.split_at_mut(heads);
    largest.fill(f32::NEG_INFINITY);
    tops.fill(f32::NEG_INFINITY);
    totals.fill(0.0);
    out.fill(0.0);
    for key in (0..=position).step_by(KEY_BLOCK) {
        let count = KEY_BLOCK.min(position + 1 - key);
        for head in 0..heads {
            let query = &query[head * D..][..D];
            let keys = &keys[(head * capacity + key) * D..][..KEY_BLOCK * D];
            let powers = &mut powers[head * KEY_BLOCK..][..KEY_BLOCK];
            let state = [largest[head], tops[head], totals[head]];
            let (state, factor) = block_powers::<L, D>(lanes, query, keys, count, state, powers);
            [largest[head], tops[head], totals[head]] = state;
            factors[head] = factor;
        }
        add_values::<L, D>(lanes, &values[key * heads * D..], count, powers, factors, out);
    }
    for (head, out) in out.chunks_exact_mut(D).enumerate() {
        let inverse = lanes.splat(1.0 / totals[head]);
        for part in out.chunks_exact_mut(LANES) {
            let sum = lanes.load_slice(part, 0.0);
            lanes.store_slice(part, lanes.fma(sum, inverse, lanes.zero()));
        }
    }
}

/// The powers of one head's query with up to 64 keys; the new state, and the factor for what was before.
///
/// The state is the largest score, the even whole number near it that powers leave out, and the powers' total.
#[inline(always)]
fn block_powers<L: Lanes, const D: usize>(
    lanes: L,
    query: &[f32],
    keys: &[f32],
    count: usize,
    [highest, top, total]: [f32; 3],
    powers: &mut [f32],
) -> ([f32; 3], f32) {
    let mut scores = [lanes.zero(); KEY_BLOCK / LANES];
    assert!(query.len() == D && keys.len() == KEY_BLOCK * D);
    for (d, query) in query.iter().enumerate() {
        let query = lanes.splat(*query);
        for (part, score) in scores.iter_mut().enumerate() {
            // SAFETY: the keys are four blocks of [D, 16], as asserted.
            let keys = unsafe { lanes.load(keys.as_ptr().add((part * D + d) * LANES)) };
            *score = lanes.fma(query, keys, *score);
        }
    }
    let mut highest = lanes.splat(highest);
    for (part, score) in scores.iter_mut().enumerate() {
        if (part + 1) * LANES > count {
            // Keys from `count` on are not there: −∞ where lane ≥ count − 16·part.
            let last = lanes.splat(count as f32 - (part * LANES) as f32);
            let none = lanes.splat(f32::NEG_INFINITY);
            *score = lanes.select_greater(last, numbered(lanes), *score, none);
        }
        highest = lanes.max(*score, highest);
    }
    let highest = largest(lanes, highest);
    let raised = nearest_even(lanes, lanes.splat(highest));
    let factor = lanes.array(exp2(lanes, lanes.sub(lanes.splat(top), raised)))[0];
    let exp2 = Exp2Below::new(lanes, raised);
    let mut total = total * factor;
    for (score, powers) in scores.iter().zip(powers.chunks_exact_mut(LANES)) {
        let power = exp2.apply(lanes, *score);
        lanes.store_slice(powers, power);
        total += lanes.sum(power);
    }
    ([highest, lanes.array(raised)[0], total], factor)
}

/// out = out·factor + Σ power·value over `count` keys, for all heads; values [keys, width].
#[inline(always)]
fn add_values<L: Lanes, const D: usize>(
    lanes: L,
    values: &[f32],
    count: usize,
    powers: &[f32],
    factors: &[f32],
    out: &mut [f32],
) {
    let width = out.len();
    assert!(count <= KEY_BLOCK && values.len() >= count * width);
    assert!(powers.len() >= width / D * KEY_BLOCK && factors.len() >= width / D);
    let vectors = width / LANES;
    let mut first = 0;
    // SAFETY (of each call): `first` and the vectors behind it are inside the width; the rest is asserted.
    unsafe {
        if L::WIDE {
            while first + SIDE_BY_SIDE <= vectors {
                value_vectors::<L, D, SIDE_BY_SIDE>(
                    lanes, values, count, powers, factors, out, first,
                );
                first += SIDE_BY_SIDE;
            }
        }
        while first + 4 <= vectors {
            value_vectors::<L, D, 4>(lanes, values, count, powers, factors, out, first);
            first += 4;
        }
        while first < vectors {
            value_vectors::<L, D, 1>(lanes, values, count, powers, factors, out, first);
            first += 1;
        }
    }
}

/// `add_values` for some vectors of the output, from vector `first` on.
///
/// # Safety
/// `first + VECTORS` vectors must lie inside `out`, and `add_values`' assertions hold.
#[inline(always)]
unsafe fn value_vectors<L: Lanes, const D: usize, const VECTORS: usize>(
    lanes: L,
    values: &[f32],
    count: usize,
    powers: &[f32],
    factors: &[f32],
    out: &mut [f32],
    first: usize,
) {
    let width = out.len();
    let head = |v: usize| (first + v) * LANES / D;
    let mut sums = [lanes.zero(); VECTORS];
    let mut rows = [powers.as_ptr(); VECTORS];
    // SAFETY: granted by the caller.
    unsafe {
        for v in 0..VECTORS {
            let old = lanes.load(out.as_ptr().add((first + v) * LANES));
            sums[v] = lanes.mul(old, lanes.splat(*factors.get_unchecked(head(v))));
            rows[v] = powers.as_ptr().add(head(v) * KEY_BLOCK);
        }
        let mut value = values.as_ptr().add(first * LANES);
        for key in 0..count {
            for v in 0..VECTORS {
                let factor = lanes.splat(*rows[v].add(key));
                sums[v] = lanes.fma(factor, lanes.load(value.add(v * LANES)), sums[v]);
            }
            value = value.wrapping_add(width);
        }
        for v in 0..VECTORS {
            lanes.store(out.as_mut_ptr().add((first + v) * LANES), sums[v]);
        }
    }
}
