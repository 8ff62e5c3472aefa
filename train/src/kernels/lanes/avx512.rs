//! Sixteen lanes as one AVX-512 register.

use super::{Kernel, LANES, Lanes};
use std::arch::x86_64::*;

/// The token of the AVX-512 level: it exists only inside `run`.
#[derive(Clone, Copy)]
pub(super) struct Avx512 {
    /// Whether the processor has VNNI: Skylake servers do not.
    vnni: bool,
}

/// Runs a kernel with AVX-512 instructions.
///
/// # Safety
/// The processor must have AVX-512F, BW, DQ and VL, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512 { vnni: is_x86_feature_detected!("avx512vnni") })
}

// SAFETY (of every block here): `self` is a token that only `run` makes, so the processor has the instructions;
// pointers are as good as the caller of `load` and `store` grants.
impl Lanes for Avx512 {
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
    unsafe fn load_bytes(self, from: *const i8) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
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
    unsafe fn dot_bytes(self, query: &[i8], keys: *const u8) -> [__m512; 4] {
        // SAFETY: see the impl, and `vnni`.
        unsafe { if self.vnni { dot_vnni(query, keys) } else { dot_pairs(query, keys) } }
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

/// `Lanes::dot_bytes` by sums of four products in one instruction.
///
/// # Safety
/// As there.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn dot_vnni(query: &[i8], keys: *const u8) -> [__m512; 4] {
    let mut sums = [_mm512_setzero_si512(); 4];
    // Keys are 128 too large.
    let (excess, mut excess_sum) = (_mm512_set1_epi8(i8::MIN), _mm512_setzero_si512());
    for (four, query) in query.chunks_exact(4).enumerate() {
        let query = broadcast(query);
        excess_sum = _mm512_dpbusd_epi32(excess_sum, excess, query);
        for (part, sum) in sums.iter_mut().enumerate() {
            // SAFETY: granted by the caller.
            let keys = unsafe { _mm512_loadu_si512(keys.add(four * 256 + part * 64).cast()) };
            *sum = _mm512_dpbusd_epi32(*sum, keys, query);
        }
    }
    sums.map(|sum| _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, excess_sum)))
}

/// `Lanes::dot_bytes` by sums of two products.
///
/// # Safety
/// As there.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn dot_pairs(query: &[i8], keys: *const u8) -> [__m512; 4] {
    let (sign, ones) = (_mm512_set1_epi8(i8::MIN), _mm512_set1_epi16(1));
    let mut sums = [_mm512_setzero_si512(); 4];
    for (four, query) in query.chunks_exact(4).enumerate() {
        let query = broadcast(query);
        let (size, negative) = (_mm512_abs_epi8(query), _mm512_movepi8_mask(query));
        for (part, sum) in sums.iter_mut().enumerate() {
            // SAFETY: granted by the caller.
            let keys = unsafe { _mm512_loadu_si512(keys.add(four * 256 + part * 64).cast()) };
            let keys = _mm512_xor_si512(keys, sign);
            let keys = _mm512_mask_sub_epi8(keys, negative, _mm512_setzero_si512(), keys);
            // Two products are at most 2·127·127: they fit into 16 bits.
            let pairs = _mm512_maddubs_epi16(size, keys);
            *sum = _mm512_add_epi32(*sum, _mm512_madd_epi16(pairs, ones));
        }
    }
    sums.map(|sum| _mm512_cvtepi32_ps(sum))
}

/// Four bytes, sixteen times.
#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast(four: &[i8]) -> __m512i {
    _mm512_set1_epi32(i32::from_le_bytes(std::array::from_fn(|i| four[i] as u8)))
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

#[cfg(test)]
mod tests {
    use super::super::super::level::Level;
    use super::*;

    /// What processors without VNNI run; the other one is tested with the levels.
    #[test]
    fn both_ways_to_multiply_bytes_agree() {
        if !Level::Avx512.available() || !is_x86_feature_detected!("avx512vnni") {
            return;
        }
        for seed in 0..20 {
            let number = |i: usize| ((i * 7919 + seed * 131) % 255) as i32 - 127;
            let mut query: Vec<i8> = (0..64).map(|i| number(i * i) as i8).collect();
            let mut keys: Vec<u8> = (0..64 * 64).map(|i| (number(i) + 128) as u8).collect();
            if seed == 0 {
                (query, keys) = (vec![-127; 64], vec![255; 64 * 64]);
            }
            // SAFETY: the processor can, and the keys are 64 times as many as the query's numbers.
            unsafe {
                let (a, b) = (dot_vnni(&query, keys.as_ptr()), dot_pairs(&query, keys.as_ptr()));
                let equal = |(a, b)| _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) == 0xffff;
                assert!(a.into_iter().zip(b).all(equal), "{seed}");
            }
        }
    }
}
