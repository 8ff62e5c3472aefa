//! The gradient of attention: scores are computed again, sixteen keys side by side in the lanes.
//!
//! A head of a sequence is one task. It goes through the keys in blocks of 32 and, for each, through the queries
//! that see them; so the gradients of keys and values are chains over queries in index order, and those of queries
//! are chains over keys in index order, whatever the threads.

use super::super::aligned::with_scratch;
use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level;
use super::super::math::{LN_2, exp2};
use super::super::parallel::{self, Shared};
use super::forward::numbered;
use super::prepare;
use super::rotary::{self, Rotary};
use super::{AttentionShape, query_scale, with_head_dim};

/// Keys of a block: two vectors.
const KEYS: usize = 2 * LANES;
/// Queries of a tile.
const QUERIES: usize = 32;

/// dqkv, and dgain [heads] where there is a gain, for what `attention` was given and gave, and upstream dout.
#[allow(clippy::too_many_arguments)] // What the operation has.
pub fn attention_backward(
    shape: AttentionShape,
    qkv: &[f32],
    gain: Option<&[f32]>,
    out: &[f32],
    log_sum: &[f32],
    dout: &[f32],
    dqkv: &mut [f32],
    dgain: Option<&mut [f32]>,
) {
    shape.check(qkv.len(), out.len(), gain);
    shape.check(dqkv.len(), dout.len(), dgain.as_deref());
    assert_eq!(log_sum.len(), shape.batch * shape.heads * shape.time, "log_sum of {shape:?}");
    let level = level::current();
    let rotary = rotary::table(shape.head_dim, shape.first_position + shape.time + LANES);
    let mut gains = vec![0.0; shape.batch * shape.heads];
    let (dqkv, shared_gains) = (Shared::new(dqkv), Shared::new(&mut gains));
    parallel::for_each(shape.batch * shape.heads, 5 * shape.work(), |task| {
        let (batch, head) = (task / shape.heads, task % shape.heads);
        let rotary = &*rotary;
        let call = Call { shape, qkv, gain, out, log_sum, dout, dqkv, rotary, batch, head };
        let time = shape.time.next_multiple_of(KEYS);
        let (size, tile, sums) = (time * shape.head_dim, QUERIES * KEYS, shape.head_dim * KEYS);
        let lengths = [size, size, size, size, size, size, time, time, tile, tile, sums, sums];
        let value = with_scratch(lengths, |scratch| {
            let scratch = Scratch::new(scratch);
            with_head_dim!(shape.head_dim, D => dispatch(level, Backward::<'_, D>(call, scratch)))
        });
        // SAFETY: each task writes its own place.
        unsafe { shared_gains.write(task, value) };
    });
    if let Some(dgain) = dgain {
        dgain.fill(0.0);
        for row in gains.chunks_exact(shape.heads) {
            dgain.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    }
}

/// One head of one sequence.
struct Call<'a> {
    shape: AttentionShape,
    qkv: &'a [f32],
    gain: Option<&'a [f32]>,
    out: &'a [f32],
    log_sum: &'a [f32],
    dout: &'a [f32],
    dqkv: Shared,
    rotary: &'a Rotary,
    batch: usize,
    head: usize,
}

/// The same, for a head dimension, with scratch.
///
/// The scratch is fetched outside, for a closure inside would not be compiled with the level's instructions.
struct Backward<'a, const D: usize>(Call<'a>, Scratch<'a>);

/// The scratch of a head: `time` is rounded up to whole tiles, and rows behind the end are zero.
struct Scratch<'s> {
    /// Queries, normed, scaled and rotated: [block of 16, D, 16].
    queries: &'s mut [f32],
    /// Keys, normed and rotated: [block of 16, D, 16].
    keys: &'s mut [f32],
    /// The same keys as [time, D].
    key_rows: &'s mut [f32],
    /// Values: [block of 16, D, 16].
    values: &'s mut [f32],
    /// Upstream: [time, D].
    upstream: &'s mut [f32],
    /// Gradients of the queries: [time, D].
    query_gradients: &'s mut [f32],
    /// [time].
    log_sums: &'s mut [f32],
    /// Upstream·output of each row: [time].
    deltas: &'s mut [f32],
    /// Probabilities of a tile: [32 queries, 32 keys].
    powers: &'s mut [f32],
    /// Gradients of a tile's scores: [32 queries, 32 keys].
    gradients: &'s mut [f32],
    /// Gradients of a block's keys: [D, 32].
    key_sums: &'s mut [f32],
    /// Gradients of a block's values: [D, 32].
    value_sums: &'s mut [f32],
}

impl<'s> Scratch<'s> {
    /// Names the parts.
    fn new(parts: [&'s mut [f32]; 12]) -> Self {
        let [
            queries,
            keys,
            key_rows,
            values,
            upstream,
            query_gradients,
            log_sums,
            deltas,
            powers,
            gradients,
            key_sums,
            value_sums,
        ] = parts;
        Scratch {
            queries,
            keys,
            key_rows,
            values,
            upstream,
            query_gradients,
            log_sums,
            deltas,
            powers,
            gradients,
            key_sums,
            value_sums,
        }
    }
}

impl<const D: usize> Kernel for Backward<'_, D> {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f32 {
        let Backward(call, mut scratch) = self;
        let time = call.shape.time.next_multiple_of(KEYS);
        for first in (0..time).step_by(LANES) {
            call.prepare::<L, D>(lanes, first, &mut scratch);
        }
        for first in (0..time).step_by(KEYS) {
            scratch.key_sums.fill(0.0);
            scratch.value_sums.fill(0.0);
            for query in (first..time).step_by(QUERIES) {
                // SAFETY: the scratch holds `time` rows, a whole number of tiles, all written by `prepare`.
                unsafe { Tile::<D>::new(&mut scratch, first, query).run(lanes) };
            }
            call.finish_keys::<L, D>(lanes, first, scratch.key_sums, scratch.value_sums);
        }
        call.finish_queries::<L, D>(lanes, scratch.query_gradients)
    }
}

impl Call<'_> {
    /// How many of the 16 rows from `first` on are there.
    #[inline(always)]
    fn rows(&self, first: usize) -> usize {
        self.shape.time.saturating_sub(first).min(LANES)
    }

    /// Where the head's q of token `first` lies in qkv.
    #[inline(always)]
    fn offset(&self, first: usize, head_dim: usize) -> usize {
        let call = self;
        (call.batch * call.shape.time + first) * 3 * call.shape.width() + call.head * head_dim
    }

    /// The gain, and what q is multiplied by in all.
    #[inline(always)]
    fn query_factor(&self, head_dim: usize) -> f32 {
        self.gain.map_or(1.0, |gain| gain[self.head]) * query_scale(head_dim)
    }

    /// Sixteen rows of q (part 0), k (1) or v (2).
    #[inline(always)]
    fn load<L: Lanes, const D: usize>(
        &self,
        lanes: L,
        first: usize,
        part: usize,
    ) -> prepare::Columns<L, D> {
        let width = self.shape.width();
        let from = self.qkv.as_ptr().wrapping_add(self.offset(first, D) + part * width);
        // SAFETY: `rows` tokens from `first` on lie in qkv, a stride of 3·width apart.
        unsafe { prepare::load_rows::<L, D>(lanes, from, 3 * width, self.rows(first)) }
    }

    /// Writes sixteen rows of the gradient of q (part 0), k (1) or v (2).
    #[inline(always)]
    fn store<L: Lanes, const D: usize>(
        &self,
        lanes: L,
        first: usize,
        part: usize,
        columns: &prepare::Columns<L, D>,
    ) {
        let width = self.shape.width();
        let to = self.dqkv.pointer().wrapping_add(self.offset(first, D) + part * width);
        // SAFETY: as for `load`; only this task writes this head of this sequence.
        unsafe { prepare::store_rows(lanes, columns, to, 3 * width, self.rows(first)) };
    }

    /// Fills the scratch for sixteen tokens.
    #[inline(always)]
    fn prepare<L: Lanes, const D: usize>(&self, lanes: L, first: usize, scratch: &mut Scratch<'_>) {
        let call = self;
        let (norm, size) = (call.gain.is_some(), first * D..(first + LANES) * D);
        let mut buffer = [0.0; 128 * LANES];
        let table = call.rotary.consecutive(call.shape.first_position + first, &mut buffer);
        let angles = |row: usize| lanes.load_slice(&table[row * LANES..], 0.0);
        let q = self.load::<L, D>(lanes, first, 0);
        let q = prepare::forward(lanes, &q, norm, lanes.splat(self.query_factor(D)), angles);
        prepare::store_columns(lanes, &q, &mut scratch.queries[size.clone()]);
        let k = self.load::<L, D>(lanes, first, 1);
        let k = prepare::forward(lanes, &k, norm, lanes.splat(1.0), angles);
        prepare::store_columns(lanes, &k, &mut scratch.keys[size.clone()]);
        let rows = scratch.key_rows[size.clone()].as_mut_ptr();
        // SAFETY: the slice holds sixteen rows of D.
        unsafe { prepare::store_rows(lanes, &k, rows, D, LANES) };
        let v = self.load::<L, D>(lanes, first, 2);
        prepare::store_columns(lanes, &v, &mut scratch.values[size.clone()]);
        scratch.query_gradients[size].fill(0.0);
        let width = call.shape.width();
        for row in 0..LANES {
            let token = first + row;
            let upstream = &mut scratch.upstream[token * D..][..D];
            upstream.fill(0.0);
            (scratch.log_sums[token], scratch.deltas[token]) = (0.0, 0.0);
            if token < call.shape.time {
                let from = (call.batch * call.shape.time + token) * width + call.head * D;
                upstream.copy_from_slice(&call.dout[from..][..D]);
                let sums = (call.batch * call.shape.heads + call.head) * call.shape.time;
                scratch.log_sums[token] = call.log_sum[sums + token];
                scratch.deltas[token] = dot(lanes, upstream, &call.out[from..][..D]);
            }
        }
    }

    /// Writes the gradients of 32 keys and values from the sums of their block.
    #[inline(always)]
    fn finish_keys<L: Lanes, const D: usize>(
        &self,
        lanes: L,
        first: usize,
        key_sums: &[f32],
        value_sums: &[f32],
    ) {
        let call = self;
        let mut buffer = [0.0; 128 * LANES];
        for half in 0..2 {
            let token = first + half * LANES;
            let table = call.rotary.consecutive(call.shape.first_position + token, &mut buffer);
            let angles = |row: usize| lanes.load_slice(&table[row * LANES..], 0.0);
            let columns = |sums: &[f32], factor: f32| -> prepare::Columns<L, D> {
                std::array::from_fn(|d| {
                    let sum = lanes.load_slice(&sums[d * KEYS + half * LANES..], 0.0);
                    lanes.mul(sum, lanes.splat(factor))
                })
            };
            self.store(lanes, token, 2, &columns(value_sums, 1.0));
            // The queries hold log₂e, which ln 2 takes out again.
            let dk = columns(key_sums, LN_2);
            let k = self.load::<L, D>(lanes, token, 1);
            let (dk, _) = prepare::backward(lanes, &k, &dk, call.gain.is_some(), 1.0, angles);
            self.store(lanes, token, 1, &dk);
        }
    }

    /// Writes the gradients of the queries and gives that of the gain.
    #[inline(always)]
    fn finish_queries<L: Lanes, const D: usize>(&self, lanes: L, query_gradients: &[f32]) -> f32 {
        let call = self;
        let mut buffer = [0.0; 128 * LANES];
        let mut gain = lanes.zero();
        for first in (0..call.shape.time).step_by(LANES) {
            let table = call.rotary.consecutive(call.shape.first_position + first, &mut buffer);
            let angles = |row: usize| lanes.load_slice(&table[row * LANES..], 0.0);
            let rows = query_gradients[first * D..].as_ptr();
            // SAFETY: the scratch holds whole blocks of sixteen rows of D.
            let dq = unsafe { prepare::load_rows::<L, D>(lanes, rows, D, LANES) };
            let dq = dq.map(|dq| lanes.mul(dq, lanes.splat(LN_2)));
            let q = self.load::<L, D>(lanes, first, 0);
            let norm = call.gain.is_some();
            let (dq, along) = prepare::backward(lanes, &q, &dq, norm, self.query_factor(D), angles);
            gain = lanes.fma(along, lanes.splat(query_scale(D)), gain);
            self.store(lanes, first, 0, &dq);
        }
        lanes.sum(gain)
    }
}

/// Σ a·b of two rows: 16 lanes, then the tree.
#[inline(always)]
fn dot<L: Lanes>(lanes: L, a: &[f32], b: &[f32]) -> f32 {
    let parts = a.chunks_exact(LANES).zip(b.chunks_exact(LANES));
    let total = parts.fold(lanes.zero(), |total, (a, b)| {
        lanes.fma(lanes.load_slice(a, 0.0), lanes.load_slice(b, 0.0), total)
    });
    lanes.sum(total)
}

/// 32 queries against 32 keys; the fields as in `Scratch`, from the tile's first row on.
struct Tile<const D: usize> {
    queries: *const f32,
    keys: *const f32,
    key_rows: *const f32,
    values: *const f32,
    upstream: *const f32,
    query_gradients: *mut f32,
    log_sums: *const f32,
    deltas: *const f32,
    /// Probabilities: [32 queries, 32 keys].
    powers: *mut f32,
    /// Gradients of the scores: [32 queries, 32 keys].
    gradients: *mut f32,
    /// Gradients of the keys: [D, 32].
    key_sums: *mut f32,
    /// Gradients of the values: [D, 32].
    value_sums: *mut f32,
    /// Whether the queries and the keys are the same tokens, so that some keys are masked.
    diagonal: bool,
}

impl<const D: usize> Tile<D> {
    /// The tile of the queries from `query` on and the keys from `key` on.
    #[inline(always)]
    fn new(scratch: &mut Scratch<'_>, key: usize, query: usize) -> Self {
        Tile {
            queries: scratch.queries[query * D..].as_ptr(),
            keys: scratch.keys[key * D..].as_ptr(),
            key_rows: scratch.key_rows[key * D..].as_ptr(),
            values: scratch.values[key * D..].as_ptr(),
            upstream: scratch.upstream[query * D..].as_ptr(),
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
    unsafe fn run<L: Lanes>(&self, lanes: L) {
        // SAFETY: granted by the caller.
        unsafe {
            if L::WIDE {
                for query in (0..QUERIES).step_by(8) {
                    self.score_tile::<L, 8, 2>(lanes, query, 0);
                }
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
            let queries = self.queries.add(query / LANES * LANES * D + query % LANES);
            let scores =
                self.products::<L, ROWS, VECTORS>(lanes, self.keys, vector, queries, 1, LANES);
            for row in 0..ROWS {
                let log_sum = lanes.splat(*self.log_sums.add(query + row));
                for v in 0..VECTORS {
                    let mut score = scores[row][v];
                    if self.diagonal {
                        let seen =
                            lanes.splat((query + row + 1) as f32 - ((vector + v) * LANES) as f32);
                        let none = lanes.splat(f32::NEG_INFINITY);
                        score = lanes.select_greater(seen, numbered(lanes), score, none);
                    }
                    let power = exp2(lanes, lanes.sub(score, log_sum));
                    lanes.store(self.powers.add(at(row, v)), power);
                }
            }
            let upstream = self.upstream.add(query * D);
            let slopes =
                self.products::<L, ROWS, VECTORS>(lanes, self.values, vector, upstream, D, 1);
            for row in 0..ROWS {
                let delta = lanes.splat(*self.deltas.add(query + row));
                for v in 0..VECTORS {
                    let power = lanes.load(self.powers.add(at(row, v)));
                    let gradient = lanes.mul(power, lanes.sub(slopes[row][v], delta));
                    lanes.store(self.gradients.add(at(row, v)), gradient);
                }
            }
        }
    }

    /// Products over D of `ROWS` rows, with the given strides, and vectors of [block of 16, D, 16].
    #[inline(always)]
    unsafe fn products<L: Lanes, const ROWS: usize, const VECTORS: usize>(
        &self,
        lanes: L,
        columns: *const f32,
        vector: usize,
        rows: *const f32,
        row_stride: usize,
        stride: usize,
    ) -> [[L::Vector; VECTORS]; ROWS] {
        let mut sums = [[lanes.zero(); VECTORS]; ROWS];
        // SAFETY: granted by the caller of `run`.
        unsafe {
            for d in 0..D {
                let mut column = [lanes.zero(); VECTORS];
                for v in 0..VECTORS {
                    column[v] = lanes.load(columns.add(((vector + v) * D + d) * LANES));
                }
                for row in 0..ROWS {
                    let factor = lanes.splat(*rows.add(row * row_stride + d * stride));
                    for v in 0..VECTORS {
                        sums[row][v] = lanes.fma(factor, column[v], sums[row][v]);
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
            for query in 0..QUERIES {
                let factors = self.upstream.add(query * D + d);
                let powers = self.powers.add(query * KEYS + vector * LANES);
                add_outer::<L, DIMS, VECTORS>(lanes, factors, 1, powers, &mut sums);
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
            for block in 0..QUERIES / LANES {
                for lane in 0..LANES {
                    let query = block * LANES + lane;
                    let factors = self.queries.add((block * D + d) * LANES + lane);
                    let gradients = self.gradients.add(query * KEYS + vector * LANES);
                    add_outer::<L, DIMS, VECTORS>(lanes, factors, LANES, gradients, &mut sums);
                }
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
            for key in 0..KEYS {
                let factors = self.gradients.add(query * KEYS + key);
                let rows = self.key_rows.add(key * D + d);
                add_outer::<L, ROWS, VECTORS>(lanes, factors, KEYS, rows, &mut sums);
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

/// tile[row] += factors[row·stride]·vectors.
#[inline(always)]
unsafe fn add_outer<L: Lanes, const ROWS: usize, const VECTORS: usize>(
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
                tile[row][v] = lanes.fma(factor, columns[v], tile[row][v]);
            }
        }
    }
}
