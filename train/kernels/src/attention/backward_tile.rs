//! The inner loops of attention's gradient: 32 queries against 32 keys, which lie side by side in two vectors.

use super::super::factors::Numbers;
use super::super::lanes::{LANES, Lanes};
use super::super::math::exp2;
use super::forward_tile::numbered;
use std::marker::PhantomData;

/// Keys of a block: two vectors.
pub(super) const KEYS: usize = 2 * LANES;
/// Queries of a tile.
pub(super) const QUERIES: usize = 32;

/// The scratch of a head: `time` is rounded up to whole tiles, and rows behind the end are zero.
///
/// Pairs are of neighbours, of dimensions in [block of 16, D, 16] and of tokens in rows [time, D], so that there are
/// half as many.
pub(super) struct Scratch<'s> {
    /// Queries, normed, scaled and rotated: [block of 16, D, 16].
    pub(super) queries: &'s mut [f32],
    /// Keys, normed and rotated: [block of 16, D, 16].
    pub(super) keys: &'s mut [f32],
    /// The same queries as [time, D].
    pub(super) query_rows: &'s mut [f32],
    /// The same keys as [time, D].
    pub(super) key_rows: &'s mut [f32],
    /// Values: [block of 16, D, 16].
    pub(super) values: &'s mut [f32],
    /// Upstream: [time, D]; of pairs, neighbours are dimensions.
    pub(super) upstream: &'s mut [f32],
    /// Upstream in pairs of tokens; nothing with singles.
    pub(super) upstream_rows: &'s mut [f32],
    /// Gradients of the queries: [time, D].
    pub(super) query_gradients: &'s mut [f32],
    /// What scores start from, −log_sum of each row: \[time\].
    pub(super) log_sums: &'s mut [f32],
    /// What the slopes of the scores start from, −upstream·output of each row: \[time\].
    pub(super) deltas: &'s mut [f32],
    /// Probabilities of a tile: [32 queries, 32 keys].
    pub(super) powers: &'s mut [f32],
    /// Gradients of a tile's scores: [32 queries, 32 keys].
    pub(super) gradients: &'s mut [f32],
    /// Probabilities in pairs of queries, gradients so, and gradients in pairs of keys; nothing with singles.
    pub(super) pairs: &'s mut [f32],
    /// Gradients of a block's keys: [D, 32].
    pub(super) key_sums: &'s mut [f32],
    /// Gradients of a block's values: [D, 32].
    pub(super) value_sums: &'s mut [f32],
}

impl<'s> Scratch<'s> {
    /// Names the parts.
    pub(super) fn new(parts: [&'s mut [f32]; 15]) -> Self {
        let [
            queries,
            keys,
            query_rows,
            key_rows,
            values,
            upstream,
            upstream_rows,
            query_gradients,
            log_sums,
            deltas,
            powers,
            gradients,
            pairs,
            key_sums,
            value_sums,
        ] = parts;
        Scratch {
            queries,
            keys,
            query_rows,
            key_rows,
            values,
            upstream,
            upstream_rows,
            query_gradients,
            log_sums,
            deltas,
            powers,
            gradients,
            pairs,
            key_sums,
            value_sums,
        }
    }
}

/// 32 queries against 32 keys; the fields as in `Scratch`, from the tile's first row on.
pub(super) struct Tile<N, const D: usize> {
    numbers: PhantomData<N>,
    queries: *const f32,
    keys: *const f32,
    query_rows: *const f32,
    key_rows: *const f32,
    values: *const f32,
    upstream: *const f32,
    upstream_rows: *const f32,
    query_gradients: *mut f32,
    log_sums: *const f32,
    deltas: *const f32,
    /// Probabilities: [32 queries, 32 keys].
    powers: *mut f32,
    /// Gradients of the scores: [32 queries, 32 keys].
    gradients: *mut f32,
    /// Pairs of both, each of as many places as a tile has pairs.
    pairs: [*mut f32; 3],
    /// Gradients of the keys: [D, 32].
    key_sums: *mut f32,
    /// Gradients of the values: [D, 32].
    value_sums: *mut f32,
    /// Whether the queries and the keys are the same tokens, so that some keys are masked.
    diagonal: bool,
}

impl<N: Numbers, const D: usize> Tile<N, D> {
    /// Places of a head's dimensions.
    const PLACES: usize = D / N::IN_PLACE;

    /// The tile of the queries from `query` on and the keys from `key` on.
    #[inline(always)]
    pub(super) fn new(scratch: &mut Scratch<'_>, key: usize, query: usize) -> Self {
        let (key_place, query_place) = (key * Self::PLACES, query * Self::PLACES);
        let upstream = scratch.upstream[query_place..].as_ptr();
        // Of singles both are [time, D].
        let upstream_rows = match N::IN_PLACE {
            1 => upstream,
            _ => scratch.upstream_rows[query_place..].as_ptr(),
        };
        let size = if N::IN_PLACE == 1 { 0 } else { QUERIES * KEYS / N::IN_PLACE };
        Tile {
            numbers: PhantomData,
            queries: scratch.queries[query_place..].as_ptr(),
            keys: scratch.keys[key_place..].as_ptr(),
            query_rows: scratch.query_rows[query_place..].as_ptr(),
            key_rows: scratch.key_rows[key_place..].as_ptr(),
            values: scratch.values[key_place..].as_ptr(),
            upstream,
            upstream_rows,
            pairs: std::array::from_fn(|i| scratch.pairs[i * size..].as_mut_ptr()),
            query_gradients: scratch.query_gradients[query * D..].as_mut_ptr(),
            log_sums: scratch.log_sums[query..].as_ptr(),
            deltas: scratch.deltas[query..].as_ptr(),
            powers: scratch.powers.as_mut_ptr(),
            gradients: scratch.gradients.as_mut_ptr(),
            key_sums: scratch.key_sums.as_mut_ptr(),
            value_sums: scratch.value_sums.as_mut_ptr(),
            diagonal: query == key,
        }
    }

    /// Adds the tile to all gradients.
    ///
    /// # Safety
    /// The pointers must be good for the shapes stated.
    #[inline(always)]
    pub(super) unsafe fn run<L: Lanes>(&self, lanes: L) {
        // SAFETY: granted by the caller.
        unsafe {
            if L::WIDE {
                for query in (0..QUERIES).step_by(8) {
                    self.score_tile::<L, 8, 2>(lanes, query, 0);
                }
                self.pair(lanes);
                for d in (0..D).step_by(8) {
                    self.value_tile::<L, 8, 2>(lanes, d, 0);
                    self.key_tile::<L, 8, 2>(lanes, d, 0);
                }
                if D.is_multiple_of(2 * LANES) {
                    for query in (0..QUERIES).step_by(8) {
                        for d in (0..D).step_by(2 * LANES) {
                            self.query_tile::<L, 8, 2>(lanes, query, d);
                        }
                    }
                } else {
                    for query in (0..QUERIES).step_by(16) {
                        for d in (0..D).step_by(LANES) {
                            self.query_tile::<L, 16, 1>(lanes, query, d);
                        }
                    }
                }
            } else {
                self.run_narrow(lanes);
            }
        }
    }

    /// `run` with the register tiles of 16 narrow registers.
    #[inline(always)]
    unsafe fn run_narrow<L: Lanes>(&self, lanes: L) {
        // SAFETY: granted by the caller of `run`.
        unsafe {
            for vector in 0..2 {
                for query in (0..QUERIES).step_by(4) {
                    self.score_tile::<L, 4, 1>(lanes, query, vector);
                }
            }
            self.pair(lanes);
            for vector in 0..2 {
                for d in (0..D).step_by(4) {
                    self.value_tile::<L, 4, 1>(lanes, d, vector);
                    self.key_tile::<L, 4, 1>(lanes, d, vector);
                }
            }
            for query in (0..QUERIES).step_by(4) {
                for d in (0..D).step_by(LANES) {
                    self.query_tile::<L, 4, 1>(lanes, query, d);
                }
            }
        }
    }

    /// Makes pairs of a tile's probabilities and gradients, if pairs are multiplied.
    #[inline(always)]
    unsafe fn pair<L: Lanes>(&self, lanes: L) {
        if N::IN_PLACE == 1 {
            return;
        }
        let [powers, gradients, by_keys] = self.pairs;
        // SAFETY: granted by the caller of `run`.
        unsafe {
            for query in (0..QUERIES).step_by(2) {
                let of = |from: *mut f32, v: usize| {
                    let row = from.add(query * KEYS + v * LANES);
                    [lanes.load(row), lanes.load(row.add(KEYS))]
                };
                for v in 0..2 {
                    let to = query / 2 * KEYS + v * LANES;
                    lanes.store(powers.add(to), N::place(lanes, &of(self.powers, v)));
                    lanes.store(gradients.add(to), N::place(lanes, &of(self.gradients, v)));
                }
                let (first, second) = (of(self.gradients, 0), of(self.gradients, 1));
                for i in 0..2 {
                    let pairs = lanes.pair_neighbours(first[i], second[i]);
                    lanes.store(by_keys.add((query + i) * LANES), pairs);
                }
            }
        }
    }

    /// Probabilities, gradients by queries, and by keys as they are multiplied.
    #[inline(always)]
    fn factors(&self) -> [*const f32; 3] {
        match N::IN_PLACE {
            1 => [self.powers, self.gradients, self.gradients].map(<*mut f32>::cast_const),
            _ => self.pairs.map(<*mut f32>::cast_const),
        }
    }

    /// Probabilities and gradients of the scores of `ROWS` queries with `VECTORS` vectors of keys.
    #[inline(always)]
    unsafe fn score_tile<L: Lanes, const ROWS: usize, const VECTORS: usize>(
        &self,
        lanes: L,
        query: usize,
        vector: usize,
    ) {
        // SAFETY: granted by the caller of `run`; `query + ROWS` is at most 32.
        unsafe {
            let at = |row: usize, v: usize| (query + row) * KEYS + (vector + v) * LANES;
            let queries = self.queries.add(query / LANES * LANES * Self::PLACES + query % LANES);
            let starts = self.log_sums.add(query);
            let scores = self
                .products::<L, ROWS, VECTORS>(lanes, starts, self.keys, vector, queries, 1, LANES);
            for row in 0..ROWS {
                for v in 0..VECTORS {
                    let mut score = scores[row][v];
                    if self.diagonal {
                        let seen =
                            lanes.splat((query + row + 1) as f32 - ((vector + v) * LANES) as f32);
                        let none = lanes.splat(f32::NEG_INFINITY);
                        score = lanes.select_greater(seen, numbered(lanes), score, none);
                    }
                    lanes.store(self.powers.add(at(row, v)), exp2(lanes, score));
                }
            }
            let upstream = self.upstream.add(query * Self::PLACES);
            let starts = self.deltas.add(query);
            let slopes = self.products::<L, ROWS, VECTORS>(
                lanes,
                starts,
                self.values,
                vector,
                upstream,
                Self::PLACES,
                1,
            );
            for row in 0..ROWS {
                for v in 0..VECTORS {
                    let power = lanes.load(self.powers.add(at(row, v)));
                    lanes.store(self.gradients.add(at(row, v)), lanes.mul(power, slopes[row][v]));
                }
            }
        }
    }

    /// Products over D of `ROWS` rows, with the given strides, and vectors of [block of 16, D, 16], each from its
    /// row's start.
    #[allow(clippy::too_many_arguments)] // Two strided matrices and their starts.
    #[inline(always)]
    unsafe fn products<L: Lanes, const ROWS: usize, const VECTORS: usize>(
        &self,
        lanes: L,
        starts: *const f32,
        columns: *const f32,
        vector: usize,
        rows: *const f32,
        row_stride: usize,
        stride: usize,
    ) -> [[L::Vector; VECTORS]; ROWS] {
        let mut sums = [[lanes.zero(); VECTORS]; ROWS];
        // SAFETY: granted by the caller of `run`.
        unsafe {
            for row in 0..ROWS {
                sums[row] = [lanes.splat(*starts.add(row)); VECTORS];
            }
            for d in 0..Self::PLACES {
                let mut column = [lanes.zero(); VECTORS];
                for v in 0..VECTORS {
                    column[v] = lanes.load(columns.add(((vector + v) * Self::PLACES + d) * LANES));
                }
                for row in 0..ROWS {
                    let factor = lanes.splat(*rows.add(row * row_stride + d * stride));
                    for v in 0..VECTORS {
                        sums[row][v] = N::fma(lanes, factor, column[v], sums[row][v]);
                    }
                }
            }
        }
        sums
    }

    /// Adds upstream·probability over the queries to `DIMS` dimensions of the values' gradients.
    #[inline(always)]
    unsafe fn value_tile<L: Lanes, const DIMS: usize, const VECTORS: usize>(
        &self,
        lanes: L,
        d: usize,
        vector: usize,
    ) {
        // SAFETY: granted by the caller of `run`; `d + DIMS` is at most D.
        unsafe {
            let to = self.value_sums.add(d * KEYS + vector * LANES);
            let mut sums = load_tile::<L, DIMS, VECTORS>(lanes, to, KEYS);
            let [powers, _, _] = self.factors();
            for query in 0..QUERIES / N::IN_PLACE {
                let factors = self.upstream_rows.add(query * D + d);
                let powers = powers.add(query * KEYS + vector * LANES);
                add_outer::<L, N, DIMS, VECTORS>(lanes, factors, 1, powers, &mut sums);
            }
            store_tile::<L, DIMS, VECTORS>(lanes, &sums, to, KEYS);
        }
    }

    /// Adds query·gradient over the queries to `DIMS` dimensions of the keys' gradients.
    #[inline(always)]
    unsafe fn key_tile<L: Lanes, const DIMS: usize, const VECTORS: usize>(
        &self,
        lanes: L,
        d: usize,
        vector: usize,
    ) {
        // SAFETY: granted by the caller of `run`; `d + DIMS` is at most D.
        unsafe {
            let to = self.key_sums.add(d * KEYS + vector * LANES);
            let mut sums = load_tile::<L, DIMS, VECTORS>(lanes, to, KEYS);
            let [_, gradients, _] = self.factors();
            for query in 0..QUERIES / N::IN_PLACE {
                let factors = self.query_rows.add(query * D + d);
                let gradients = gradients.add(query * KEYS + vector * LANES);
                add_outer::<L, N, DIMS, VECTORS>(lanes, factors, 1, gradients, &mut sums);
            }
            store_tile::<L, DIMS, VECTORS>(lanes, &sums, to, KEYS);
        }
    }

    /// Adds gradient·key over the keys to `VECTORS` vectors of `ROWS` queries' gradients.
    #[inline(always)]
    unsafe fn query_tile<L: Lanes, const ROWS: usize, const VECTORS: usize>(
        &self,
        lanes: L,
        query: usize,
        d: usize,
    ) {
        // SAFETY: granted by the caller of `run`; `query + ROWS` is at most 32, and d's vectors are inside D.
        unsafe {
            let to = self.query_gradients.add(query * D + d);
            let mut sums = load_tile::<L, ROWS, VECTORS>(lanes, to, D);
            let [_, _, gradients] = self.factors();
            let places = KEYS / N::IN_PLACE;
            for key in 0..places {
                let factors = gradients.add(query * places + key);
                let rows = self.key_rows.add(key * D + d);
                add_outer::<L, N, ROWS, VECTORS>(lanes, factors, places, rows, &mut sums);
            }
            store_tile::<L, ROWS, VECTORS>(lanes, &sums, to, D);
        }
    }
}

/// Loads a register tile whose rows are `stride` apart.
#[inline(always)]
unsafe fn load_tile<L: Lanes, const ROWS: usize, const VECTORS: usize>(
    lanes: L,
    from: *const f32,
    stride: usize,
) -> [[L::Vector; VECTORS]; ROWS] {
    let mut tile = [[lanes.zero(); VECTORS]; ROWS];
    for row in 0..ROWS {
        for v in 0..VECTORS {
            // SAFETY: granted by the caller.
            tile[row][v] = unsafe { lanes.load(from.add(row * stride + v * LANES)) };
        }
    }
    tile
}

/// Stores a register tile whose rows are `stride` apart.
#[inline(always)]
unsafe fn store_tile<L: Lanes, const ROWS: usize, const VECTORS: usize>(
    lanes: L,
    tile: &[[L::Vector; VECTORS]; ROWS],
    to: *mut f32,
    stride: usize,
) {
    for row in 0..ROWS {
        for v in 0..VECTORS {
            // SAFETY: granted by the caller.
            unsafe { lanes.store(to.add(row * stride + v * LANES), tile[row][v]) };
        }
    }
}

/// tile\[row\] += factors[row·stride]·vectors.
#[inline(always)]
unsafe fn add_outer<L: Lanes, N: Numbers, const ROWS: usize, const VECTORS: usize>(
    lanes: L,
    factors: *const f32,
    stride: usize,
    vectors: *const f32,
    tile: &mut [[L::Vector; VECTORS]; ROWS],
) {
    // SAFETY: granted by the caller.
    unsafe {
        let mut columns = [lanes.zero(); VECTORS];
        for v in 0..VECTORS {
            columns[v] = lanes.load(vectors.add(v * LANES));
        }
        for row in 0..ROWS {
            let factor = lanes.splat(*factors.add(row * stride));
            for v in 0..VECTORS {
                tile[row][v] = N::fma(lanes, factor, columns[v], tile[row][v]);
            }
        }
    }
}
