//! The operations of a level, and code that is shared by all levels.

use super::bfloat::{LEAST_START, round};

/// How many `f32` a vector holds, at every level.
pub(crate) const LANES: usize = 16;

/// 64 columns of int8 weights.
#[derive(Clone, Copy)]
// Only x86-64's instructions want offsets, and know int4 apart.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(crate) struct Int8Panel {
    /// [fours, 64, 4]: four neighbouring weights of each column.
    pub(crate) weights: *const i8,
    /// −128·Σ weights of each column, \[64\].
    pub(crate) offsets: *const i32,
    /// Whether all weights lie within ±7.
    pub(crate) int4: bool,
}

/// Two whole numbers, whose products with those of another pair are added up.
pub(crate) type Pair = [i16; 2];

/// Lines of pairs, each `stride` pairs behind the last.
#[derive(Clone, Copy)]
pub(crate) struct PairLines {
    pub(crate) first: *const Pair,
    pub(crate) stride: usize,
}

/// The operations of one level on vectors of 16 `f32`.
pub(crate) trait Lanes: Copy + Send + Sync + 'static {
    /// Sixteen `f32`.
    type Vector: Copy;
    /// Whether a vector fills one register of 32: such levels take larger register tiles.
    const WIDE: bool;

    fn splat(self, value: f32) -> Self::Vector;
    /// # Safety
    /// `from` must be valid for reading 16 `f32`; it need not be aligned.
    unsafe fn load(self, from: *const f32) -> Self::Vector;
    /// # Safety
    /// `to` must be valid for writing 16 `f32`; it need not be aligned.
    unsafe fn store(self, to: *mut f32, vector: Self::Vector);

    /// Sixteen IEEE half-precision numbers, widened: exact.
    /// # Safety
    /// `from` must be valid for reading 16 `u16`; it need not be aligned.
    unsafe fn load_half(self, from: *const u16) -> Self::Vector;
    /// Rounds to IEEE half precision, to the nearest, ties to even; beyond ±65519 that is an infinity.
    /// # Safety
    /// `to` must be valid for writing 16 `u16`; it need not be aligned.
    unsafe fn store_half(self, to: *mut u16, vector: Self::Vector);
    /// Sixteen bfloat16 numbers, the upper halves of `f32`, widened: exact.
    /// # Safety
    /// `from` must be valid for reading 16 `u16`; it need not be aligned.
    unsafe fn load_bfloat(self, from: *const u16) -> Self::Vector;
    /// Sixteen powers of two by the exponents of `f32`: 2^(b − 127) for a byte b from 1 to 254.
    /// # Safety
    /// `from` must be valid for reading 16 `u8`.
    unsafe fn load_powers(self, from: *const u8) -> Self::Vector;
    /// Σ query·(key − 128) for 64 keys [dims / 4, 64, 4], sixteen to a vector: exact, if it is within ±2²⁴.
    /// The query's bytes are from −127 to 127, with this total, and the keys' from 1 to 255; a key with a 0 has any
    /// sum.
    /// # Safety
    /// `keys` must be valid for reading 64 times as many bytes as the query has, which are a multiple of four.
    unsafe fn dot_bytes(self, query: &[i8], total: i32, keys: *const u8) -> [Self::Vector; 4];
    /// Σ weight·value with values [16, stride, 4] of 64 keys, the first sixteen of a stride to the first vector: exact,
    /// if it is within ±2²⁴.
    /// # Safety
    /// `values` must be valid for reading the first 16·V fours of each stride.
    unsafe fn mix_bytes<const V: usize>(
        self,
        weights: &[u8; 64],
        values: *const i8,
        stride: usize,
    ) -> [Self::Vector; V];
    /// Σ x·weight for R rows of x and 64 columns of weights, int8 in int32, into `sums` [R, 64]: each a whole number,
    /// rounded to `f32` once (to the nearest, ties to even). What is in x and weights lies within ±127.
    /// # Safety
    /// Each row of x must be valid for reading 4·fours bytes, `fours` being below 16,384; `weights` [fours, 64, 4],
    /// `offsets` \[64\] must be −128·Σ weights of each column, and `sums` valid for writing 64·R `f32`. With `int4`
    /// weights lie within ±7.
    unsafe fn multiply_int8<const R: usize>(
        self,
        x: [*const i8; R],
        fours: usize,
        weights: Int8Panel,
        sums: *mut f32,
    );
    /// Σ left·right, over lines of pairs and both numbers of a pair, for the first R pairs of a left line and the first
    /// 16·V of a right one: exact, if it is within ±2²⁴. Numbers are within ±255.
    /// # Safety
    /// The lines must be valid for reading so many pairs.
    unsafe fn multiply_pairs<const R: usize, const V: usize>(
        self,
        lines: usize,
        left: PairLines,
        right: PairLines,
    ) -> [[Self::Vector; V]; R];
    /// Writes sixteen pairs of numbers, rounded to whole ones (ties to even) that fit into 16 bits.
    /// # Safety
    /// `to` must be valid for writing 16 pairs.
    unsafe fn store_pairs(self, to: *mut Pair, first: Self::Vector, second: Self::Vector);
    /// Lanes 8 to 15, then lanes 0 to 7.
    fn swap_halves(self, a: Self::Vector) -> Self::Vector;

    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sqrt(self, a: Self::Vector) -> Self::Vector;
    /// `a` less the nearest whole number, ties to even: exact, in [−½, ½]; for finite `a`.
    fn fraction(self, a: Self::Vector) -> Self::Vector;
    /// `a·b + c`, rounded once.
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `a > b ? a : b` in each lane: `b` where they are equal or either is not a number.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a < b ? a : b` in each lane: `b` where they are equal or either is not a number.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a > b ? yes : no` in each lane: `no` where either is not a number.
    fn select_greater(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector;
    /// `sum + upper·upper + lower·lower` for the pairs of `bfloat` numbers in each lane of `a` and `b`: two fused
    /// multiply-adds, the upper halves' first. What is subnormal is no case, if the sum came from none (`bfloat`).
    #[inline(always)]
    fn fma_pairs(self, a: Self::Vector, b: Self::Vector, sum: Self::Vector) -> Self::Vector {
        fma_pairs(self, a, b, sum)
    }
    /// The upper numbers of pairs, and the lower ones.
    fn halves(self, pairs: Self::Vector) -> [Self::Vector; 2];
    /// In each lane the pair of both numbers, rounded as `bfloat` says.
    #[inline(always)]
    fn pair(self, lower: Self::Vector, upper: Self::Vector) -> Self::Vector {
        pair(self, lower, upper)
    }
    /// 32 numbers that lie side by side, as pairs of neighbours.
    #[inline(always)]
    fn pair_neighbours(self, first: Self::Vector, second: Self::Vector) -> Self::Vector {
        pair_neighbours(self, first, second)
    }
    /// The bits of `a` plus the bits of `count` shifted left by 23: `a·2ⁿ` where the low bits of `count` hold `n`.
    fn shift_exponent(self, a: Self::Vector, count: Self::Vector) -> Self::Vector;
    /// Whether every lane has `a` equal to `b`.
    fn all_equal(self, a: Self::Vector, b: Self::Vector) -> bool;
    /// The sum by the fixed tree: lanes i and i+8, then i and i+4, i+2, i+1.
    fn sum(self, a: Self::Vector) -> f32;
    /// The sums of four vectors, each by that tree.
    #[inline(always)]
    fn sum_four(self, vectors: [Self::Vector; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        for (sum, vector) in sums.iter_mut().zip(vectors) {
            *sum = self.sum(vector);
        }
        sums
    }
    /// The largest by the same tree, of `max` of two lanes.
    fn largest(self, a: Self::Vector) -> f32;
    /// `rows[i][j]` becomes `rows[j][i]`.
    fn transpose(self, rows: &mut [Self::Vector; LANES]);

    /// Zero in each lane.
    #[inline(always)]
    fn zero(self) -> Self::Vector {
        self.splat(0.0)
    }

    /// Each lane rounded to IEEE half precision and back; beyond ±65504, and where it is not a number, clamped.
    #[inline(always)]
    fn round_half(self, a: Self::Vector) -> Self::Vector {
        const LARGEST: f32 = 65_504.0;
        let a = self.min(self.max(a, self.splat(-LARGEST)), self.splat(LARGEST));
        let mut halves = [0_u16; LANES];
        // SAFETY: the array holds 16 `u16`.
        unsafe {
            self.store_half(halves.as_mut_ptr(), a);
            self.load_half(halves.as_ptr())
        }
    }

    /// The lanes as an array.
    #[inline(always)]
    fn array(self, a: Self::Vector) -> [f32; LANES] {
        let mut array = [0.0; LANES];
        // SAFETY: the array holds 16 `f32`.
        unsafe { self.store(array.as_mut_ptr(), a) };
        array
    }

    /// An array as a vector.
    #[inline(always)]
    fn vector(self, array: &[f32; LANES]) -> Self::Vector {
        // SAFETY: the array holds 16 `f32`.
        unsafe { self.load(array.as_ptr()) }
    }

    /// The first 16 values of a slice; absent ones are `fill`.
    #[inline(always)]
    fn load_slice(self, from: &[f32], fill: f32) -> Self::Vector {
        if from.len() >= LANES {
            // SAFETY: the slice holds at least 16 `f32`.
            return unsafe { self.load(from.as_ptr()) };
        }
        let mut array = [fill; LANES];
        array[..from.len()].copy_from_slice(from);
        self.vector(&array)
    }

    /// Writes the first 16 places of a slice, or as many as there are.
    #[inline(always)]
    fn store_slice(self, to: &mut [f32], vector: Self::Vector) {
        if to.len() >= LANES {
            // SAFETY: the slice holds at least 16 `f32`.
            return unsafe { self.store(to.as_mut_ptr(), vector) };
        }
        let array = self.array(vector);
        let count = to.len();
        to.copy_from_slice(&array[..count]);
    }
}

/// A piece of work written once for every level: `run` is compiled per level, inlined under its instructions.
pub(crate) trait Kernel {
    /// What the work gives back.
    type Output;
    /// Whether it multiplies pairs of bfloat16, which some processors have instructions for.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only x86-64's are used"))]
    const PAIRS: bool = false;
    /// Does the work. Implementations must be `#[inline(always)]`, or the level's instructions do not reach it.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// What a chain of pairs may start from: numbers below 2⁻¹⁰³ are zero.
#[inline(always)]
pub(crate) fn above_subnormal<L: Lanes>(lanes: L, start: L::Vector) -> L::Vector {
    let size = lanes.max(start, lanes.sub(lanes.zero(), start));
    lanes.select_greater(lanes.splat(LEAST_START), size, lanes.zero(), start)
}

/// `Lanes::fma_pairs`.
#[inline(always)]
pub(super) fn fma_pairs<L: Lanes>(
    lanes: L,
    a: L::Vector,
    b: L::Vector,
    sum: L::Vector,
) -> L::Vector {
    let ([a_upper, a_lower], [b_upper, b_lower]) = (lanes.halves(a), lanes.halves(b));
    lanes.fma(a_lower, b_lower, lanes.fma(a_upper, b_upper, sum))
}

/// `Lanes::pair`: outside what calls it, for it is long.
#[inline(never)]
pub(super) fn pair<L: Lanes>(lanes: L, lower: L::Vector, upper: L::Vector) -> L::Vector {
    let (lower, upper) = (lanes.array(lower).map(round), lanes.array(upper).map(round));
    lanes.vector(&std::array::from_fn(|i| f32::from_bits(lower[i] | upper[i] << 16)))
}

/// `Lanes::pair_neighbours`: the same.
#[inline(never)]
pub(super) fn pair_neighbours<L: Lanes>(
    lanes: L,
    first: L::Vector,
    second: L::Vector,
) -> L::Vector {
    let numbers = [lanes.array(first).map(round), lanes.array(second).map(round)];
    let number = |i: usize| numbers[i / LANES][i % LANES];
    lanes.vector(&std::array::from_fn(|i| f32::from_bits(number(2 * i) | number(2 * i + 1) << 16)))
}
