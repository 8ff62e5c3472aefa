//! The whole-chunk pass of inference: prepared rows in, mixed values out; no [time, time] tensor, no log-sums.
//!
//! It runs the tiles of the training pass (`forward_tile`), or where keys and values are held as bytes its own
//! (`whole_bytes`); its bits are those of the cached step (`cached`).

use super::super::aligned::with_scratch;
use super::super::factors::Singles;
use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level::Level;
use super::super::parallel::{self, Shared};
use super::KEY_BLOCK;
use super::forward_tile::{QUERIES, Tile};
use super::heads::{AttentionHeads, HeldAs};
use super::whole_bytes::WholeBytes;
use std::marker::PhantomData;

/// mixed [time, heads, dims] from one sequence's prepared rows [time, heads.row()]; over the threads, unless
/// `on_this_thread`.
pub fn attention_whole(level: Level, heads: &AttentionHeads, rows: &[f32], mixed: &mut [f32]) {
    heads.check();
    let time = rows.len() / heads.row();
    assert_eq!(rows.len(), time * heads.row(), "rows [.., {}]", heads.row());
    assert_eq!(mixed.len(), time * heads.width(), "mixed [{time}, {}]", heads.width());
    let mixed = Shared::new(mixed);
    let work = time * (time + 1) * heads.width();
    parallel::for_each(heads.key_heads, work, |key_head| {
        let call = Call { heads, rows, mixed, time, key_head };
        let (dims, padded) = (heads.dims, time.next_multiple_of(QUERIES));
        let (tile, block) = (dims * QUERIES, KEY_BLOCK * QUERIES);
        if heads.held == HeldAs::Bytes {
            // A pair takes the place of an `f32`.
            let pairs = padded * dims / 2;
            let lengths = [pairs, padded, pairs, padded, tile / 2, QUERIES, block, block / 2, tile];
            with_scratch(lengths, |scratch| dispatch(level, WholeBytes(call, scratch)));
        } else {
            let lengths = [padded * dims, padded * dims, tile, block, tile];
            with_scratch(lengths, |scratch| match dims {
                16 => dispatch(level, Whole::<'_, 16>(call, scratch)),
                32 => dispatch(level, Whole::<'_, 32>(call, scratch)),
                48 => dispatch(level, Whole::<'_, 48>(call, scratch)),
                _ => dispatch(level, Whole::<'_, 0>(call, scratch)),
            });
        }
    });
}

/// One head of keys, and the heads of queries that share it.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) heads: &'a AttentionHeads,
    pub(super) rows: &'a [f32],
    mixed: Shared,
    pub(super) time: usize,
    key_head: usize,
}

/// The same for D dimensions, or any number if D is 0, with scratch: keys, values, queries, powers and sums.
struct Whole<'a, const D: usize>(Call<'a>, [&'a mut [f32]; 5]);

impl<const D: usize> Kernel for Whole<'_, D> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Whole(call, [keys, values, queries, powers, sums]) = self;
        let dims = if D == 0 { call.heads.dims } else { D };
        let padded = call.time.next_multiple_of(QUERIES);
        let [key_column, value_column] = call.key_columns(dims);
        call.columns(lanes, dims, key_column, 0, &mut keys[..padded * dims]);
        let rows = call.rows.chunks_exact(call.heads.row());
        for (value, row) in values.chunks_exact_mut(dims).zip(rows) {
            value.copy_from_slice(&row[value_column..][..dims]);
        }
        values[call.time * dims..].fill(0.0);
        for head in call.query_heads() {
            for first in (0..padded).step_by(QUERIES) {
                call.columns(lanes, dims, head * dims, first, &mut queries[..QUERIES * dims]);
                let tile = Tile::<Singles, D> {
                    numbers: PhantomData,
                    dims,
                    queries: queries.as_ptr(),
                    keys: keys.as_ptr(),
                    values: values.as_ptr(),
                    powers: powers.as_mut_ptr(),
                    sums: sums.as_mut_ptr(),
                    first,
                    window: call.heads.window,
                    soft_cap: call.heads.score_cap(),
                };
                // SAFETY: the scratch holds the padded rows, a whole number of tiles, all written above.
                let (_, total) = unsafe { tile.attend(lanes) };
                call.finish(lanes, dims, head, first, sums, total);
            }
        }
    }
}

impl Call<'_> {
    /// The first columns of the keys and of the values.
    #[inline(always)]
    pub(super) fn key_columns(&self, dims: usize) -> [usize; 2] {
        let column = (self.heads.heads + self.key_head) * dims;
        [column, column + self.heads.key_heads * dims]
    }

    /// The heads of queries.
    #[inline(always)]
    pub(super) fn query_heads(&self) -> std::ops::Range<usize> {
        let group = self.heads.heads / self.heads.key_heads;
        self.key_head * group..(self.key_head + 1) * group
    }

    /// Some columns of tokens from `first` on, as [block of 16 tokens, dims, 16]; zeros behind the end.
    #[inline(always)]
    fn columns<L: Lanes>(
        &self,
        lanes: L,
        dims: usize,
        column: usize,
        first: usize,
        to: &mut [f32],
    ) {
        let stride = self.heads.row();
        for (block, to) in to.chunks_exact_mut(dims * LANES).enumerate() {
            let first = first + block * LANES;
            let count = self.time.saturating_sub(first).min(LANES);
            for (i, to) in to.chunks_exact_mut(LANES * LANES).enumerate() {
                let mut square = [lanes.zero(); LANES];
                for (token, vector) in square.iter_mut().enumerate().take(count) {
                    let at = (first + token) * stride + column + i * LANES;
                    *vector = lanes.load_slice(&self.rows[at..], 0.0);
                }
                lanes.transpose(&mut square);
                for (to, vector) in to.chunks_exact_mut(LANES).zip(square) {
                    lanes.store_slice(to, vector);
                }
            }
        }
    }

    /// Divides a tile's sums [dims, 32] by the totals and writes the rows that are there.
    #[inline(always)]
    pub(super) fn finish<L: Lanes>(
        &self,
        lanes: L,
        dims: usize,
        head: usize,
        first: usize,
        sums: &[f32],
        total: [L::Vector; 2],
    ) {
        let width = self.heads.width();
        for (half, total) in total.into_iter().enumerate() {
            let first = first + half * LANES;
            let count = self.time.saturating_sub(first).min(LANES);
            let inverse = lanes.div(lanes.splat(1.0), total);
            let inverse = lanes.mul(inverse, lanes.splat(self.heads.sum_factor()));
            for i in (0..dims).step_by(LANES) {
                let mut square = [lanes.zero(); LANES];
                for (d, vector) in square.iter_mut().enumerate() {
                    let sum = lanes.load_slice(&sums[(i + d) * QUERIES + half * LANES..], 0.0);
                    // Adding 0 makes −0 into 0: masked keys may have changed the sign of a zero.
                    *vector = lanes.fma(sum, inverse, lanes.zero());
                }
                lanes.transpose(&mut square);
                for (token, vector) in square.into_iter().enumerate().take(count) {
                    let at = (first + token) * width + head * dims + i;
                    // SAFETY: the place is inside `mixed`, and only this task writes this head's columns.
                    let to = unsafe { self.mixed.part(at, LANES) };
                    lanes.store_slice(to, vector);
                }
            }
        }
    }
}
