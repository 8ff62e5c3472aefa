//! Sixteen lanes as two AVX registers, with FMA and F16C.

use super::operations::{self, Int8Panel, Kernel, LANES, Lanes, PairLines};
use std::arch::x86_64::*;

/// The token of the AVX2 level: it exists only inside `run`.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// Lanes 0 to 7, and 8 to 15.
#[derive(Clone, Copy)]
pub(super) struct Pair(__m256, __m256);

/// Runs a kernel with AVX2, FMA and F16C instructions.
///
/// # Safety
/// The processor must have AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

// SAFETY (of every block here): `self` is a token that only `run` makes, so the processor has the instructions;
// pointers are as good as the caller of `load` and `store` grants.
impl Lanes for Avx2 {
    type Vector = Pair;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, value: f32) -> Pair {
        // SAFETY: see the impl.
        let half = unsafe { _mm256_set1_ps(value) };
        Pair(half, half)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Pair {
        // SAFETY: see the impl.
        unsafe { Pair(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: Pair) {
        // SAFETY: see the impl.
        unsafe {
            _mm256_storeu_ps(to, vector.0);
            _mm256_storeu_ps(to.add(8), vector.1);
        }
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u16) -> Pair {
        // SAFETY: see the impl.
        unsafe {
            Pair(
                _mm256_cvtph_ps(_mm_loadu_si128(from.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(from.add(8).cast())),
            )
        }
    }

    #[inline(always)]
    unsafe fn store_half(self, to: *mut u16, vector: Pair) {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT;
        // SAFETY: see the impl.
        unsafe {
            _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<NEAREST>(vector.0));
            _mm_storeu_si128(to.add(8).cast(), _mm256_cvtps_ph::<NEAREST>(vector.1));
        }
    }

    #[inline(always)]
    unsafe fn load_bfloat(self, from: *const u16) -> Pair {
        // SAFETY: see the impl.
        unsafe { Pair(widen_bfloat(from), widen_bfloat(from.add(8))) }
    }

    #[inline(always)]
    unsafe fn load_powers(self, from: *const u8) -> Pair {
        // SAFETY: see the impl.
        unsafe { Pair(powers(from), powers(from.add(8))) }
    }

    #[inline(always)]
    unsafe fn dot_bytes(self, query: &[i8], _: i32, keys: *const u8) -> [Pair; 4] {
        // SAFETY: see the impl.
        unsafe { dot_bytes(query, keys) }
    }

    #[inline(always)]
    unsafe fn mix_bytes<const V: usize>(
        self,
        weights: &[u8; 64],
        values: *const i8,
        stride: usize,
    ) -> [Pair; V] {
        // SAFETY: see the impl.
        unsafe { mix_bytes(weights, values, stride) }
    }

    #[inline(always)]
    unsafe fn multiply_int8<const R: usize>(
        self,
        x: [*const i8; R],
        fours: usize,
        weights: Int8Panel,
        sums: *mut f32,
    ) {
        // SAFETY: see the impl.
        unsafe {
            if weights.int4 {
                multiply_int4(x, fours, weights, sums);
            } else {
                multiply_int8(x, fours, weights, sums);
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply_pairs<const R: usize, const V: usize>(
        self,
        lines: usize,
        left: PairLines,
        right: PairLines,
    ) -> [[Pair; V]; R] {
        // Not in a function of its own, which the compiler would not put into every loop that uses it.
        // SAFETY: see the impl; the caller grants R and 16·V pairs of each line.
        unsafe {
            let mut sums = [[[_mm256_setzero_si256(); 2]; V]; R];
            for line in 0..lines {
                let left = left.first.add(line * left.stride);
                let right = right.first.add(line * right.stride);
                let mut eights = [[_mm256_setzero_si256(); 2]; V];
                for v in 0..V {
                    for half in 0..2 {
                        let eight = right.add(v * LANES + half * 8);
                        eights[v][half] = _mm256_loadu_si256(eight.cast());
                    }
                }
                for r in 0..R {
                    let left = _mm256_set1_epi32(left.add(r).cast::<i32>().read_unaligned());
                    for v in 0..V {
                        for half in 0..2 {
                            let products = _mm256_madd_epi16(left, eights[v][half]);
                            sums[r][v][half] = _mm256_add_epi32(sums[r][v][half], products);
                        }
                    }
                }
            }
            let mut floats = [[self.zero(); V]; R];
            for r in 0..R {
                for v in 0..V {
                    let [low, high] = sums[r][v];
                    floats[r][v] = Pair(_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high));
                }
            }
            floats
        }
    }

    #[inline(always)]
    unsafe fn store_pairs(self, to: *mut operations::Pair, first: Pair, second: Pair) {
        // SAFETY: see the impl.
        unsafe {
            store_eight_pairs(to, first.0, second.0);
            store_eight_pairs(to.add(8), first.1, second.1);
        }
    }

    #[inline(always)]
    fn swap_halves(self, a: Pair) -> Pair {
        Pair(a.1, a.0)
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: see the impl.
        unsafe { Pair(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: see the impl.
        unsafe { Pair(_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: see the impl.
        unsafe { Pair(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn div(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: see the impl.
        unsafe { Pair(_mm256_div_ps(a.0, b.0), _mm256_div_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn sqrt(self, a: Pair) -> Pair {
        // SAFETY: see the impl.
        unsafe { Pair(_mm256_sqrt_ps(a.0), _mm256_sqrt_ps(a.1)) }
    }

    #[inline(always)]
    fn fraction(self, a: Pair) -> Pair {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: see the impl.
        let whole =
            unsafe { Pair(_mm256_round_ps::<NEAREST>(a.0), _mm256_round_ps::<NEAREST>(a.1)) };
        self.sub(a, whole)
    }

    #[inline(always)]
    fn fma(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: see the impl.
        unsafe { Pair(_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) }
    }

    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: see the impl.
        unsafe { Pair(_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn min(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: see the impl.
        unsafe { Pair(_mm256_min_ps(a.0, b.0), _mm256_min_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn select_greater(self, a: Pair, b: Pair, yes: Pair, no: Pair) -> Pair {
        // SAFETY: see the impl.
        unsafe {
            Pair(
                _mm256_blendv_ps(no.0, yes.0, _mm256_cmp_ps::<_CMP_GT_OQ>(a.0, b.0)),
                _mm256_blendv_ps(no.1, yes.1, _mm256_cmp_ps::<_CMP_GT_OQ>(a.1, b.1)),
            )
        }
    }

    #[inline(always)]
    fn halves(self, pairs: Pair) -> [Pair; 2] {
        // SAFETY: see the impl.
        unsafe {
            let mask = _mm256_castsi256_ps(_mm256_set1_epi32(-0x1_0000));
            let lower =
                |half| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(half)));
            [
                Pair(_mm256_and_ps(pairs.0, mask), _mm256_and_ps(pairs.1, mask)),
                Pair(lower(pairs.0), lower(pairs.1)),
            ]
        }
    }

    #[inline(always)]
    fn shift_exponent(self, a: Pair, count: Pair) -> Pair {
        // SAFETY: see the impl.
        unsafe { Pair(shift_half(a.0, count.0), shift_half(a.1, count.1)) }
    }

    #[inline(always)]
    fn all_equal(self, a: Pair, b: Pair) -> bool {
        // SAFETY: see the impl.
        unsafe {
            let low = _mm256_cmp_ps::<_CMP_EQ_OQ>(a.0, b.0);
            let high = _mm256_cmp_ps::<_CMP_EQ_OQ>(a.1, b.1);
            _mm256_movemask_ps(_mm256_and_ps(low, high)) == 0xff
        }
    }

    #[inline(always)]
    fn sum(self, a: Pair) -> f32 {
        // SAFETY: see the impl.
        unsafe {
            let eight = _mm256_add_ps(a.0, a.1);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    fn largest(self, a: Pair) -> f32 {
        // SAFETY: see the impl.
        unsafe {
            let eight = _mm256_max_ps(a.0, a.1);
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    fn transpose(self, rows: &mut [Pair; LANES]) {
        // SAFETY: see the impl.
        unsafe { transpose(rows) }
    }
}

/// `load_bfloat` of eight lanes.
///
/// # Safety
/// `from` must be valid for reading 8 `u16`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn widen_bfloat(from: *const u16) -> __m256 {
    // SAFETY: granted by the caller.
    let wide = _mm256_cvtepu16_epi32(unsafe { _mm_loadu_si128(from.cast()) });
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
}

/// `load_powers` of eight lanes.
///
/// # Safety
/// `from` must be valid for reading 8 `u8`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn powers(from: *const u8) -> __m256 {
    // SAFETY: granted by the caller.
    let wide = _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(from.cast()) });
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(wide))
}

/// `Lanes::dot_bytes`, eight keys to a register.
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn dot_bytes(query: &[i8], keys: *const u8) -> [Pair; 4] {
    let (sign, ones) = (_mm256_set1_epi8(i8::MIN), _mm256_set1_epi16(1));
    let mut sums = [_mm256_setzero_si256(); 8];
    for (four, query) in query.chunks_exact(4).enumerate() {
        let query = i32::from_le_bytes(std::array::from_fn(|i| query[i] as u8));
        let query = _mm256_set1_epi32(query);
        let size = _mm256_abs_epi8(query);
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: granted by the caller.
            let keys = unsafe { _mm256_loadu_si256(keys.add(four * 256 + i * 32).cast()) };
            let keys = _mm256_sign_epi8(_mm256_xor_si256(keys, sign), query);
            // Two products are at most 2·127·127: they fit into 16 bits.
            let pairs = _mm256_maddubs_epi16(size, keys);
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    std::array::from_fn(|part| {
        Pair(_mm256_cvtepi32_ps(sums[2 * part]), _mm256_cvtepi32_ps(sums[2 * part + 1]))
    })
}

/// `Lanes::mix_bytes`, in 16 bits, for two products with a weight of 8 bits do not fit into them.
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn mix_bytes<const V: usize>(
    weights: &[u8; 64],
    values: *const i8,
    stride: usize,
) -> [Pair; V] {
    // Two sums for each of four numbers.
    let mut sums = [[_mm256_setzero_si256(); 4]; V];
    for (four, weights) in weights.as_chunks::<4>().0.iter().enumerate() {
        let weights = i32::from_le_bytes(*weights);
        let weights = _mm256_cvtepu8_epi16(_mm_set1_epi32(weights));
        for (i, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
            // SAFETY: granted by the caller.
            let values = unsafe { _mm_loadu_si128(values.add(four * stride * 4 + i * 16).cast()) };
            let pairs = _mm256_madd_epi16(_mm256_cvtepi8_epi16(values), weights);
            *sum = _mm256_add_epi32(*sum, pairs);
        }
    }
    sums.map(|[a, b, c, d]| {
        // `hadd` gives numbers 0, 1, 4, 5 and 2, 3, 6, 7 of eight.
        let eight = |low, high| {
            let sums = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(low, high));
            _mm256_cvtepi32_ps(sums)
        };
        Pair(eight(a, b), eight(c, d))
    })
}

/// `Lanes::multiply_int8`, sixteen columns at a time.
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply_int8<const R: usize>(
    x: [*const i8; R],
    fours: usize,
    panel: Int8Panel,
    sums: *mut f32,
) {
    let ones = _mm256_set1_epi16(1);
    for column in (0..4 * LANES).step_by(LANES) {
        let mut totals = [[_mm256_setzero_si256(); 2]; R];
        for four in 0..fours {
            // SAFETY: granted by the caller: fours of each row, and 64 fours of weights for each.
            unsafe {
                let weights = panel.weights.add((four * 4 * LANES + column) * 4);
                let weights = [weights, weights.add(32)].map(|it| _mm256_loadu_si256(it.cast()));
                let sizes = weights.map(|it| _mm256_abs_epi8(it));
                for r in 0..R {
                    let x = _mm256_set1_epi32(x[r].add(four * 4).cast::<i32>().read_unaligned());
                    for half in 0..2 {
                        // Two products are at most 2·127·127: they fit into 16 bits.
                        let signed = _mm256_sign_epi8(x, weights[half]);
                        let pairs = _mm256_maddubs_epi16(sizes[half], signed);
                        let fours = _mm256_madd_epi16(pairs, ones);
                        totals[r][half] = _mm256_add_epi32(totals[r][half], fours);
                    }
                }
            }
        }
        // SAFETY: the caller grants 64 places for each row.
        unsafe { store_totals(totals, sums.add(column)) };
    }
}

/// `Lanes::multiply_int8` with weights of 4 bits, whose products with bytes are summed in 16 bits for a while.
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply_int4<const R: usize>(
    x: [*const i8; R],
    fours: usize,
    panel: Int8Panel,
    sums: *mut f32,
) {
    /// Sums of so many pairs, each at most 2·255·7, fit into 16 bits.
    const PAIRS: usize = 8;
    let (ones, sign) = (_mm256_set1_epi16(1), i32::from_le_bytes([128; 4]));
    for column in (0..4 * LANES).step_by(LANES) {
        // SAFETY: granted by the caller: a panel's offsets.
        let mut totals = unsafe {
            let offsets = panel.offsets.add(column);
            [[offsets, offsets.add(8)].map(|it| _mm256_loadu_si256(it.cast())); R]
        };
        for first in (0..fours).step_by(PAIRS) {
            let mut pairs = [[_mm256_setzero_si256(); 2]; R];
            for four in first..fours.min(first + PAIRS) {
                // SAFETY: granted by the caller: fours of each row, and 64 fours of weights for each.
                unsafe {
                    let weights = panel.weights.add((four * 4 * LANES + column) * 4);
                    let weights =
                        [weights, weights.add(32)].map(|it| _mm256_loadu_si256(it.cast()));
                    for r in 0..R {
                        let x = x[r].add(four * 4).cast::<i32>().read_unaligned();
                        let x = _mm256_set1_epi32(x ^ sign);
                        for half in 0..2 {
                            let more = _mm256_maddubs_epi16(x, weights[half]);
                            pairs[r][half] = _mm256_add_epi16(pairs[r][half], more);
                        }
                    }
                }
            }
            for (totals, pairs) in totals.iter_mut().zip(pairs) {
                for half in 0..2 {
                    let fours = _mm256_madd_epi16(pairs[half], ones);
                    totals[half] = _mm256_add_epi32(totals[half], fours);
                }
            }
        }
        // SAFETY: the caller grants 64 places for each row.
        unsafe { store_totals(totals, sums.add(column)) };
    }
}

/// `Lanes::store_pairs` of eight lanes.
///
/// # Safety
/// `to` must be valid for writing 8 pairs.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn store_eight_pairs(to: *mut operations::Pair, first: __m256, second: __m256) {
    // Conversions round to the nearest, ties to even: Rust leaves the mode at that.
    let (first, second) = (_mm256_cvtps_epi32(first), _mm256_cvtps_epi32(second));
    let pairs = _mm256_blend_epi16::<0b1010_1010>(first, _mm256_slli_epi32::<16>(second));
    // SAFETY: granted by the caller.
    unsafe { _mm256_storeu_si256(to.cast(), pairs) }
}

/// Writes sixteen sums of each row, 64 places apart.
///
/// # Safety
/// `to` must be valid for that.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn store_totals<const R: usize>(totals: [[__m256i; 2]; R], to: *mut f32) {
    for (r, totals) in totals.into_iter().enumerate() {
        for (half, total) in totals.into_iter().enumerate() {
            // SAFETY: granted by the caller.
            unsafe {
                let to = to.add(r * 4 * LANES + half * 8);
                _mm256_storeu_ps(to, _mm256_cvtepi32_ps(total));
            }
        }
    }
}

/// The 16×16 transposition by its four 8×8 squares.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn transpose(rows: &mut [Pair; LANES]) {
    let mut squares = [[_mm256_setzero_ps(); 8]; 4];
    for i in 0..8 {
        (squares[0][i], squares[2][i]) = (rows[i].0, rows[i].1);
        (squares[1][i], squares[3][i]) = (rows[8 + i].0, rows[8 + i].1);
    }
    for square in &mut squares {
        transpose_square(square);
    }
    for i in 0..8 {
        rows[i] = Pair(squares[0][i], squares[1][i]);
        rows[8 + i] = Pair(squares[2][i], squares[3][i]);
    }
}

/// The 8×8 transposition in three rounds: pairs, quadruples, 128-bit blocks.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn transpose_square(rows: &mut [__m256; 8]) {
    let (mut pairs, mut fours) = (*rows, *rows);
    for i in 0..4 {
        pairs[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    // fours[4i + j], 128-bit block b: column 4b + j of rows 4i..4i+4.
    for i in 0..2 {
        for j in 0..2 {
            let (low, high) = (pairs[4 * i + j], pairs[4 * i + 2 + j]);
            fours[4 * i + 2 * j] = _mm256_shuffle_ps::<0b01_00_01_00>(low, high);
            fours[4 * i + 2 * j + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(low, high);
        }
    }
    for j in 0..4 {
        rows[j] = _mm256_permute2f128_ps::<0x20>(fours[j], fours[4 + j]);
        rows[4 + j] = _mm256_permute2f128_ps::<0x31>(fours[j], fours[4 + j]);
    }
}

/// `shift_exponent` of eight lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn shift_half(a: __m256, count: __m256) -> __m256 {
    let shifted = _mm256_slli_epi32::<23>(_mm256_castps_si256(count));
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), shifted))
}
