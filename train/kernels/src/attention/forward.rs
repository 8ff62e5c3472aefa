//! The whole-chunk pass: sixteen queries side by side in the lanes, 32 at a time against blocks of 64 keys.

use super::super::aligned::with_scratch;
use super::super::factors::{Factors, Numbers, Pairs, Singles};
use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level;
use super::super::math::{LOG2_E, ln};
use super::super::parallel::{self, Shared};
use super::forward_tile::{QUERIES, Tile};
use super::prepare;
use super::rotary::{self, Rotary};
use super::{AttentionShape, KEY_BLOCK, query_scale, with_factors, with_head_dim};
use std::marker::PhantomData;

/// out [batch, time, width] for qkv [batch, time, 3·width]: q, k and v, each [heads, head_dim].
///
/// With `gain` \[heads\], queries and keys are normed and queries multiplied by their head's gain. `log_sum`
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
    let rotary = rotary::table([shape.head_dim, shape.rotated], shape.time + LANES);
    let (out, log_sum) = (Shared::new(out), log_sum.map(Shared::new));
    parallel::for_each(shape.batch * shape.heads, 2 * shape.work(), |task| {
        let (batch, head) = (task / shape.heads, task % shape.heads);
        let rotary = &*rotary;
        let call = Call { shape, qkv, gain, rotary, out, log_sum, batch, head };
        let time = shape.time.next_multiple_of(QUERIES);
        let size = time * shape.head_dim;
        let lengths = [size, size, size, KEY_BLOCK * QUERIES, shape.head_dim * QUERIES];
        with_scratch(lengths, |scratch| {
            with_factors!(shape, N, D => {
                dispatch(level, Forward::<'_, N, D>(call, scratch, PhantomData));
            });
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
struct Forward<'a, N, const D: usize>(Call<'a>, [&'a mut [f32]; 5], PhantomData<N>);

impl<N: Numbers, const D: usize> Kernel for Forward<'_, N, D> {
    type Output = ();
    const PAIRS: bool = N::IN_PLACE == 2;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Forward(call, [queries, keys, values, powers, sums], numbers) = self;
        let time = call.shape.time.next_multiple_of(QUERIES);
        call.prepare::<L, N, D>(lanes, queries, keys, values);
        for first in (0..time).step_by(QUERIES) {
            let tile = Tile::<N, D> {
                numbers,
                dims: D,
                queries: queries[first * (D / N::IN_PLACE)..].as_ptr(),
                keys: keys.as_ptr(),
                values: values.as_ptr(),
                powers: powers.as_mut_ptr(),
                sums: sums.as_mut_ptr(),
                first,
                window: None,
                soft_cap: None,
            };
            // SAFETY: the scratch holds `time` rows, a whole number of tiles, all written by `prepare`.
            let (top, total) = unsafe { tile.attend(lanes) };
            call.finish::<L, D>(lanes, first, sums, top, total);
        }
    }
}

impl Call<'_> {
    /// Queries and keys normed and rotated as [block of 16, D, 16], values as [time, D]; zeros behind the end. Of pairs
    /// there are half as many (`Tile`).
    #[inline(always)]
    fn prepare<L: Lanes, N: Numbers, const D: usize>(
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
        let end = start - call.head * D + time * 3 * width;
        // A block's places: of queries, keys and values alike.
        let size = D * LANES / N::IN_PLACE;
        let blocks = queries.chunks_exact_mut(size).zip(keys.chunks_exact_mut(size));
        let blocks = blocks.take(time.next_multiple_of(QUERIES) / LANES);
        for (block, (queries, keys)) in blocks.enumerate() {
            let first = block * LANES;
            let rows = time.saturating_sub(first).min(LANES);
            let table = call.rotary.consecutive(first, &mut buffer);
            let angles = |row: usize| lanes.load_slice(&table[row * LANES..], 0.0);
            let from = &call.qkv[(start + first * 3 * width).min(end)..end];
            let values = &mut values[block * size..][..size];
            // SAFETY: `rows` tokens lie behind `from`, whose stride is 3·width; k and v follow q by a width each.
            unsafe {
                let q = prepare::load_rows::<L, D>(lanes, from.as_ptr(), 3 * width, rows);
                let q = prepare::forward(lanes, &q, norm, scale, angles);
                prepare::store_columns::<L, N, D>(lanes, &q, queries);
                let k = from.as_ptr().wrapping_add(width);
                let k = prepare::load_rows::<L, D>(lanes, k, 3 * width, rows);
                let k = prepare::forward(lanes, &k, norm, lanes.splat(1.0), angles);
                prepare::store_columns::<L, N, D>(lanes, &k, keys);
            }
            for (row, value) in values.chunks_exact_mut(D).enumerate() {
                if row < rows {
                    let from = &from[row * 3 * width + 2 * width..];
                    N::fill_line(lanes, from, LANES / N::IN_PLACE * 3 * width, value);
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
