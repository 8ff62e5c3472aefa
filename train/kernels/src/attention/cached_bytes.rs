//! The cached step if the KV cache is held as bytes (`HeldAs::Bytes`).
//!
//! Scores and sums of values are then integer sums, which are exact in any order, with four products per instruction.
//! For each block of keys, all heads go through one stage before the next, so that the latency of one head's stage is
//! hidden by the others. Loops are used where closures would be shorter, since closures may not be compiled for the
//! SIMD level.

use super::super::lanes::{LANES, Lanes};
use super::super::math::{Exp2Below, exp2, nearest_even};
use super::KEY_BLOCK;
use super::blocks::{FAR, PARTS, ask_for, only};
use super::forward_tile::{HIGHEST, LOWEST};
use super::heads::{
    AttentionHeads, LEAST_EXPONENTS, probability_unit, round_probability, to_bytes, whole_bytes,
};

/// What a step needs; per-head numbers are filled up to a multiple of 16.
#[derive(Clone, Default)]
pub(super) struct Scratch {
    /// The newest token's queries as bytes [heads, dims]; what they are multiples of, and their totals \[heads\].
    queries: Vec<i8>,
    query_powers: Vec<f32>,
    query_totals: Vec<i32>,
    /// A head of a key or value on its way into the cache \[dims\].
    row: Vec<i8>,
    /// Scores with a block of keys [heads, 64], and their probabilities.
    scores: Vec<[f32; KEY_BLOCK]>,
    probabilities: Vec<[u8; KEY_BLOCK]>,
    /// Of each head: the block's largest score, the largest so far, the even whole number near it that powers leave
    /// out, the powers' total, the factor of sums so far, and the unit of the probabilities.
    highest: Vec<f32>,
    largest: Vec<f32>,
    tops: Vec<f32>,
    totals: Vec<f32>,
    factors: Vec<f32>,
    units: Vec<f32>,
}

impl Scratch {
    pub(super) fn new(heads: &AttentionHeads) -> Self {
        let filled = || vec![0.0; heads.heads.next_multiple_of(LANES)];
        Scratch {
            queries: vec![0; heads.width()],
            query_powers: filled(),
            query_totals: vec![0; heads.heads],
            row: vec![0; heads.dims],
            scores: vec![[0.0; KEY_BLOCK]; heads.heads],
            probabilities: vec![[0; KEY_BLOCK]; heads.heads],
            highest: filled(),
            largest: filled(),
            tops: filled(),
            totals: filled(),
            factors: filled(),
            units: filled(),
        }
    }
}

/// A new token of one sequence, and what that holds, of the shapes that `KeyValueCache` states.
pub(super) struct ByteStep<'a> {
    pub(super) heads: &'a AttentionHeads,
    pub(super) position: usize,
    pub(super) keys: &'a mut [i8],
    pub(super) values: &'a mut [i8],
    pub(super) exponents: &'a mut [u8],
    pub(super) scratch: &'a mut Scratch,
}

impl ByteStep<'_> {
    /// Takes in the token's keys and values [2, key heads, dims], which are rounded already.
    #[inline(always)]
    pub(super) fn append<L: Lanes>(&mut self, lanes: L, row: &[f32]) {
        let (dims, place) = (self.heads.dims, self.position % KEY_BLOCK);
        let size = dims * KEY_BLOCK;
        let (keys, values) = row.split_at(row.len() / 2);
        let first = self.position / KEY_BLOCK * self.heads.key_heads;
        let new = &mut self.scratch.row;
        for (head, (key, value)) in
            keys.chunks_exact(dims).zip(values.chunks_exact(dims)).enumerate()
        {
            let block = first + head;
            let exponents = &mut self.exponents[block * 2 * KEY_BLOCK..][..2 * KEY_BLOCK];
            exponents[place] = to_bytes(lanes, key, LEAST_EXPONENTS[0], new);
            let fours = self.keys[block * size..][..size].chunks_exact_mut(4 * KEY_BLOCK);
            for (from, to) in new.chunks_exact(4).zip(fours) {
                for (to, number) in to[4 * place..].iter_mut().zip(from) {
                    *to = *number ^ i8::MIN;
                }
            }
            exponents[KEY_BLOCK + place] = to_bytes(lanes, value, LEAST_EXPONENTS[1], new);
            let four = &mut self.values[block * size + place / 4 * 4 * dims..][..4 * dims];
            for (to, number) in four.iter_mut().skip(place % 4).step_by(4).zip(&*new) {
                *to = *number;
            }
        }
    }

    /// Takes in the token's queries [heads, dims], which are rounded already.
    #[inline(always)]
    pub(super) fn take_queries<L: Lanes>(&mut self, lanes: L, queries: &[f32]) {
        let (dims, scratch) = (self.heads.dims, &mut *self.scratch);
        for (head, query) in queries.chunks_exact(dims).enumerate() {
            let bytes = &mut scratch.queries[head * dims..][..dims];
            let exponent = to_bytes(lanes, query, LEAST_EXPONENTS[0], bytes);
            scratch.query_powers[head] = f32::from_bits(u32::from(exponent) << 23);
            let mut total = 0;
            for byte in bytes {
                total += i32::from(*byte);
            }
            scratch.query_totals[head] = total;
        }
    }

    /// The token's output [heads, dims].
    #[inline(always)]
    pub(super) fn attend<L: Lanes>(&mut self, lanes: L, out: &mut [f32]) {
        let scratch = &mut *self.scratch;
        for lowest in [&mut scratch.highest, &mut scratch.largest, &mut scratch.tops] {
            lowest.fill(LOWEST);
        }
        scratch.totals.fill(0.0);
        out.fill(0.0);
        let first_key = self.heads.first_key(self.position);
        for key in (first_key / KEY_BLOCK * KEY_BLOCK..=self.position).step_by(KEY_BLOCK) {
            let seen = first_key.saturating_sub(key)..KEY_BLOCK.min(self.position + 1 - key);
            self.score(lanes, key, &seen);
            self.raise(lanes);
            self.weigh(lanes, key);
            self.add_values(lanes, key, out);
        }
        for (head, out) in out.chunks_exact_mut(self.heads.dims).enumerate() {
            let inverse = 1.0 / self.scratch.totals[head] * self.heads.sum_factor();
            for part in out.chunks_exact_mut(LANES) {
                let sum = lanes.load_slice(part, 0.0);
                lanes.store_slice(part, lanes.fma(sum, lanes.splat(inverse), lanes.zero()));
            }
        }
    }

    /// Where a head of queries finds its keys and values of a block: its place among all blocks and key heads.
    #[inline(always)]
    fn block(&self, key: usize, head: usize) -> usize {
        let Self { heads: AttentionHeads { heads, key_heads, .. }, .. } = *self;
        let key_head = if heads == key_heads { head } else { head / (heads / key_heads) };
        key / KEY_BLOCK * key_heads + key_head
    }

    /// The scores with the 64 keys from `key` on, and the largest of each head.
    #[inline(always)]
    fn score<L: Lanes>(&mut self, lanes: L, key: usize, seen: &std::ops::Range<usize>) {
        let dims = self.heads.dims;
        let size = dims * KEY_BLOCK;
        let far = self.keys.len() >= FAR;
        for head in 0..self.heads.heads {
            let block = self.block(key, head);
            let keys = &self.keys[block * size..][..size];
            let exponents = &self.exponents[block * 2 * KEY_BLOCK..][..KEY_BLOCK];
            if far {
                // The values of this block come next.
                let values = self.values.as_ptr().wrapping_add(block * size);
                ask_for([keys.as_ptr().wrapping_add(2 * size), values], size);
            }
            let scratch = &mut *self.scratch;
            let query = &scratch.queries[head * dims..][..dims];
            // SAFETY: the keys are 64 times as many as the query's numbers, a multiple of four.
            let sums =
                unsafe { lanes.dot_bytes(query, scratch.query_totals[head], keys.as_ptr().cast()) };
            let power = lanes.splat(scratch.query_powers[head]);
            let to = &mut scratch.scores[head];
            let mut highest = lanes.splat(f32::NEG_INFINITY);
            for part in 0..PARTS {
                let at = part * LANES;
                // SAFETY: sixteen exponents are there.
                let powers = unsafe { lanes.load_powers(exponents[at..at + LANES].as_ptr()) };
                let score = lanes.mul(lanes.mul(sums[part], power), powers);
                let score = only(lanes, score, part, seen);
                lanes.store_slice(&mut to[at..at + LANES], score);
                highest = lanes.max(score, highest);
            }
            scratch.highest[head] = lanes.largest(highest);
        }
    }

    /// Raises what powers leave out; totals are scaled by 2^(old − new).
    #[inline(always)]
    fn raise<L: Lanes>(&mut self, lanes: L) {
        let scratch = &mut *self.scratch;
        for at in (0..scratch.tops.len()).step_by(LANES) {
            let highest = lanes.load_slice(&scratch.highest[at..], 0.0);
            let largest = lanes.max(highest, lanes.load_slice(&scratch.largest[at..], 0.0));
            let top = nearest_even(lanes, lanes.min(largest, lanes.splat(HIGHEST)));
            let factor = exp2(lanes, lanes.sub(lanes.load_slice(&scratch.tops[at..], 0.0), top));
            let total = lanes.mul(lanes.load_slice(&scratch.totals[at..], 0.0), factor);
            lanes.store_slice(&mut scratch.largest[at..], largest);
            lanes.store_slice(&mut scratch.tops[at..], top);
            lanes.store_slice(&mut scratch.factors[at..], factor);
            lanes.store_slice(&mut scratch.totals[at..], total);
        }
    }

    /// The powers, added to the totals; then the probabilities.
    #[inline(always)]
    fn weigh<L: Lanes>(&mut self, lanes: L, key: usize) {
        for head in 0..self.heads.heads {
            let exponents = self.block(key, head) * 2 * KEY_BLOCK + KEY_BLOCK;
            let exponents = &self.exponents[exponents..][..KEY_BLOCK];
            let scratch = &mut *self.scratch;
            let scores = &scratch.scores[head];
            let power_of = Exp2Below::new(lanes, lanes.splat(scratch.tops[head]));
            let mut probabilities = [lanes.zero(); PARTS];
            for part in 0..PARTS {
                probabilities[part] =
                    power_of.apply(lanes, lanes.load_slice(&scores[part * LANES..], 0.0));
            }
            let sums = lanes.sum_four(probabilities);
            for sum in sums {
                scratch.totals[head] += sum;
            }
            let mut largest = lanes.zero();
            for part in 0..PARTS {
                let at = part * LANES;
                // SAFETY: sixteen exponents are there.
                let powers = unsafe { lanes.load_powers(exponents[at..at + LANES].as_ptr()) };
                probabilities[part] = lanes.mul(probabilities[part], powers);
                largest = lanes.max(probabilities[part], largest);
            }
            let [unit, inverse] = probability_unit(lanes.largest(largest));
            scratch.units[head] = unit;
            let inverse = lanes.splat(inverse);
            let to = scratch.probabilities[head].as_chunks_mut::<LANES>().0;
            for (to, probability) in to.iter_mut().zip(probabilities) {
                // SAFETY: probabilities are from 0 to 255.
                *to = unsafe { whole_bytes(lanes, round_probability(lanes, probability, inverse)) };
            }
        }
    }

    /// out = out·factor + unit·Σ probability·value over the block's keys; those not seen have a probability of 0.
    #[inline(always)]
    fn add_values<L: Lanes>(&self, lanes: L, key: usize, out: &mut [f32]) {
        let dims = self.heads.dims;
        let size = dims * KEY_BLOCK;
        for (head, out) in out.chunks_exact_mut(dims).enumerate() {
            let values = &self.values[self.block(key, head) * size..][..size];
            let probabilities = &self.scratch.probabilities[head];
            let scales = [self.scratch.factors[head], self.scratch.units[head]];
            let mut first = 0;
            while first + 4 * LANES <= dims {
                add_part::<L, 4>(lanes, probabilities, values, dims, first, scales, out);
                first += 4 * LANES;
            }
            while first + 2 * LANES <= dims {
                add_part::<L, 2>(lanes, probabilities, values, dims, first, scales, out);
                first += 2 * LANES;
            }
            if first < dims {
                add_part::<L, 1>(lanes, probabilities, values, dims, first, scales, out);
            }
        }
    }
}

/// `add_values` for V vectors of a head's output, from dimension `first` on.
#[inline(always)]
fn add_part<L: Lanes, const V: usize>(
    lanes: L,
    probabilities: &[u8; KEY_BLOCK],
    values: &[i8],
    dims: usize,
    first: usize,
    [factor, unit]: [f32; 2],
    out: &mut [f32],
) {
    let values = &values[4 * first..];
    assert!(KEY_BLOCK * dims <= 4 * first + values.len() && first + V * LANES <= dims);
    // SAFETY: as asserted.
    let sums = unsafe { lanes.mix_bytes::<V>(probabilities, values.as_ptr(), dims) };
    for (v, sum) in sums.into_iter().enumerate() {
        let out = &mut out[first + v * LANES..][..LANES];
        let old = lanes.mul(lanes.load_slice(out, 0.0), lanes.splat(factor));
        lanes.store_slice(out, lanes.fma(sum, lanes.splat(unit), old));
    }
}
