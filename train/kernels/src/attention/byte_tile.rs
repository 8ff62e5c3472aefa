//! The inner loops of the whole-chunk pass where keys and values are held as bytes (`HeldAs::Bytes`): 32 queries in
//! two vectors, against blocks of 64 keys, as in `forward_tile`.
//!
//! Factors are whole numbers in pairs, whose two products one instruction adds up; sums of them are exact, so their
//! order is nobody's business.

use super::super::lanes::{LANES, Lanes, Pair, PairLines};
use super::super::math::{Exp2Below, exp2, nearest_even};
use super::KEY_BLOCK;
use super::forward_tile::{HIGHEST, LOWEST, QUERIES, mask, mask_behind};
use super::heads::probability_unit;

/// 32 queries from `first` on, against all the keys they see; heads of `dims` dimensions, a multiple of sixteen.
///
/// Of sixteen dimensions, queries and keys have the pairs of d and d + 8; of sixteen keys, values and probabilities
/// have the pairs of k and k + 8.
pub(super) struct ByteTile {
    pub(super) dims: usize,
    /// [dims / 2, 32], and the powers of two that they are multiples of: \[32\].
    pub(super) queries: *const Pair,
    pub(super) query_powers: *const f32,
    /// [blocks of sixteen, dims / 2, 16], and their powers of two: \[time\].
    pub(super) keys: *const Pair,
    pub(super) key_powers: *const f32,
    /// [time / 2, dims], and their powers of two: \[time\].
    pub(super) values: *const Pair,
    pub(super) value_powers: *const f32,
    /// Scores, then powers times the values', of a block of keys: [64, 32].
    pub(super) powers: *mut f32,
    /// The attention probabilities of a block of keys: [64 / 2, 32].
    pub(super) probabilities: *mut Pair,
    /// The output before it is divided by its total: [dims, 32].
    pub(super) sums: *mut f32,
    pub(super) first: usize,
    /// A query sees so many keys, its own included, if not all before it.
    pub(super) window: Option<usize>,
}

impl ByteTile {
    /// Leaves the sums, and gives the total of each query.
    ///
    /// # Safety
    /// The pointers must be good for the shapes stated, with all keys before `first + 32`.
    #[inline(always)]
    pub(super) unsafe fn attend<L: Lanes>(&self, lanes: L) -> [L::Vector; 2] {
        // SAFETY: granted by the caller.
        unsafe {
            for i in 0..self.dims * 2 {
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
                let mut probable = [lanes.zero(); 2];
                for v in 0..2 {
                    let highest = lanes.min(largest[v], lanes.splat(HIGHEST));
                    let raised = nearest_even(lanes, highest);
                    self.raise(lanes, v, top[v], raised, &mut total[v]);
                    top[v] = raised;
                    for part in (0..count).step_by(LANES) {
                        let place = [key + part, part, v];
                        self.powers(lanes, place, top[v], &mut total[v], &mut probable[v]);
                    }
                }
                let units = self.round(lanes, count, probable);
                self.add_values(lanes, key, count, units);
            }
            total
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
            let places = self.dims / 2;
            let keys = PairLines { first: self.keys.add(key * places + offset), stride: LANES };
            let queries = PairLines { first: self.queries.add(vector * LANES), stride: QUERIES };
            let mut scores = lanes.multiply_pairs::<KEYS, VECTORS>(places, keys, queries);
            let powers = self.key_powers.add(key + offset);
            for v in 0..VECTORS {
                let query_power = lanes.load(self.query_powers.add((vector + v) * LANES));
                for k in 0..KEYS {
                    let power = lanes.splat(*powers.add(k));
                    scores[k][v] = lanes.mul(lanes.mul(scores[k][v], query_power), power);
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

    /// Scales a vector's totals and sums by 2^(old − new maximum). Where no maximum rose that is a factor of exactly 1.
    #[inline(always)]
    unsafe fn raise<L: Lanes>(
        &self,
        lanes: L,
        v: usize,
        old: L::Vector,
        new: L::Vector,
        total: &mut L::Vector,
    ) {
        if lanes.all_equal(old, new) {
            return;
        }
        let factor = exp2(lanes, lanes.sub(old, new));
        *total = lanes.mul(*total, factor);
        for d in 0..self.dims {
            // SAFETY: granted by the caller of `attend`.
            unsafe {
                let sum = self.sums.add(d * QUERIES + v * LANES);
                lanes.store(sum, lanes.mul(lanes.load(sum), factor));
            }
        }
    }

    /// Turns the scores of 16 keys into powers, and adds them to a vector's totals by the fixed tree. Leaves them
    /// multiplied by the values' powers of two, and raises the largest of those.
    #[inline(always)]
    unsafe fn powers<L: Lanes>(
        &self,
        lanes: L,
        [key, part, v]: [usize; 3],
        top: L::Vector,
        total: &mut L::Vector,
        largest: &mut L::Vector,
    ) {
        let exp2 = Exp2Below::new(lanes, top);
        let mut tree = [lanes.zero(); 8];
        for (k, branch) in tree.iter_mut().enumerate() {
            // SAFETY: granted by the caller of `attend`.
            unsafe {
                let low = self.powers.add((part + k) * QUERIES + v * LANES);
                let high = low.add(8 * QUERIES);
                let steps = self.value_powers.add(key + k);
                let low_power = exp2.apply(lanes, lanes.load(low));
                let high_power = exp2.apply(lanes, lanes.load(high));
                *branch = lanes.add(low_power, high_power);
                let low_power = lanes.mul(low_power, lanes.splat(*steps));
                let high_power = lanes.mul(high_power, lanes.splat(*steps.add(8)));
                lanes.store(low, low_power);
                lanes.store(high, high_power);
                *largest = lanes.max(high_power, lanes.max(low_power, *largest));
            }
        }
        for width in [4, 2, 1] {
            for i in 0..width {
                tree[i] = lanes.add(tree[i], tree[i + width]);
            }
        }
        *total = lanes.add(*total, tree[0]);
    }

    /// Rounds what `powers` left of `count` keys to attention probabilities: whole numbers, whose units it gives. That
    /// is what `round_probability` does, since none is more than 255 units of its block.
    #[inline(always)]
    unsafe fn round<L: Lanes>(
        &self,
        lanes: L,
        count: usize,
        largest: [L::Vector; 2],
    ) -> [L::Vector; 2] {
        let (mut units, mut inverses) = (largest, largest);
        for v in 0..2 {
            let (mut unit, mut inverse) = (lanes.array(largest[v]), [0.0; LANES]);
            for i in 0..LANES {
                [unit[i], inverse[i]] = probability_unit(unit[i]);
            }
            (units[v], inverses[v]) = (lanes.vector(&unit), lanes.vector(&inverse));
        }
        for part in (0..count).step_by(LANES) {
            for k in 0..LANES / 2 {
                for v in 0..2 {
                    // SAFETY: granted by the caller of `attend`; a probability is at most 255 units.
                    unsafe {
                        let low = self.powers.add((part + k) * QUERIES + v * LANES);
                        let high = low.add(8 * QUERIES);
                        let to = self.probabilities.add((part / 2 + k) * QUERIES + v * LANES);
                        let low = lanes.mul(lanes.load(low), inverses[v]);
                        let high = lanes.mul(lanes.load(high), inverses[v]);
                        lanes.store_pairs(to, low, high);
                    }
                }
            }
        }
        units
    }

    /// Adds unit·(Σ probability·value) over `count` keys to the sums.
    #[inline(always)]
    unsafe fn add_values<L: Lanes>(
        &self,
        lanes: L,
        key: usize,
        count: usize,
        units: [L::Vector; 2],
    ) {
        // SAFETY: granted by the caller of `attend`.
        unsafe {
            if L::WIDE {
                for d in (0..self.dims).step_by(8) {
                    self.value_tile::<L, 8, 2>(lanes, key, count, [d, 0], units);
                }
            } else {
                for d in (0..self.dims).step_by(4) {
                    self.value_tile::<L, 4, 1>(lanes, key, count, [d, 0], units);
                    self.value_tile::<L, 4, 1>(lanes, key, count, [d, 1], units);
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
        units: [L::Vector; 2],
    ) {
        // SAFETY: granted by the caller of `attend`; `d + DIMS` is at most the dimensions.
        unsafe {
            let first = self.values.add(key / 2 * self.dims + d);
            let values = PairLines { first, stride: self.dims };
            let first = self.probabilities.cast_const().add(vector * LANES);
            let probabilities = PairLines { first, stride: QUERIES };
            let sums = lanes.multiply_pairs::<DIMS, VECTORS>(count / 2, values, probabilities);
            for i in 0..DIMS {
                for v in 0..VECTORS {
                    let to = self.sums.add((d + i) * QUERIES + (vector + v) * LANES);
                    let sum = lanes.fma(sums[i][v], units[vector + v], lanes.load(to));
                    lanes.store(to, sum);
                }
            }
        }
    }
}
