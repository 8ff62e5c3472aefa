//! The cached step of inference: new tokens of sequences side by side, against the keys and values they hold.
//!
//! Scores go sixteen keys side by side and outputs sixteen dimensions, unlike in the whole-chunk pass, but each
//! number goes through the same operations in the same order: the bits are the same (`attention` says which).

use super::super::aligned::{Aligned, with_scratch};
use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level::Level;
use super::super::math::{Exp2Below, exp2};
use super::KEY_BLOCK;
use super::forward_tile::{HIGHEST, LOWEST, numbered};
use super::heads::AttentionHeads;

/// Vectors of the output that run side by side: their chains hide each other's latency.
const SIDE_BY_SIDE: usize = 8;
/// Score vectors of a block of keys.
const PARTS: usize = KEY_BLOCK / LANES;

/// Keys and values of sequences side by side, in one layer, in half precision.
#[derive(Clone)]
pub struct KeyValueCache {
    /// Tokens a sequence can hold: a multiple of 64.
    capacity: usize,
    /// Halves of a sequence's keys; its values are as many.
    size: usize,
    /// [sequence, block of 64 keys, key head, dims, 64]: a step goes through them in this order.
    keys: Aligned,
    /// [sequence, key, key head, dims].
    values: Aligned,
}

impl KeyValueCache {
    /// For so many sequences of up to `tokens`.
    pub fn new(heads: &AttentionHeads, sequences: usize, tokens: usize) -> Self {
        let capacity = tokens.next_multiple_of(KEY_BLOCK);
        let size = capacity * heads.key_heads * heads.dims;
        let zeros = || Aligned::zeros(sequences * size / 2);
        KeyValueCache { capacity, size, keys: zeros(), values: zeros() }
    }
}

/// Appends `new` tokens of every sequence at `position` and attends, on this thread: prepared rows
/// [sequences, new, heads.row()] to mixed [sequences, new, heads, dims].
pub fn attention_cached(
    level: Level,
    heads: &AttentionHeads,
    cache: &mut KeyValueCache,
    [position, new]: [usize; 2],
    rows: &[f32],
    mixed: &mut [f32],
) {
    heads.check();
    let sequences = rows.len() / (new * heads.row()).max(1);
    assert_eq!(rows.len(), sequences * new * heads.row(), "rows [.., {new}, {}]", heads.row());
    assert_eq!(mixed.len(), sequences * new * heads.width(), "mixed");
    assert_eq!(cache.size, cache.capacity * heads.key_heads * heads.dims, "the cache's shape");
    assert!(position + new <= cache.capacity, "{position} + {new} of {}", cache.capacity);
    assert!(2 * cache.keys.as_slice().len() >= sequences * cache.size, "sequences");
    with_scratch([heads.heads * KEY_BLOCK, heads.heads * 4], |[powers, state]| {
        let state = &mut state[..heads.heads * 4];
        dispatch(level, Step { heads, cache, position, new, rows, mixed, powers, state });
    });
}

struct Step<'a> {
    heads: &'a AttentionHeads,
    cache: &'a mut KeyValueCache,
    position: usize,
    new: usize,
    rows: &'a [f32],
    mixed: &'a mut [f32],
    /// [heads, 64].
    powers: &'a mut [f32],
    /// [4, heads].
    state: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Step { heads, cache, position, new, rows, mixed, powers, state } = self;
        let size = cache.size;
        let rows = rows.chunks_exact(heads.row()).zip(mixed.chunks_exact_mut(heads.width()));
        for (index, (row, mixed)) in rows.enumerate() {
            let (sequence, position) = (index / new, position + index % new);
            let keys = &mut cache.keys.as_mut_halves()[sequence * size..][..size];
            let values = &mut cache.values.as_mut_halves()[sequence * size..][..size];
            append(lanes, heads, position, row, keys, values);
            let held = Held { heads, position, keys, values };
            held.attend(lanes, &row[..heads.width()], powers, state, mixed);
        }
    }
}

/// Puts a token's keys and values, which are halves already, into the cache.
#[inline(always)]
fn append<L: Lanes>(
    lanes: L,
    heads: &AttentionHeads,
    position: usize,
    row: &[f32],
    keys: &mut [u16],
    values: &mut [u16],
) {
    let (dims, width) = (heads.dims, heads.key_heads * heads.dims);
    let (key_row, value_row) = row[heads.width()..].split_at(width);
    let values = &mut values[position * width..][..width];
    for (i, (key, value)) in
        key_row.chunks_exact(LANES).zip(value_row.chunks_exact(LANES)).enumerate()
    {
        let mut halves = [0; LANES];
        let (head, first) = (i * LANES / dims, i * LANES % dims);
        let block = position / KEY_BLOCK * heads.key_heads + head;
        // SAFETY: the array and the sixteen values have places for sixteen halves.
        unsafe {
            lanes.store_half(halves.as_mut_ptr(), lanes.load_slice(key, 0.0));
            let to = &mut values[i * LANES..][..LANES];
            lanes.store_half(to.as_mut_ptr(), lanes.load_slice(value, 0.0));
        }
        for (d, half) in halves.into_iter().enumerate() {
            keys[(block * dims + first + d) * KEY_BLOCK + position % KEY_BLOCK] = half;
        }
    }
}

/// What one sequence holds, its newest token included.
struct Held<'a> {
    heads: &'a AttentionHeads,
    position: usize,
    keys: &'a [u16],
    values: &'a [u16],
}

impl Held<'_> {
    /// One token: all heads go through a block of keys before the next.
    #[inline(always)]
    fn attend<L: Lanes>(
        &self,
        lanes: L,
        queries: &[f32],
        powers: &mut [f32],
        state: &mut [f32],
        out: &mut [f32],
    ) {
        let (heads, dims) = (self.heads.heads, self.heads.dims);
        let (largest, rest) = state.split_at_mut(heads);
        let (tops, rest) = rest.split_at_mut(heads);
        let (totals, factors) = rest.split_at_mut(heads);
        largest.fill(LOWEST);
        tops.fill(LOWEST);
        totals.fill(0.0);
        out.fill(0.0);
        let first_key = self.heads.first_key(self.position);
        for key in (first_key / KEY_BLOCK * KEY_BLOCK..=self.position).step_by(KEY_BLOCK) {
            let seen = first_key.saturating_sub(key)..KEY_BLOCK.min(self.position + 1 - key);
            let mut state = State { largest, tops, totals, factors, powers };
            let mut head = 0;
            if L::WIDE {
                while head + 2 <= heads {
                    self.powers_of::<L, 2>(lanes, key, head, &seen, queries, &mut state);
                    head += 2;
                }
            }
            while head < heads {
                self.powers_of::<L, 1>(lanes, key, head, &seen, queries, &mut state);
                head += 1;
            }
            self.add_values(lanes, key, seen.end, powers, factors, out);
        }
        for (head, out) in out.chunks_exact_mut(dims).enumerate() {
            let inverse = lanes.splat(1.0 / totals[head]);
            for part in out.chunks_exact_mut(LANES) {
                let sum = lanes.load_slice(part, 0.0);
                lanes.store_slice(part, lanes.fma(sum, inverse, lanes.zero()));
            }
        }
    }

    /// The powers of `HEADS` heads from `head` on with the 64 keys from `key` on, side by side: the chains of one
    /// hide the latency of the others'.
    #[inline(always)]
    fn powers_of<L: Lanes, const HEADS: usize>(
        &self,
        lanes: L,
        key: usize,
        head: usize,
        seen: &std::ops::Range<usize>,
        queries: &[f32],
        state: &mut State<'_>,
    ) {
        let (dims, group) = (self.heads.dims, self.heads.heads / self.heads.key_heads);
        let mut lines = [(queries, self.keys); HEADS];
        for (i, line) in lines.iter_mut().enumerate() {
            let block = key / KEY_BLOCK * self.heads.key_heads + (head + i) / group;
            let query = &queries[(head + i) * dims..][..dims];
            *line = (query, &self.keys[block * KEY_BLOCK * dims..][..KEY_BLOCK * dims]);
        }
        let scores = scores::<L, HEADS>(lanes, dims, lines);
        block_powers::<L, HEADS>(lanes, scores, seen, head, state);
    }

    /// out = out·factor + Σ power·value over `count` keys from `key` on, for all heads.
    #[inline(always)]
    fn add_values<L: Lanes>(
        &self,
        lanes: L,
        key: usize,
        count: usize,
        powers: &[f32],
        factors: &[f32],
        out: &mut [f32],
    ) {
        let vectors = out.len() / LANES;
        let mut first = 0;
        if L::WIDE {
            while first + SIDE_BY_SIDE <= vectors {
                self.value_vectors::<L, SIDE_BY_SIDE>(
                    lanes, key, count, powers, factors, out, first,
                );
                first += SIDE_BY_SIDE;
            }
        }
        while first + 4 <= vectors {
            self.value_vectors::<L, 4>(lanes, key, count, powers, factors, out, first);
            first += 4;
        }
        while first < vectors {
            self.value_vectors::<L, 1>(lanes, key, count, powers, factors, out, first);
            first += 1;
        }
    }

    /// `add_values` for some vectors of the output, from vector `first` on.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // The block, the scratch and the part of the output.
    fn value_vectors<L: Lanes, const VECTORS: usize>(
        &self,
        lanes: L,
        key: usize,
        count: usize,
        powers: &[f32],
        factors: &[f32],
        out: &mut [f32],
        first: usize,
    ) {
        let (dims, group) = (self.heads.dims, self.heads.heads / self.heads.key_heads);
        let width = self.heads.key_heads * dims;
        let out = &mut out[first * LANES..][..VECTORS * LANES];
        let values = &self.values[key * width..][..count * width];
        assert!(count <= KEY_BLOCK && powers.len() >= factors.len() * KEY_BLOCK);
        let mut sums = [lanes.zero(); VECTORS];
        let mut weights = [powers.as_ptr(); VECTORS];
        let mut columns = [0; VECTORS];
        for v in 0..VECTORS {
            let (head, within) = ((first + v) * LANES / dims, (first + v) * LANES % dims);
            let old = lanes.load_slice(&out[v * LANES..], 0.0);
            sums[v] = lanes.mul(old, lanes.splat(factors[head]));
            weights[v] = powers[head * KEY_BLOCK..].as_ptr();
            columns[v] = head / group * dims + within;
            assert!(columns[v] + LANES <= width);
        }
        let mut line = values.as_ptr();
        for key in 0..count {
            for v in 0..VECTORS {
                // SAFETY: each head has 64 powers and `count` is no more; the columns lie inside a key's values.
                unsafe {
                    let value = lanes.load_half(line.add(columns[v]));
                    sums[v] = lanes.fma(lanes.splat(*weights[v].add(key)), value, sums[v]);
                }
            }
            line = line.wrapping_add(width);
        }
        for v in 0..VECTORS {
            lanes.store_slice(&mut out[v * LANES..], sums[v]);
        }
    }
}

/// What a block of keys leaves for the next, a number a head: the largest score, the even whole number near it that
/// powers leave out, the powers' total; and for the values, the factor of what was before and the powers [heads, 64].
struct State<'a> {
    largest: &'a mut [f32],
    tops: &'a mut [f32],
    totals: &'a mut [f32],
    factors: &'a mut [f32],
    powers: &'a mut [f32],
}

/// The scores of queries [dims], each with 64 keys [dims, 64].
#[inline(always)]
fn scores<L: Lanes, const HEADS: usize>(
    lanes: L,
    dims: usize,
    lines: [(&[f32], &[u16]); HEADS],
) -> [[L::Vector; PARTS]; HEADS] {
    let mut scores = [[lanes.zero(); PARTS]; HEADS];
    for (query, keys) in lines {
        assert!(query.len() == dims && keys.len() == dims * KEY_BLOCK);
    }
    for d in 0..dims {
        for (scores, (query, keys)) in scores.iter_mut().zip(lines) {
            let query = lanes.splat(query[d]);
            for (part, score) in scores.iter_mut().enumerate() {
                // SAFETY: line d holds four times sixteen keys, as asserted.
                let keys =
                    unsafe { lanes.load_half(keys.as_ptr().add(d * KEY_BLOCK + part * LANES)) };
                *score = lanes.fma(query, keys, *score);
            }
        }
    }
    scores
}

/// The powers of some heads' scores, and what they leave behind.
#[inline(always)]
fn block_powers<L: Lanes, const HEADS: usize>(
    lanes: L,
    mut scores: [[L::Vector; PARTS]; HEADS],
    seen: &std::ops::Range<usize>,
    head: usize,
    state: &mut State<'_>,
) {
    let mut highest = [lanes.zero(); HEADS];
    for (i, highest) in highest.iter_mut().enumerate() {
        *highest = lanes.splat(state.largest[head + i]);
    }
    let none = lanes.splat(f32::NEG_INFINITY);
    for part in 0..PARTS {
        let first = (part * LANES) as f32;
        for (scores, highest) in scores.iter_mut().zip(&mut highest) {
            let score = &mut scores[part];
            if (part + 1) * LANES > seen.end {
                // Keys from the end on are not there: −∞ where lane ≥ end − first.
                let end = lanes.splat(seen.end as f32 - first);
                *score = lanes.select_greater(end, numbered(lanes), *score, none);
            }
            if part * LANES < seen.start {
                let start = lanes.splat(seen.start as f32 - first);
                *score = lanes.select_greater(start, numbered(lanes), none, *score);
            }
            *highest = lanes.max(*score, *highest);
        }
    }
    let (mut totals, mut raised) = ([0.0; HEADS], [0.0; HEADS]);
    for (i, highest) in highest.iter().enumerate() {
        let highest = lanes.largest(*highest);
        // `nearest_even` of one number.
        raised[i] = 2.0 * (0.5 * highest.min(HIGHEST)).round_ties_even();
        let (top, mut factor) = (state.tops[head + i], 1.0);
        if raised[i] != top {
            factor = lanes.array(exp2(lanes, lanes.splat(top - raised[i])))[0];
        }
        totals[i] = state.totals[head + i] * factor;
        (state.largest[head + i], state.tops[head + i]) = (highest, raised[i]);
        state.factors[head + i] = factor;
    }
    for part in 0..PARTS {
        for (i, scores) in scores.iter().enumerate() {
            let power = Exp2Below::new(lanes, lanes.splat(raised[i])).apply(lanes, scores[part]);
            let powers = &mut state.powers[(head + i) * KEY_BLOCK..][..KEY_BLOCK];
            lanes.store_slice(&mut powers[part * LANES..], power);
            totals[i] += lanes.sum(power);
        }
    }
    state.totals[head..][..HEADS].copy_from_slice(&totals);
}
