//! The whole-chunk pass: sixteen queries side by side in the lanes, 32 at a time against blocks of 64 keys.

use super::super::aligned::with_scratch;
use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level;
use super::super::math::{LOG2_E, exp2, ln};
use super::super::parallel::{self, Shared};
use super::prepare;
use super::rotary::{self, Rotary};
use super::{AttentionShape, KEY_BLOCK, query_scale, with_head_dim};

/// Queries of a tile: two vectors.
const QUERIES: usize = 2 * LANES;

/// out [batch, time, width] for qkv [batch, time, 3·width]: q, k and v, each [heads, head_dim].
///
/// With `gain` [heads], queries and keys are normed and queries multiplied by their head's gain. `log_sum`
/// [batch, heads, time] keeps the base-2 logarithm of each soft-max's sum for `attention_backward`.
pub fn attention(
    shape: AttentionShape,
    qkv: &[f32],
    gain: Option<&[f32]>,
    out: &mut [f32],
    log_sum: Option<&mut [f32]>,
) {
    shape.check(qkv.len(), out.len(), gain);
    assert!(log_sum.as_ref().is_none_or(|s| s.len() == shape.batch * shape.heads * shape.time));
    let level = level::current();
    let rotary = rotary::table(shape.head_dim, shape.first_position + shape.time + LANES);
    let (out, log_sum) = (Shared::new(out), log_sum.map(Shared::new));
    parallel::for_each(shape.batch * shape.heads, 2 * shape.work(), |task| {
        let (batch, head) = (task / shape.heads, task % shape.heads);
        let rotary = &*rotary;
        let call = Call { shape, qkv, gain, rotary, out, log_sum, batch, head };
        let time = shape.time.next_multiple_of(QUERIES);
        let size = time * shape.head_dim;
        let lengths = [size, size, size, KEY_BLOCK * QUERIES, shape.head_dim * QUERIES];
        with_scratch(lengths, |scratch| {
            with_head_dim!(shape.head_dim, D => dispatch(level, Forward::<'_, D>(call, scratch)));
        });
    });
}

/// One head of one sequence.
struct Call<'a> {
    shape: AttentionShape,
    qkv: &'a [f32],
    gain: Option<&'a [f32]>,
    rotary: &'a Rotary,
    out: Shared,
    log_sum: Option<Shared>,
    batch: usize,
    head: usize,
}

/// The same, for a head dimension, with scratch: queries, keys, values, powers and sums.
///
/// The scratch is fetched outside, for a closure inside would not be compiled with the level's instructions.
struct Forward<'a, const D: usize>(Call<'a>, [&'a mut [f32]; 5]);

impl<const D: usize> Kernel for Forward<'_, D> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Forward(call, [queries, keys, values, powers, sums]) = self;
        let time = call.shape.time.next_multiple_of(QUERIES);
        call.prepare::<L, D>(lanes, queries, keys, values);
        for first in (0..time).step_by(QUERIES) {
            let tile = Tile::<D> {
                queries: queries[first * D..].as_ptr(),
                keys: keys.as_ptr(),
                values: values.as_ptr(),
                powers: powers.as_mut_ptr(),
                sums: sums.as_mut_ptr(),
                first,
            };
            // SAFETY: the scratch holds `time` rows, a whole number of tiles, all written by `prepare`.
            let (top, total) = unsafe { tile.attend(lanes) };
            call.finish::<L, D>(lanes, first, sums, top, total);
        }
    }
}

impl Call<'_> {
    /// Queries and keys normed and rotated as [block of 16, D, 16], values as [time, D]; zeros behind the end.
    #[inline(always)]
    fn prepare<L: Lanes, const D: usize>(
        &self,
        lanes: L,
        queries: &mut [f32],
        keys: &mut [f32],
        values: &mut [f32],
    ) {
        let call = self;
        let (time, width) = (call.shape.time, call.shape.width());
        let start = call.batch * time * 3 * width + call.head * D;
        let (norm, gain) = (call.gain.is_some(), call.gain.map_or(1.0, |gain| gain[call.head]));
        let scale = lanes.splat(gain * query_scale(D));
        let mut buffer = vec![0.0; D * LANES];
        let blocks = queries.chunks_exact_mut(D * LANES).zip(keys.chunks_exact_mut(D * LANES));
        for (block, (queries, keys)) in blocks.enumerate() {
            let first = block * LANES;
            let rows = time.saturating_sub(first).min(LANES);
            let table = call.rotary.consecutive(call.shape.first_position + first, &mut buffer);
            let angles = |row: usize| lanes.load_slice(&table[row * LANES..], 0.0);
            let from = &call.qkv[(start + first * 3 * width).min(call.qkv.len())..];
            let values = &mut values[first * D..][..LANES * D];
            // SAFETY: `rows` tokens lie behind `from`, whose stride is 3·width; k and v follow q by a width each.
            unsafe {
                let q = prepare::load_rows::<L, D>(lanes, from.as_ptr(), 3 * width, rows);
                let q = prepare::forward(lanes, &q, norm, scale, angles);
                prepare::store_columns(lanes, &q, queries);
                let k = from.as_ptr().wrapping_add(width);
                let k = prepare::load_rows::<L, D>(lanes, k, 3 * width, rows);
                let k = prepare::forward(lanes, &k, norm, lanes.splat(1.0), angles);
                prepare::store_columns(lanes, &k, keys);
            }
            for (row, value) in values.chunks_exact_mut(D).enumerate() {
                if row < rows {
                    value.copy_from_slice(&from[row * 3 * width + 2 * width..][..D]);
                } else {
                    value.fill(0.0);
                }
            }
        }
    }

    /// Divides a tile's sums [D, 32] by the totals and writes the rows that are there.
    #[inline(always)]
    fn finish<L: Lanes, const D: usize>(
        &self,
        lanes: L,
        first: usize,
        sums: &[f32],
        top: [L::Vector; 2],
        total: [L::Vector; 2],
    ) {
        let call = self;
        let (time, width) = (call.shape.time, call.shape.width());
        for half in 0..2 {
            let first = first + half * LANES;
            let rows = time.saturating_sub(first).min(LANES);
            let inverse = lanes.div(lanes.splat(1.0), total[half]);
            let mut columns = [lanes.zero(); D];
            for (d, column) in columns.iter_mut().enumerate() {
                let sum = lanes.load_slice(&sums[d * QUERIES + half * LANES..], 0.0);
                // Adding 0 makes −0 into 0: masked keys may have changed the sign of a zero.
                *column = lanes.fma(sum, inverse, lanes.zero());
            }
            let to = (call.batch * time + first) * width + call.head * D;
            // SAFETY: the rows are inside out, and only this task writes this head's columns.
            unsafe {
                let to = call.out.pointer().wrapping_add(to);
                prepare::store_rows(lanes, &columns, to, width, rows);
            }
            if let Some(log_sum) = call.log_sum {
                let (top, total) = (lanes.array(top[half]), lanes.array(total[half]));
                let to = (call.batch * call.shape.heads + call.head) * time + first;
                for row in 0..rows {
                    let value = ln(total[row]).mul_add(LOG2_E, top[row]);
                    // SAFETY: the row is inside log_sum, and only this task writes this head's.
                    unsafe { log_sum.write(to + row, value) };
                }
            }
        }
    }
}

/// 32 queries from `first` on, against all the keys they see.
struct Tile<const D: usize> {
    /// [2 blocks, D, 16].
    queries: *const f32,
    /// [blocks, D, 16].
    keys: *const f32,
    /// [time, D].
    values: *const f32,
    /// Scores, then powers, of a block of keys: [64, 32].
    powers: *mut f32,
    /// The output before it is divided by its total: [D, 32].
    sums: *mut f32,
    first: usize,
}

impl<const D: usize> Tile<D> {
    /// Leaves the sums, and gives the maximum and total of each query.
    ///
    /// # Safety
    /// The pointers must be good for the shapes stated, with all keys before `first + 32`.
    #[inline(always)]
    unsafe fn attend<L: Lanes>(&self, lanes: L) -> ([L::Vector; 2], [L::Vector; 2]) {
        // SAFETY: granted by the caller.
        unsafe {
            for i in 0..D * 2 {
                lanes.store(self.sums.add(i * LANES), lanes.zero());
            }
            let mut top = [lanes.splat(f32::NEG_INFINITY); 2];
            let mut total = [lanes.zero(); 2];
            let end = self.first + QUERIES;
            for key in (0..end).step_by(KEY_BLOCK) {
                let count = KEY_BLOCK.min(end - key);
                let mut raised = top;
                for part in (0..count).step_by(LANES) {
                    self.scores(lanes, key + part, part, &mut raised);
                }
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
            let keys = self.keys.add(key * D + offset);
            let queries = self.queries.add(vector * D * LANES);
            let mut scores = [[lanes.zero(); VECTORS]; KEYS];
            for d in 0..D {
                let mut query = [lanes.zero(); VECTORS];
                for v in 0..VECTORS {
                    query[v] = lanes.load(queries.add((v * D + d) * LANES));
                }
                for k in 0..KEYS {
                    let factor = lanes.splat(*keys.add(d * LANES + k));
                    for v in 0..VECTORS {
                        scores[k][v] = lanes.fma(factor, query[v], scores[k][v]);
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
            for d in 0..D {
                // SAFETY: granted by the caller of `attend`.
                unsafe {
                    let sum = self.sums.add(d * QUERIES + v * LANES);
                    lanes.store(sum, lanes.mul(lanes.load(sum), factor));
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
            let mut tree = [lanes.zero(); 8];
            for (k, branch) in tree.iter_mut().enumerate() {
                // SAFETY: granted by the caller of `attend`.
                unsafe {
                    let low = self.powers.add((part + k) * QUERIES + v * LANES);
                    let high = low.add(8 * QUERIES);
                    let low_power = exp2(lanes, lanes.sub(lanes.load(low), top[v]));
                    let high_power = exp2(lanes, lanes.sub(lanes.load(high), top[v]));
                    lanes.store(low, low_power);
                    lanes.store(high, high_power);
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
                for d in (0..D).step_by(8) {
                    self.value_tile::<L, 8, 2>(lanes, key, count, d, 0);
                }
            } else {
                for d in (0..D).step_by(4) {
                    self.value_tile::<L, 4, 1>(lanes, key, count, d, 0);
                    self.value_tile::<L, 4, 1>(lanes, key, count, d, 1);
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
        d: usize,
        vector: usize,
    ) {
        // SAFETY: granted by the caller of `attend`; `d + DIMS` is at most D.
        unsafe {
            let to = self.sums.add(d * QUERIES + vector * LANES);
            let mut sums = [[lanes.zero(); VECTORS]; DIMS];
            for i in 0..DIMS {
                for v in 0..VECTORS {
                    sums[i][v] = lanes.load(to.add(i * QUERIES + v * LANES));
                }
            }
            let mut values = self.values.add(key * D + d);
            let mut powers = self.powers.cast_const().add(vector * LANES);
            for _ in 0..count {
                let mut power = [lanes.zero(); VECTORS];
                for v in 0..VECTORS {
                    power[v] = lanes.load(powers.add(v * LANES));
                }
                for i in 0..DIMS {
                    let factor = lanes.splat(*values.add(i));
                    for v in 0..VECTORS {
                        sums[i][v] = lanes.fma(factor, power[v], sums[i][v]);
                    }
                }
                values = values.add(D);
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
fn mask<L: Lanes>(lanes: L, key: usize, query: usize, scores: L::Vector) -> L::Vector {
    // Small whole numbers: exact in `f32`.
    let ahead = lanes.splat(key as f32 - query as f32);
    lanes.select_greater(ahead, numbered(lanes), lanes.splat(f32::NEG_INFINITY), scores)
}

/// Lane i holds i.
#[inline(always)]
pub(super) fn numbered<L: Lanes>(lanes: L) -> L::Vector {
    lanes.vector(&std::array::from_fn(|i| i as f32))
}
