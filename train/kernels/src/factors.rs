//! The factors of matrix products: single-precision numbers, or pairs of bfloat16 that take the place of one. So one
//! inner loop serves both: a matrix of pairs is half as deep, and each place contributes two terms to a sum.

use super::lanes::{LANES, Lanes, above_subnormal};

/// The numbers that a product multiplies. Sums are singles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Factors {
    /// Single precision.
    #[default]
    Single,
    /// bfloat16: rounded to 8 bits, to the nearest even, and to zero below 2⁻⁵⁶. Each chain goes over pairs of
    /// neighbours, whose second product is added first, as x86-64's AVX-512BF16 does.
    Bfloat,
}

/// The same for inner loops, which are compiled for each.
pub(super) trait Numbers: Copy + Send + Sync + 'static {
    /// Numbers in a place of 32 bits.
    const IN_PLACE: usize;

    /// sum + a·b, for all numbers of a place in index order, or in that of `Lanes::fma_pairs`.
    fn fma<L: Lanes>(lanes: L, a: L::Vector, b: L::Vector, sum: L::Vector) -> L::Vector;

    /// Makes places of the first `IN_PLACE` vectors of numbers.
    fn place<L: Lanes>(lanes: L, numbers: &[L::Vector]) -> L::Vector;

    /// What a chain may start from, or go on from after a change of its sum.
    fn start<L: Lanes>(lanes: L, sum: L::Vector) -> L::Vector;

    /// Fills a line of places from rows of numbers under each other: the first `IN_PLACE` rows of `rows`, which are
    /// `stride` apart. Rows that are not there are zero.
    fn fill_line<L: Lanes>(lanes: L, rows: &[f32], stride: usize, line: &mut [f32]);
}

/// Single precision.
#[derive(Clone, Copy)]
pub(super) struct Singles;

impl Numbers for Singles {
    const IN_PLACE: usize = 1;

    #[inline(always)]
    fn fma<L: Lanes>(lanes: L, a: L::Vector, b: L::Vector, sum: L::Vector) -> L::Vector {
        lanes.fma(a, b, sum)
    }

    #[inline(always)]
    fn place<L: Lanes>(_: L, numbers: &[L::Vector]) -> L::Vector {
        numbers[0]
    }

    #[inline(always)]
    fn start<L: Lanes>(_: L, sum: L::Vector) -> L::Vector {
        sum
    }

    #[inline(always)]
    fn fill_line<L: Lanes>(_: L, rows: &[f32], _: usize, line: &mut [f32]) {
        line.copy_from_slice(&rows[..line.len()]);
    }
}

/// Pairs of bfloat16.
#[derive(Clone, Copy)]
pub(super) struct Pairs;

impl Numbers for Pairs {
    const IN_PLACE: usize = 2;

    #[inline(always)]
    fn fma<L: Lanes>(lanes: L, a: L::Vector, b: L::Vector, sum: L::Vector) -> L::Vector {
        lanes.fma_pairs(a, b, sum)
    }

    #[inline(always)]
    fn place<L: Lanes>(lanes: L, numbers: &[L::Vector]) -> L::Vector {
        lanes.pair(numbers[0], numbers[1])
    }

    #[inline(always)]
    fn start<L: Lanes>(lanes: L, sum: L::Vector) -> L::Vector {
        above_subnormal(lanes, sum)
    }

    #[inline(always)]
    fn fill_line<L: Lanes>(lanes: L, rows: &[f32], stride: usize, line: &mut [f32]) {
        let under = rows.get(stride..).unwrap_or_default();
        for (i, to) in line.chunks_mut(LANES).enumerate() {
            let numbers = |row: &[f32]| {
                let row = row.get(i * LANES..).unwrap_or_default();
                lanes.load_slice(&row[..to.len().min(row.len())], 0.0)
            };
            lanes.store_slice(to, lanes.pair(numbers(rows), numbers(under)));
        }
    }
}

/// A row of numbers as pairs of neighbours, and zeros behind its end.
#[inline(always)]
pub(super) fn pair_row<L: Lanes>(lanes: L, row: &[f32], to: &mut [f32]) {
    for (numbers, to) in row.chunks(2 * LANES).zip(to.chunks_exact_mut(LANES)) {
        let (first, second) = numbers.split_at(LANES.min(numbers.len()));
        let [first, second] = [first, second].map(|half| lanes.load_slice(half, 0.0));
        lanes.store_slice(to, lanes.pair_neighbours(first, second));
    }
}
