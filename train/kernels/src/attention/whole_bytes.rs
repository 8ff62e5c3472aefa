//! The whole-chunk pass where keys and values are held as bytes: its rows become pairs of whole numbers, which
//! `byte_tile` multiplies.

use super::super::lanes::{Kernel, LANES, Lanes};
use super::byte_tile::ByteTile;
use super::forward_tile::QUERIES;
use super::heads::{LEAST_EXPONENTS, powers_of};
use super::whole::Call;

/// One head of keys, with scratch: pairs of keys, of values and of queries, each with their powers of two; powers of
/// scores, pairs of probabilities, and sums.
pub(super) struct WholeBytes<'a>(pub(super) Call<'a>, pub(super) [&'a mut [f32]; 9]);

impl Kernel for WholeBytes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let WholeBytes(call, [keys, key_powers, values, value_powers, rest @ ..]) = self;
        let [queries, query_powers, powers, probabilities, sums] = rest;
        let dims = call.heads.dims;
        let padded = call.time.next_multiple_of(QUERIES);
        let [key_column, value_column] = call.key_columns(dims);
        for first in (0..padded).step_by(LANES) {
            let keys = &mut keys[first * dims / 2..][..LANES * dims / 2];
            let key_powers = &mut key_powers[first..][..LANES];
            call.pair_columns(lanes, [first, key_column], LANES, keys, key_powers);
            let values = &mut values[first * dims / 2..][..LANES * dims / 2];
            let value_powers = &mut value_powers[first..][..LANES];
            call.pair_tokens(lanes, [first, value_column], values, value_powers);
        }
        for head in call.query_heads() {
            for first in (0..padded).step_by(QUERIES) {
                for half in [0, LANES] {
                    let queries = &mut queries[half..];
                    let query_powers = &mut query_powers[half..][..LANES];
                    let place = [first + half, head * dims];
                    call.pair_columns(lanes, place, QUERIES, queries, query_powers);
                }
                let tile = ByteTile {
                    dims,
                    queries: queries.as_ptr().cast(),
                    query_powers: query_powers.as_ptr(),
                    keys: keys.as_ptr().cast(),
                    key_powers: key_powers.as_ptr(),
                    values: values.as_ptr().cast(),
                    value_powers: value_powers.as_ptr(),
                    powers: powers.as_mut_ptr(),
                    probabilities: probabilities.as_mut_ptr().cast(),
                    sums: sums.as_mut_ptr(),
                    first,
                    window: call.heads.window,
                };
                // SAFETY: the scratch holds the padded rows, a whole number of tiles, all written above.
                let total = unsafe { tile.attend(lanes) };
                call.finish(lanes, dims, head, first, sums, total);
            }
        }
    }
}

impl Call<'_> {
    /// The rows of sixteen tokens, or as many as there are, from a column on; and their number.
    #[inline(always)]
    fn sixteen(&self, [first, column]: [usize; 2]) -> (&[f32], usize) {
        let count = self.time.saturating_sub(first).min(LANES);
        let start = if count == 0 { 0 } else { first * self.heads.row() + column };
        (&self.rows[start..], count)
    }

    /// A head of sixteen tokens as pairs of the dimensions d and d + 8 of each sixteen, in lines of `line` pairs:
    /// [dims / 2, 16]; and the powers of two that they are multiples of. Zeros behind the end.
    #[inline(always)]
    fn pair_columns<L: Lanes>(
        &self,
        lanes: L,
        place: [usize; 2],
        line: usize,
        to: &mut [f32],
        powers: &mut [f32],
    ) {
        let ((rows, count), dims, stride) =
            (self.sixteen(place), self.heads.dims, self.heads.row());
        let [all, inverses] = powers_of(lanes, rows, [count, stride, dims], LEAST_EXPONENTS[0]);
        powers.copy_from_slice(&all);
        let inverses = lanes.vector(&inverses);
        for i in 0..dims / LANES {
            let mut square = [lanes.zero(); LANES];
            for token in 0..count {
                square[token] = lanes.load_slice(&rows[token * stride + i * LANES..], 0.0);
            }
            lanes.transpose(&mut square);
            for d in 0..LANES / 2 {
                let to = &mut to[(i * LANES / 2 + d) * line..][..LANES];
                let low = lanes.mul(square[d], inverses);
                let high = lanes.mul(square[d + 8], inverses);
                // SAFETY: sixteen places of 32 bits are there.
                unsafe { lanes.store_pairs(to.as_mut_ptr().cast(), low, high) };
            }
        }
    }

    /// A head of sixteen tokens as pairs of the tokens k and k + 8: [8, dims]; and the powers of two that they are
    /// multiples of. Zeros behind the end.
    #[inline(always)]
    fn pair_tokens<L: Lanes>(
        &self,
        lanes: L,
        place: [usize; 2],
        to: &mut [f32],
        powers: &mut [f32],
    ) {
        let ((rows, count), dims, stride) =
            (self.sixteen(place), self.heads.dims, self.heads.row());
        let [all, inverses] = powers_of(lanes, rows, [count, stride, dims], LEAST_EXPONENTS[1]);
        powers.copy_from_slice(&all);
        for k in 0..LANES / 2 {
            for i in (0..dims).step_by(LANES) {
                let mut pair = [lanes.zero(); 2];
                for (half, token) in [k, k + 8].into_iter().enumerate() {
                    if token < count {
                        let numbers = lanes.load_slice(&rows[token * stride + i..], 0.0);
                        pair[half] = lanes.mul(numbers, lanes.splat(inverses[token]));
                    }
                }
                let to = to[k * dims + i..][..LANES].as_mut_ptr();
                // SAFETY: sixteen places of 32 bits are there.
                unsafe { lanes.store_pairs(to.cast(), pair[0], pair[1]) };
            }
        }
    }
}
