//! The gradient of attention: scores are recomputed, with sixteen keys side by side in the lanes.
//!
//! Each head of each sequence is one task. It goes through the keys in blocks of 32 and, for each block, through the
//! queries that see it. So the gradients of keys and values are sums over queries in index order, and those of queries
//! are sums over keys in index order, with any number of threads.

use super::super::aligned::with_scratch;
use super::super::factors::{Factors, Numbers, Pairs, Singles, pair_row};
use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level;
use super::super::math::LN_2;
use super::super::parallel::{self, Shared};
use super::backward_tile::{KEYS, QUERIES, Scratch, Tile};
use super::prepare;
use super::rotary::{self, Rotary};
use super::{AttentionShape, query_scale, with_factors, with_head_dim};
use std::marker::PhantomData;

/// dqkv, and dgain \[heads\] where there is a gain, for what `attention` was given and gave, and upstream dout.
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
    let rotary = rotary::table([shape.head_dim, shape.rotated], shape.time + LANES);
    let mut gains = vec![0.0; shape.batch * shape.heads];
    let (dqkv, shared_gains) = (Shared::new(dqkv), Shared::new(&mut gains));
    parallel::for_each(shape.batch * shape.heads, 5 * shape.work(), |task| {
        let (batch, head) = (task / shape.heads, task % shape.heads);
        let rotary = &*rotary;
        let call = Call { shape, qkv, gain, out, log_sum, dout, dqkv, rotary, batch, head };
        let time = shape.time.next_multiple_of(KEYS);
        let (all, tile, sums) = (time * shape.head_dim, QUERIES * KEYS, shape.head_dim * KEYS);
        let (size, pairs) = match shape.factors {
            Factors::Single => (all, [0, 0]),
            Factors::Bfloat => (all / 2, [all / 2, 3 * tile / 2]),
        };
        let [upstream, tiles] = pairs;
        let lengths = [
            size, size, size, size, size, size, upstream, all, time, time, tile, tile, tiles, sums,
            sums,
        ];
        let value = with_scratch(lengths, |scratch| {
            let scratch = Scratch::new(scratch);
            with_factors!(shape, N, D => {
                dispatch(level, Backward::<'_, N, D>(call, scratch, PhantomData))
            })
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
struct Backward<'a, N, const D: usize>(Call<'a>, Scratch<'a>, PhantomData<N>);

impl<N: Numbers, const D: usize> Kernel for Backward<'_, N, D> {
    type Output = f32;
    const PAIRS: bool = N::IN_PLACE == 2;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f32 {
        let Backward(call, mut scratch, _) = self;
        let time = call.shape.time.next_multiple_of(KEYS);
        for first in (0..time).step_by(LANES) {
            call.prepare::<L, N, D>(lanes, first, &mut scratch);
        }
        for first in (0..time).step_by(KEYS) {
            scratch.key_sums.fill(0.0);
            scratch.value_sums.fill(0.0);
            for query in (first..time).step_by(QUERIES) {
                // SAFETY: the scratch holds `time` rows, a whole number of tiles, all written by `prepare`.
                unsafe { Tile::<N, D>::new(&mut scratch, first, query).run(lanes) };
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
    fn prepare<L: Lanes, N: Numbers, const D: usize>(
        &self,
        lanes: L,
        first: usize,
        scratch: &mut Scratch<'_>,
    ) {
        let call = self;
        let places = D / N::IN_PLACE;
        let (norm, size) = (call.gain.is_some(), first * places..(first + LANES) * places);
        let mut rows = [0.0; 128 * LANES];
        let rows = &mut rows[..LANES * D];
        let mut buffer = [0.0; 128 * LANES];
        let table = call.rotary.consecutive(first, &mut buffer);
        let angles = |row: usize| lanes.load_slice(&table[row * LANES..], 0.0);
        let q = self.load::<L, D>(lanes, first, 0);
        let q = prepare::forward(lanes, &q, norm, lanes.splat(self.query_factor(D)), angles);
        prepare::store_columns::<L, N, D>(lanes, &q, &mut scratch.queries[size.clone()]);
        // SAFETY: there are sixteen rows of D.
        unsafe { prepare::store_rows(lanes, &q, rows.as_mut_ptr(), D, LANES) };
        prepare::pair_rows::<L, N, D>(lanes, rows, &mut scratch.query_rows[size.clone()]);
        let k = self.load::<L, D>(lanes, first, 1);
        let k = prepare::forward(lanes, &k, norm, lanes.splat(1.0), angles);
        prepare::store_columns::<L, N, D>(lanes, &k, &mut scratch.keys[size.clone()]);
        // SAFETY: as above.
        unsafe { prepare::store_rows(lanes, &k, rows.as_mut_ptr(), D, LANES) };
        prepare::pair_rows::<L, N, D>(lanes, rows, &mut scratch.key_rows[size.clone()]);
        let v = self.load::<L, D>(lanes, first, 2);
        prepare::store_columns::<L, N, D>(lanes, &v, &mut scratch.values[size.clone()]);
        scratch.query_gradients[first * D..][..LANES * D].fill(0.0);
        let width = call.shape.width();
        rows.fill(0.0);
        for (row, upstream) in rows.chunks_exact_mut(D).enumerate() {
            let token = first + row;
            (scratch.log_sums[token], scratch.deltas[token]) = (0.0, 0.0);
            if token < call.shape.time {
                let from = (call.batch * call.shape.time + token) * width + call.head * D;
                upstream.copy_from_slice(&call.dout[from..][..D]);
                let sums = (call.batch * call.shape.heads + call.head) * call.shape.time;
                scratch.log_sums[token] = -call.log_sum[sums + token];
                scratch.deltas[token] = -dot(lanes, upstream, &call.out[from..][..D]);
            }
        }
        if N::IN_PLACE == 1 {
            return scratch.upstream[size].copy_from_slice(rows);
        }
        prepare::pair_rows::<L, N, D>(lanes, rows, &mut scratch.upstream_rows[size.clone()]);
        let pairs = scratch.upstream[size].chunks_exact_mut(places);
        for (row, pairs) in rows.chunks_exact(D).zip(pairs) {
            let mut line = [0.0; 64];
            pair_row(lanes, row, &mut line);
            pairs.copy_from_slice(&line[..places]);
        }
        for starts in [&mut *scratch.log_sums, &mut *scratch.deltas] {
            let starts = &mut starts[first..][..LANES];
            lanes.store_slice(starts, N::start(lanes, lanes.load_slice(starts, 0.0)));
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
            let table = call.rotary.consecutive(token, &mut buffer);
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
            let table = call.rotary.consecutive(first, &mut buffer);
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
