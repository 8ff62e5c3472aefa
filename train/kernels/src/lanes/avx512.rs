//! Sixteen lanes as one AVX-512 register.

use super::bfloat;
use super::operations::{self, Int8Panel, Kernel, LANES, Lanes, Pair, PairLines};
use std::arch::x86_64::*;
use std::mem::transmute;

/// The token of the AVX-512 levels, with BF16 or without: it exists only inside `run` and `run_pairs`.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const BF16: bool>(());

/// Runs a kernel with AVX-512 instructions.
///
/// # Safety
/// The processor must have AVX-512F, BW, DQ, VL and VNNI, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::<false>(()))
}

/// Runs a kernel with AVX-512 instructions, and those for pairs of bfloat16.
///
/// # Safety
/// The processor must have AVX-512BF16, and what `run` wants.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma")]
pub(super) unsafe fn run_pairs<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::<true>(()))
}

// SAFETY (of every block here): `self` is a token that only `run` and `run_pairs` make, so the processor has the
// instructions; pointers are as good as the caller of `load` and `store` grants.
impl<const BF16: bool> Lanes for Avx512<BF16> {
    type Vector = __m512;
    const WIDE: bool = true;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: __m512) {
        // SAFETY: see the impl.
        unsafe { _mm512_storeu_ps(to, vector) }
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u16) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store_half(self, to: *mut u16, vector: __m512) {
        // SAFETY: see the impl. 8: nearest even, no exceptions.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<8>(vector)) }
    }

    #[inline(always)]
    unsafe fn load_bfloat(self, from: *const u16) -> __m512 {
        // SAFETY: see the impl.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    unsafe fn load_powers(self, from: *const u8) -> __m512 {
        // SAFETY: see the impl.
        unsafe {
            let wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(wide))
        }
    }

    #[inline(always)]
    unsafe fn dot_bytes(self, query: &[i8], total: i32, keys: *const u8) -> [__m512; 4] {
        // SAFETY: see the impl.
        unsafe { dot_bytes(query, total, keys) }
    }

    #[inline(always)]
    unsafe fn mix_bytes<const V: usize>(
        self,
        weights: &[u8; 64],
        values: *const i8,
        stride: usize,
    ) -> [__m512; V] {
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
        unsafe { multiply_int8(x, fours, weights, sums) }
    }

    #[inline(always)]
    unsafe fn multiply_pairs<const R: usize, const V: usize>(
        self,
        lines: usize,
        left: PairLines,
        right: PairLines,
    ) -> [[__m512; V]; R] {
        // Not in a function of its own, which the compiler would not put into every loop that uses it.
        // SAFETY: see the impl; the caller grants R and 16·V pairs of each line.
        unsafe {
            let mut sums = [[_mm512_setzero_si512(); V]; R];
            for line in 0..lines {
                let left = left.first.add(line * left.stride);
                let right = right.first.add(line * right.stride);
                let mut sixteens = [_mm512_setzero_si512(); V];
                for v in 0..V {
                    sixteens[v] = _mm512_loadu_si512(right.add(v * LANES).cast());
                }
                for r in 0..R {
                    let left = _mm512_set1_epi32(left.add(r).cast::<i32>().read_unaligned());
                    for v in 0..V {
                        sums[r][v] = _mm512_dpwssd_epi32(sums[r][v], left, sixteens[v]);
                    }
                }
            }
            let mut floats = [[self.zero(); V]; R];
            for r in 0..R {
                for v in 0..V {
                    floats[r][v] = _mm512_cvtepi32_ps(sums[r][v]);
                }
            }
            floats
        }
    }

    #[inline(always)]
    unsafe fn store_pairs(self, to: *mut Pair, first: __m512, second: __m512) {
        // SAFETY: see the impl. Conversions round to the nearest, ties to even: Rust leaves the mode at that.
        unsafe {
            let (first, second) = (_mm512_cvtps_epi32(first), _mm512_cvtps_epi32(second));
            let second = _mm512_slli_epi32::<16>(second);
            _mm512_storeu_si512(to.cast(), _mm512_mask_blend_epi16(0xaaaa_aaaa, first, second));
        }
    }

    #[inline(always)]
    fn swap_halves(self, a: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_shuffle_f32x4::<0b01_00_11_10>(a, a) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_sqrt_ps(a) }
    }

    #[inline(always)]
    fn fraction(self, a: __m512) -> __m512 {
        // SAFETY: see the impl. 8: no bits behind the point, nearest even, no exceptions.
        unsafe { _mm512_reduce_ps::<8>(a) }
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn select_greater(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), no, yes) }
    }

    #[inline(always)]
    fn fma_pairs(self, a: __m512, b: __m512, sum: __m512) -> __m512 {
        if !BF16 {
            return operations::fma_pairs(self, a, b, sum);
        }
        // SAFETY: see the impl; any bits are pairs.
        unsafe {
            _mm512_dpbf16_ps(
                sum,
                transmute::<__m512, __m512bh>(a),
                transmute::<__m512, __m512bh>(b),
            )
        }
    }

    #[inline(always)]
    fn halves(self, pairs: __m512) -> [__m512; 2] {
        // SAFETY: see the impl.
        unsafe {
            let bits = _mm512_castps_si512(pairs);
            let upper = _mm512_and_si512(bits, _mm512_set1_epi32(-0x1_0000));
            [upper, _mm512_slli_epi32::<16>(bits)].map(|bits| _mm512_castsi512_ps(bits))
        }
    }

    #[inline(always)]
    fn pair(self, lower: __m512, upper: __m512) -> __m512 {
        if !BF16 {
            return operations::pair(self, lower, upper);
        }
        const INTERLEAVED: [u16; 2 * LANES] = {
            let mut order = [0; 2 * LANES];
            let mut i = 0;
            while i < order.len() {
                order[i] = (i / 2 + i % 2 * LANES) as u16;
                i += 1;
            }
            order
        };
        // SAFETY: see the impl; any bits are 32 numbers of 16.
        unsafe {
            let order = transmute::<[u16; 2 * LANES], __m512i>(INTERLEAVED);
            let apart = self.pair_neighbours(lower, upper);
            _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, _mm512_castps_si512(apart)))
        }
    }

    #[inline(always)]
    fn pair_neighbours(self, first: __m512, second: __m512) -> __m512 {
        if !BF16 {
            return operations::pair_neighbours(self, first, second);
        }
        // SAFETY: see the impl; any bits are sixteen numbers.
        unsafe {
            let least = _mm512_set1_ps(bfloat::LEAST);
            // Whatever is not less, not-a-numbers among them.
            let [first, second] = [first, second].map(|x| {
                _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_abs_ps(x), least), x)
            });
            transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(second, first))
        }
    }

    #[inline(always)]
    fn shift_exponent(self, a: __m512, count: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe {
            let shifted = _mm512_slli_epi32::<23>(_mm512_castps_si512(count));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), shifted))
        }
    }

    #[inline(always)]
    fn all_equal(self, a: __m512, b: __m512) -> bool {
        // SAFETY: see the impl.
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) == 0xffff }
    }

    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        // SAFETY: see the impl.
        unsafe {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    fn sum_four(self, [a, b, c, d]: [__m512; 4]) -> [f32; 4] {
        // SAFETY: see the impl.
        unsafe {
            // The halves of two vectors, then the quarters of four: a register keeps one sum of each.
            let low = _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b);
            let ab = _mm512_add_ps(low, _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b));
            let low = _mm512_shuffle_f32x4::<0b01_00_01_00>(c, d);
            let cd = _mm512_add_ps(low, _mm512_shuffle_f32x4::<0b11_10_11_10>(c, d));
            let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd);
            let four = _mm512_add_ps(even, _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd));
            let two = _mm512_add_ps(four, _mm512_permute_ps::<0b01_00_11_10>(four));
            let one = _mm512_add_ps(two, _mm512_permute_ps::<0b10_11_00_01>(two));
            let sums = self.array(one);
            [sums[0], sums[4], sums[8], sums[12]]
        }
    }

    #[inline(always)]
    fn largest(self, a: __m512) -> f32 {
        // SAFETY: see the impl.
        unsafe {
            let eight = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    fn transpose(self, rows: &mut [__m512; LANES]) {
        // SAFETY: see the impl.
        unsafe { transpose(rows) }
    }
}

/// `Lanes::dot_bytes`.
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn dot_bytes(query: &[i8], total: i32, keys: *const u8) -> [__m512; 4] {
    // Keys are 128 too large.
    let mut sums = [_mm512_set1_epi32(-128 * total); 4];
    for (four, query) in query.as_chunks::<4>().0.iter().enumerate() {
        let query = i32::from_le_bytes(query.map(i8::cast_unsigned));
        for (part, sum) in sums.iter_mut().enumerate() {
            // SAFETY: granted by the caller.
            let keys = unsafe { _mm512_loadu_si512(keys.add(four * 256 + part * 64).cast()) };
            *sum = _mm512_dpbusd_epi32(*sum, keys, _mm512_set1_epi32(query));
        }
    }
    let mut floats = [_mm512_setzero_ps(); 4];
    for (float, sum) in floats.iter_mut().zip(sums) {
        *float = _mm512_cvtepi32_ps(sum);
    }
    floats
}

/// `Lanes::multiply_int8`: rows of x, their sign bits turned, are numbers without a sign, and 128 too large.
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn multiply_int8<const R: usize>(
    x: [*const i8; R],
    fours: usize,
    panel: Int8Panel,
    sums: *mut f32,
) {
    let sign = i32::from_le_bytes([128; 4]);
    // SAFETY: granted by the caller: a panel's offsets and weights, fours of each row, 64 places for each.
    unsafe {
        let offsets: [_; 4] =
            std::array::from_fn(|i| _mm512_loadu_si512(panel.offsets.add(i * LANES).cast()));
        let mut totals = [offsets; R];
        for four in 0..fours {
            let weights = panel.weights.add(four * 16 * LANES);
            let weights: [_; 4] =
                std::array::from_fn(|i| _mm512_loadu_si512(weights.add(i * 64).cast()));
            for r in 0..R {
                let x = x[r].add(four * 4).cast::<i32>().read_unaligned();
                let x = _mm512_set1_epi32(x ^ sign);
                for i in 0..4 {
                    totals[r][i] = _mm512_dpbusd_epi32(totals[r][i], x, weights[i]);
                }
            }
        }
        for (i, total) in totals.as_flattened().iter().enumerate() {
            _mm512_storeu_ps(sums.add(i * LANES), _mm512_cvtepi32_ps(*total));
        }
    }
}

/// `Lanes::mix_bytes`.
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn mix_bytes<const V: usize>(
    weights: &[u8; 64],
    values: *const i8,
    stride: usize,
) -> [__m512; V] {
    let mut sums = [_mm512_setzero_si512(); V];
    for (four, weights) in weights.as_chunks::<4>().0.iter().enumerate() {
        let weights = i32::from_le_bytes(*weights);
        for (v, sum) in sums.iter_mut().enumerate() {
            // SAFETY: granted by the caller.
            let values =
                unsafe { _mm512_loadu_si512(values.add(four * stride * 4 + v * 64).cast()) };
            *sum = _mm512_dpbusd_epi32(*sum, _mm512_set1_epi32(weights), values);
        }
    }
    let mut floats = [_mm512_setzero_ps(); V];
    for (float, sum) in floats.iter_mut().zip(sums) {
        *float = _mm512_cvtepi32_ps(sum);
    }
    floats
}

/// The 16×16 transposition in four rounds: pairs, quadruples, 128-bit blocks twice.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn transpose(rows: &mut [__m512; LANES]) {
    let mut t = *rows;
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    // q[4i + j], 128-bit block b: column 4b + j of rows 4i..4i+4.
    let mut q = t;
    for i in 0..4 {
        let pairs =
            [t[4 * i], t[4 * i + 1], t[4 * i + 2], t[4 * i + 3]].map(|v| _mm512_castps_pd(v));
        q[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pairs[0], pairs[2]));
        q[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pairs[0], pairs[2]));
        q[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pairs[1], pairs[3]));
        q[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pairs[1], pairs[3]));
    }
    for j in 0..4 {
        let (a, b, c, d) = (q[j], q[4 + j], q[8 + j], q[12 + j]);
        let ab_even = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b); // blocks a0 a2 b0 b2
        let ab_odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b); // a1 a3 b1 b3
        let cd_even = _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d);
        let cd_odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d);
        rows[j] = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_even, cd_even); // a0 b0 c0 d0
        rows[4 + j] = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_odd, cd_odd); // a1 b1 c1 d1
        rows[8 + j] = _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_even, cd_even); // a2 b2 c2 d2
        rows[12 + j] = _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_odd, cd_odd); // a3 b3 c3 d3
    }
}
