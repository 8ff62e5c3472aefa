//! The inner loops of the whole-chunk pass: 32 queries in two vectors, against blocks of 64 keys.

use super::super::factors::Numbers;
use super::super::lanes::{LANES, Lanes};
use super::super::math::{Exp2Below, exp2, nearest_even, soft_cap};
use super::KEY_BLOCK;
use std::marker::PhantomData;

/// Queries of a tile: two vectors.
pub(super) const QUERIES: usize = 2 * LANES;

/// Below every score: what a running maximum starts from, so that a block without a key that a query sees is no
/// special case. Finite, for the difference of two such is needed.
pub(super) const LOWEST: f32 = -4_194_304.0;
/// The most that powers leave out, so that those of masked keys stay exactly 0 (`nearest_even` says why 2²²). Scores
/// beyond it mean nothing any more, but they are the same nothing everywhere.
pub(super) const HIGHEST: f32 = 4_194_304.0;

/// 32 queries from `first` on, against all the keys they see; heads of D dimensions, or of `dims` if D is 0.
///
/// With pairs, queries and keys have half the dimensions, each a pair of neighbours; of each sixteen keys, values and
/// powers have eight pairs, of the keys k and k + 8.
pub(super) struct Tile<N, const D: usize> {
    pub(super) numbers: PhantomData<N>,
    pub(super) dims: usize,
    /// [2 blocks, D, 16].
    pub(super) queries: *const f32,
    /// [blocks, D, 16].
    pub(super) keys: *const f32,
    /// [time, D].
    pub(super) values: *const f32,
    /// Scores, then powers, of a block of keys: [64, 32].
    pub(super) powers: *mut f32,
    /// The output before it is divided by its total: [D, 32].
    pub(super) sums: *mut f32,
    pub(super) first: usize,
    /// A query sees so many keys, its own included, if not all before it.
    pub(super) window: Option<usize>,
    /// Scores stay within ± this.
    pub(super) soft_cap: Option<f32>,
}

impl<N: Numbers, const D: usize> Tile<N, D> {
    /// Dimensions of a head.
    #[inline(always)]
    fn dims(&self) -> usize {
        if D == 0 { self.dims } else { D }
    }

    /// Places of a head's dimensions.
    #[inline(always)]
    fn places(&self) -> usize {
        self.dims() / N::IN_PLACE
    }

    /// Leaves the sums, and gives the maximum and total of each query.
    ///
    /// # Safety
    /// The pointers must be good for the shapes stated, with all keys before `first + 32`.
    #[inline(always)]
    pub(super) unsafe fn attend<L: Lanes>(&self, lanes: L) -> ([L::Vector; 2], [L::Vector; 2]) {
        // SAFETY: granted by the caller.
        unsafe {
            for i in 0..self.dims() * 2 {
                lanes.store(self.sums.add(i * LANES), lanes.zero());
            }
            let mut largest = [lanes.splat(LOWEST); 2];
            let (mut top, mut total) = (largest, [lanes.zero(); 2]);
            let end = self.first + QUERIES;
            let start = self.window.map_or(0, |window| (self.first + 1).saturating_sub(window));
            for key in (start / KEY_BLOCK * KEY_BLOCK..end).step_by(KEY_BLOCK) {
                let count = KEY_BLOCK.min(end - key);
                for part in (0..count).step_by(LANES) {
                    self.scores(lanes, key + part, part, &mut largest);
                }
                let raised = largest
                    .map(|largest| nearest_even(lanes, lanes.min(largest, lanes.splat(HIGHEST))));
                self.raise(lanes, &top, &raised, &mut total);
                top = raised;
                for part in (0..count).step_by(LANES) {
                    self.powers(lanes, part, &top, &mut total);
                }
                self.add_values(lanes, key, count);
            }
            (top, total)
        }
    }

    /// The scores of 16 keys, stored from row `part` on; raises the maxima.
    #[inline(always)]
    unsafe fn scores<L: Lanes>(&self, lanes: L, key: usize, part: usize, top: &mut [L::Vector; 2]) {
        // SAFETY: granted by the caller of `attend`.
        unsafe {
            if L::WIDE {
                for half in [0, 8] {
                    self.score_tile::<L, 8, 2>(lanes, key, half, part, 0, top);
                }
            } else {
                for half in [0, 4, 8, 12] {
                    self.score_tile::<L, 4, 1>(lanes, key, half, part, 0, top);
                    self.score_tile::<L, 4, 1>(lanes, key, half, part, 1, top);
                }
            }
        }
    }

    /// A register tile of scores: `KEYS` keys by `VECTORS` vectors of queries.
    #[inline(always)]
    unsafe fn score_tile<L: Lanes, const KEYS: usize, const VECTORS: usize>(
        &self,
        lanes: L,
        key: usize,
        offset: usize,
        part: usize,
        vector: usize,
        top: &mut [L::Vector; 2],
    ) {
        // SAFETY: granted by the caller of `attend`; `offset + KEYS` is at most 16.
        unsafe {
            let keys = self.keys.add(key * self.places() + offset);
            let queries = self.queries.add(vector * self.places() * LANES);
            let mut scores = [[lanes.zero(); VECTORS]; KEYS];
            for d in 0..self.places() {
                let mut query = [lanes.zero(); VECTORS];
                for v in 0..VECTORS {
                    query[v] = lanes.load(queries.add((v * self.places() + d) * LANES));
                }
                for k in 0..KEYS {
                    let factor = lanes.splat(*keys.add(d * LANES + k));
                    for v in 0..VECTORS {
                        scores[k][v] = N::fma(lanes, factor, query[v], scores[k][v]);
                    }
                }
            }
            if let Some(limit) = self.soft_cap {
                for k in 0..KEYS {
                    for v in 0..VECTORS {
                        scores[k][v] = soft_cap(lanes, limit, scores[k][v]);
                    }
                }
            }
            if key + LANES > self.first {
                for k in 0..KEYS {
                    for v in 0..VECTORS {
                        let query = self.first + (vector + v) * LANES;
                        scores[k][v] = mask(lanes, key + offset + k, query, scores[k][v]);
                    }
                }
            }
            if let Some(window) = self.window
                && key + window < self.first + QUERIES
            {
                for k in 0..KEYS {
                    for v in 0..VECTORS {
                        let query = self.first + (vector + v) * LANES;
                        let key = key + offset + k;
                        scores[k][v] = mask_behind(lanes, key + window, query, scores[k][v]);
                    }
                }
            }
            for k in 0..KEYS {
                let row = self.powers.add((part + offset + k) * QUERIES + vector * LANES);
                for v in 0..VECTORS {
                    lanes.store(row.add(v * LANES), scores[k][v]);
                    top[vector + v] = lanes.max(scores[k][v], top[vector + v]);
                }
            }
        }
    }

    /// Scales totals and sums by 2^(old − new maximum). Where no maximum rose that is a factor of exactly 1.
    #[inline(always)]
    unsafe fn raise<L: Lanes>(
        &self,
        lanes: L,
        old: &[L::Vector; 2],
        new: &[L::Vector; 2],
        total: &mut [L::Vector; 2],
    ) {
        for v in 0..2 {
            if lanes.all_equal(old[v], new[v]) {
                continue;
            }
            let factor = exp2(lanes, lanes.sub(old[v], new[v]));
            total[v] = lanes.mul(total[v], factor);
            for d in 0..self.dims() {
                // SAFETY: granted by the caller of `attend`.
                unsafe {
                    let sum = self.sums.add(d * QUERIES + v * LANES);
                    lanes.store(sum, N::start(lanes, lanes.mul(lanes.load(sum), factor)));
                }
            }
        }
    }

    /// Turns the scores of 16 keys into powers, and adds them to the totals by the fixed tree.
    #[inline(always)]
    unsafe fn powers<L: Lanes>(
        &self,
        lanes: L,
        part: usize,
        top: &[L::Vector; 2],
        total: &mut [L::Vector; 2],
    ) {
        for v in 0..2 {
            let exp2 = Exp2Below::new(lanes, top[v]);
            let mut tree = [lanes.zero(); 8];
            for (k, branch) in tree.iter_mut().enumerate() {
                // SAFETY: granted by the caller of `attend`.
                unsafe {
                    let low = self.powers.add((part + k) * QUERIES + v * LANES);
                    let high = low.add(8 * QUERIES);
                    let low_power = exp2.apply(lanes, lanes.load(low));
                    let high_power = exp2.apply(lanes, lanes.load(high));
                    if N::IN_PLACE == 1 {
                        lanes.store(low, low_power);
                        lanes.store(high, high_power);
                    } else {
                        // Where scores were that are powers already.
                        let pairs = self.powers.add((part / 2 + k) * QUERIES + v * LANES);
                        lanes.store(pairs, N::place(lanes, &[low_power, high_power]));
                    }
                    *branch = lanes.add(low_power, high_power);
                }
            }
            for width in [4, 2, 1] {
                for i in 0..width {
                    tree[i] = lanes.add(tree[i], tree[i + width]);
                }
            }
            total[v] = lanes.add(total[v], tree[0]);
        }
    }

    /// Adds power·value over `count` keys to the sums.
    #[inline(always)]
    unsafe fn add_values<L: Lanes>(&self, lanes: L, key: usize, count: usize) {
        // SAFETY: granted by the caller of `attend`.
        unsafe {
            if L::WIDE {
                for d in (0..self.dims()).step_by(8) {
                    self.value_tile::<L, 8, 2>(lanes, key, count, [d, 0]);
                }
            } else {
                for d in (0..self.dims()).step_by(4) {
                    self.value_tile::<L, 4, 1>(lanes, key, count, [d, 0]);
                    self.value_tile::<L, 4, 1>(lanes, key, count, [d, 1]);
                }
            }
        }
    }

    /// A register tile of sums: `DIMS` dimensions by `VECTORS` vectors of queries.
    #[inline(always)]
    unsafe fn value_tile<L: Lanes, const DIMS: usize, const VECTORS: usize>(
        &self,
        lanes: L,
        key: usize,
        count: usize,
        [d, vector]: [usize; 2],
    ) {
        // SAFETY: granted by the caller of `attend`; `d + DIMS` is at most the dimensions.
        unsafe {
            let to = self.sums.add(d * QUERIES + vector * LANES);
            let mut sums = [[lanes.zero(); VECTORS]; DIMS];
            for i in 0..DIMS {
                for v in 0..VECTORS {
                    sums[i][v] = lanes.load(to.add(i * QUERIES + v * LANES));
                }
            }
            let mut values = self.values.add(key / N::IN_PLACE * self.dims() + d);
            let mut powers = self.powers.cast_const().add(vector * LANES);
            for _ in 0..count / N::IN_PLACE {
                let mut power = [lanes.zero(); VECTORS];
                for v in 0..VECTORS {
                    power[v] = lanes.load(powers.add(v * LANES));
                }
                for i in 0..DIMS {
                    let factor = lanes.splat(*values.add(i));
                    for v in 0..VECTORS {
                        sums[i][v] = N::fma(lanes, factor, power[v], sums[i][v]);
                    }
                }
                values = values.add(self.dims());
                powers = powers.add(QUERIES);
            }
            for i in 0..DIMS {
                for v in 0..VECTORS {
                    lanes.store(to.add(i * QUERIES + v * LANES), sums[i][v]);
                }
            }
        }
    }
}

/// Scores of one key for 16 queries from `query` on, with −∞ where the key comes after the query.
#[inline(always)]
pub(super) fn mask<L: Lanes>(lanes: L, key: usize, query: usize, scores: L::Vector) -> L::Vector {
    // Small whole numbers: exact in `f32`.
    let ahead = lanes.splat(key as f32 - query as f32);
    lanes.select_greater(ahead, numbered(lanes), lanes.splat(f32::NEG_INFINITY), scores)
}

/// The scores of one key, with −∞ where the query's number is `end` or more: the key has left its window.
#[inline(always)]
pub(super) fn mask_behind<L: Lanes>(
    lanes: L,
    end: usize,
    query: usize,
    scores: L::Vector,
) -> L::Vector {
    let left = lanes.splat(end as f32 - query as f32);
    lanes.select_greater(left, numbered(lanes), scores, lanes.splat(f32::NEG_INFINITY))
}

/// Lane i holds i.
#[inline(always)]
pub(super) fn numbered<L: Lanes>(lanes: L) -> L::Vector {
    lanes.vector(&std::array::from_fn(|i| i as f32))
}
