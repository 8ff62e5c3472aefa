//! Sixteen lanes in plain Rust: the reference for all other levels.

use super::operations::{Int8Panel, LANES, Lanes, Pair, PairLines};
use half::{bf16, f16};

/// The token of the scalar level.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

type Vector = [f32; LANES];

/// Combines two vectors lane by lane.
#[inline(always)]
fn zip(a: Vector, b: Vector, operation: impl Fn(f32, f32) -> f32) -> Vector {
    // A plain loop compiles faster than closures over arrays.
    let mut result = a;
    for i in 0..LANES {
        result[i] = operation(a[i], b[i]);
    }
    result
}

impl Lanes for Scalar {
    type Vector = Vector;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, value: f32) -> Vector {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Vector {
        // SAFETY: the caller grants 16 readable `f32`; an array of `f32` is read unaligned.
        unsafe { from.cast::<Vector>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: Vector) {
        // SAFETY: the caller grants 16 writable `f32`.
        unsafe { to.cast::<Vector>().write_unaligned(vector) }
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u16) -> Vector {
        // SAFETY: the caller grants 16 readable `u16`.
        let halves = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        halves.map(|half| f16::from_bits(half).to_f32_const())
    }

    #[inline(always)]
    unsafe fn store_half(self, to: *mut u16, vector: Vector) {
        let halves = vector.map(|value| f16::from_f32_const(value).to_bits());
        // SAFETY: the caller grants 16 writable `u16`.
        unsafe { to.cast::<[u16; LANES]>().write_unaligned(halves) }
    }

    #[inline(always)]
    unsafe fn load_bfloat(self, from: *const u16) -> Vector {
        // SAFETY: the caller grants 16 readable `u16`.
        let halves = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        halves.map(|half| bf16::from_bits(half).to_f32_const())
    }

    #[inline(always)]
    unsafe fn load_powers(self, from: *const u8) -> Vector {
        // SAFETY: the caller grants 16 readable `u8`.
        unsafe { from.cast::<[u8; LANES]>().read() }.map(|b| f32::from_bits(u32::from(b) << 23))
    }

    #[inline(always)]
    unsafe fn dot_bytes(self, query: &[i8], _: i32, keys: *const u8) -> [Vector; 4] {
        let mut sums = [0_i32; 4 * LANES];
        for (four, query) in query.chunks_exact(4).enumerate() {
            // SAFETY: the caller grants 4·64 readable bytes for each four of the query.
            let keys = unsafe { keys.add(four * 16 * LANES).cast::<[[u8; 4]; 4 * LANES]>().read() };
            for (sum, key) in sums.iter_mut().zip(keys) {
                for i in 0..4 {
                    *sum += i32::from(query[i]) * (i32::from(key[i]) - 128);
                }
            }
        }
        std::array::from_fn(|part| std::array::from_fn(|i| sums[part * LANES + i] as f32))
    }

    #[inline(always)]
    unsafe fn mix_bytes<const V: usize>(
        self,
        weights: &[u8; 64],
        values: *const i8,
        stride: usize,
    ) -> [Vector; V] {
        let mut sums = [[0_i32; LANES]; V];
        for (four, weights) in weights.as_chunks::<4>().0.iter().enumerate() {
            for (v, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the caller grants sixteen fours for each vector.
                let values = unsafe {
                    values.add((four * stride + v * LANES) * 4).cast::<[[i8; 4]; LANES]>().read()
                };
                for (sum, values) in sums.iter_mut().zip(values) {
                    for i in 0..4 {
                        *sum += i32::from(weights[i]) * i32::from(values[i]);
                    }
                }
            }
        }
        sums.map(|sums| sums.map(|sum| sum as f32))
    }

    #[inline(always)]
    unsafe fn multiply_int8<const R: usize>(
        self,
        x: [*const i8; R],
        fours: usize,
        weights: Int8Panel,
        sums: *mut f32,
    ) {
        for (row, x) in x.into_iter().enumerate() {
            let mut totals = [0_i32; 4 * LANES];
            for four in 0..fours {
                // SAFETY: the caller grants fours of x, and 64 fours of weights for each.
                let (x, weights) = unsafe {
                    let weights = weights.weights.add(four * 16 * LANES);
                    let weights = weights.cast::<[[i8; 4]; 4 * LANES]>().read();
                    (x.add(four * 4).cast::<[i8; 4]>().read(), weights)
                };
                for (total, weights) in totals.iter_mut().zip(weights) {
                    for i in 0..4 {
                        *total += i32::from(x[i]) * i32::from(weights[i]);
                    }
                }
            }
            // SAFETY: the caller grants 64 places for each row.
            let places = unsafe { sums.add(row * 4 * LANES).cast::<[f32; 4 * LANES]>() };
            // SAFETY: as above.
            unsafe { places.write(totals.map(|total| total as f32)) };
        }
    }

    #[inline(always)]
    unsafe fn multiply_pairs<const R: usize, const V: usize>(
        self,
        lines: usize,
        left: PairLines,
        right: PairLines,
    ) -> [[Vector; V]; R] {
        let mut sums = [[[0_i32; LANES]; V]; R];
        for line in 0..lines {
            // SAFETY: the caller grants R and 16·V readable pairs in each line.
            let (left, right) = unsafe {
                let left = left.first.add(line * left.stride).cast::<[Pair; R]>().read();
                let right = right.first.add(line * right.stride).cast::<[[Pair; LANES]; V]>();
                (left, right.read())
            };
            for r in 0..R {
                for v in 0..V {
                    for i in 0..LANES {
                        let products =
                            [0, 1].map(|j| i32::from(left[r][j]) * i32::from(right[v][i][j]));
                        sums[r][v][i] += products[0] + products[1];
                    }
                }
            }
        }
        sums.map(|row| row.map(|sums| sums.map(|sum| sum as f32)))
    }

    #[inline(always)]
    unsafe fn store_pairs(self, to: *mut Pair, first: Vector, second: Vector) {
        let whole = |number: f32| number.round_ties_even() as i16;
        let pairs: [Pair; LANES] = std::array::from_fn(|i| [whole(first[i]), whole(second[i])]);
        // SAFETY: the caller grants 16 writable pairs.
        unsafe { to.cast::<[Pair; LANES]>().write(pairs) }
    }

    #[inline(always)]
    fn swap_halves(self, a: Vector) -> Vector {
        std::array::from_fn(|i| a[(i + 8) % LANES])
    }

    #[inline(always)]
    fn add(self, a: Vector, b: Vector) -> Vector {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Vector, b: Vector) -> Vector {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Vector, b: Vector) -> Vector {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Vector, b: Vector) -> Vector {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn sqrt(self, a: Vector) -> Vector {
        a.map(f32::sqrt)
    }

    #[inline(always)]
    fn fraction(self, a: Vector) -> Vector {
        a.map(|a| a - a.round_ties_even())
    }

    #[inline(always)]
    fn fma(self, a: Vector, b: Vector, mut c: Vector) -> Vector {
        for i in 0..LANES {
            c[i] = a[i].mul_add(b[i], c[i]);
        }
        c
    }

    #[inline(always)]
    fn halves(self, pairs: Vector) -> [Vector; 2] {
        let (mut upper, mut lower) = (pairs, pairs);
        for i in 0..LANES {
            upper[i] = f32::from_bits(pairs[i].to_bits() & 0xffff_0000);
            lower[i] = f32::from_bits(pairs[i].to_bits() << 16);
        }
        [upper, lower]
    }

    #[inline(always)]
    fn max(self, a: Vector, b: Vector) -> Vector {
        zip(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: Vector, b: Vector) -> Vector {
        zip(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn select_greater(self, a: Vector, b: Vector, yes: Vector, no: Vector) -> Vector {
        std::array::from_fn(|i| if a[i] > b[i] { yes[i] } else { no[i] })
    }

    #[inline(always)]
    fn shift_exponent(self, a: Vector, count: Vector) -> Vector {
        zip(a, count, |a, count| f32::from_bits(a.to_bits().wrapping_add(count.to_bits() << 23)))
    }

    #[inline(always)]
    fn all_equal(self, a: Vector, b: Vector) -> bool {
        (0..LANES).all(|i| a[i] == b[i])
    }

    #[inline(always)]
    fn sum(self, mut a: Vector) -> f32 {
        for width in [8, 4, 2, 1] {
            for i in 0..width {
                a[i] += a[i + width];
            }
        }
        a[0]
    }

    #[inline(always)]
    fn largest(self, mut a: Vector) -> f32 {
        for width in [8, 4, 2, 1] {
            for i in 0..width {
                a[i] = if a[i] > a[i + width] { a[i] } else { a[i + width] };
            }
        }
        a[0]
    }

    #[inline(always)]
    fn transpose(self, rows: &mut [Vector; LANES]) {
        let old = *rows;
        *rows = std::array::from_fn(|i| std::array::from_fn(|j| old[j][i]));
    }
}
