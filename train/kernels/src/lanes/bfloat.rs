//! The numbers of bfloat16 products, which `operations` computes: which factors and sums there are, and why.
//!
//! The order of operations is that of x86-64's `vdpbf16ps`, found by experiment (the tests below check it): of each
//! pair, the upper halves are multiplied first, then the lower, each as a fused multiply-add that rounds to nearest
//! even. A product of two bfloat16 is exact in `f32`, so any processor with fused multiply-adds can compute the same.
//!
//! But this instruction treats all subnormal numbers as zero: factors, sums and results, judged after rounding with an
//! unlimited exponent range. No other instruction does that, so subnormal numbers must not occur. Factors below 2⁻⁵⁶
//! are therefore rounded to zero. All other factors are multiples of 2⁻⁶³, and their products multiples of 2⁻¹²⁶, the
//! least normal number. So are the sums, if their initial value is one too (`above_subnormal`); a sum that is not
//! zero is then normal.

/// The least factor that is not rounded to zero: 2⁻⁵⁶.
pub(super) const LEAST: f32 = f32::from_bits((127 - 56) << 23);
/// The least `f32` that is sure to be a multiple of 2⁻¹²⁶: 2⁻¹⁰³.
pub(super) const LEAST_START: f32 = f32::from_bits((127 - 103) << 23);

/// The nearest bfloat16, ties to even; zero below 2⁻⁵⁶.
#[inline(always)]
pub(super) fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let kept = if x.abs() < LEAST { 0 } else { rounded };
    if x.is_nan() { 0x7fc0 } else { kept }
}

#[cfg(test)]
mod tests {
    use super::super::super::level::Level;
    use super::super::super::testing::{Numbers, bits};
    use super::super::{Kernel, LANES, Lanes, above_subnormal, dispatch};
    use super::*;

    /// Sums, and the factors of each before they are rounded.
    struct Chain<'a>([f32; LANES], &'a [[f32; LANES]]);

    impl Kernel for Chain<'_> {
        type Output = Vec<f32>;
        const PAIRS: bool = true;

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> Vec<f32> {
            let mut sum = above_subnormal(lanes, lanes.vector(&self.0));
            let mut results = Vec::new();
            for factors in self.1.as_chunks::<4>().0 {
                let [a, b, c, d] = factors.each_ref().map(|factor| lanes.vector(factor));
                let (x, y) = (lanes.pair(a, b), lanes.pair(c, d));
                sum = lanes.fma_pairs(x, y, sum);
                let neighbours = lanes.pair_neighbours(a, d);
                for vector in [x, y, neighbours, sum] {
                    results.extend(lanes.array(vector));
                }
            }
            results
        }
    }

    /// Numbers of every size, or of sizes from 2^low on that so many powers of two span.
    fn of_sizes(numbers: &mut Numbers, low: i32, span: usize) -> f32 {
        let exponent = (low + 127) as u32 + numbers.below(span) as u32;
        let sign = (numbers.below(2) as u32) << 31;
        // Few bits now and then, so that there are ties.
        let mask = if numbers.below(2) == 0 { 0x7f_ffff } else { 0x7f_8000 };
        f32::from_bits(sign | exponent << 23 | numbers.below(1 << 23) as u32 & mask)
    }

    #[test]
    fn levels_agree_on_chains_of_numbers_of_every_size() {
        let mut numbers = Numbers::new(16);
        for (low, span) in [(-127, 256), (-70, 30), (-60, 8), (-57, 3), (-4, 8), (60, 68)] {
            for _ in 0..50 {
                let start = std::array::from_fn(|_| numbers.uniform(1)[0] * 1e-30);
                let factors: Vec<[f32; LANES]> = (0..32)
                    .map(|_| std::array::from_fn(|_| of_sizes(&mut numbers, low, span)))
                    .collect();
                let expected = bits(&dispatch(Level::SCALAR, Chain(start, &factors)));
                let sums = expected.chunks(4 * LANES).flat_map(|four| &four[3 * LANES..]);
                assert!(sums.map(|sum| f32::from_bits(*sum)).all(|sum| !sum.is_subnormal()));
                for level in Level::all_available() {
                    let found = bits(&dispatch(level, Chain(start, &factors)));
                    // A pair that holds a not-a-number is bits that have no name.
                    let same = found.iter().zip(&expected).enumerate().all(|(i, (a, b))| {
                        let is_sum = i / LANES % 4 == 3;
                        let nan =
                            |bits: u32| bits & 0x7f80 == 0x7f80 || bits >> 16 & 0x7f80 == 0x7f80;
                        a == b || !is_sum && nan(*a) && nan(*b)
                    });
                    assert!(same, "{level}: sizes from 2^{low}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_bfloat() {
        for (x, expected) in [
            (1.0, 0x3f80),
            (-1.0, 0xbf80),
            (1.0 + 1.0 / 256.0, 0x3f80),
            (1.0 + 3.0 / 256.0, 0x3f82),
            (1.0 + 1.01 / 256.0, 0x3f81),
            (f32::MAX, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
            (LEAST, 0x2380),
            (LEAST * 0.999, 0),
            (1e-40, 0),
        ] {
            assert_eq!(round(x), expected, "{x}");
        }
        assert!(f32::from_bits(round(f32::NAN) << 16).is_nan());
    }

    #[cfg(target_arch = "x86_64")]
    mod instruction {
        use super::*;
        use std::arch::x86_64::*;
        use std::mem::transmute;

        /// `vdpbf16ps` on pairs of any bits.
        #[target_feature(enable = "avx512f,avx512bf16")]
        fn multiply_pairs(sum: [f32; LANES], a: [u32; LANES], b: [u32; LANES]) -> [f32; LANES] {
            // SAFETY: arrays and registers of 64 bytes, any bits of which are numbers.
            unsafe {
                let [a, b] = [a, b].map(|pairs| transmute::<[u32; LANES], __m512bh>(pairs));
                transmute(_mm512_dpbf16_ps(transmute::<[f32; LANES], __m512>(sum), a, b))
            }
        }

        /// Subnormal numbers become zeros of their sign.
        fn flush(x: f32) -> f32 {
            if x.is_subnormal() { 0.0_f32.copysign(x) } else { x }
        }

        /// a·b + c of flushed numbers, flushed if it is too small after rounding to 24 bits.
        fn flushed_fma(a: f32, b: f32, c: f32) -> f32 {
            let [a, b, c] = [a, b, c].map(flush);
            let result = a.mul_add(b, c);
            // At 2³² times the size there is room below for all 24 bits.
            let factor = f32::from_bits((127 + 32) << 23);
            let larger = (a * factor).mul_add(b, c * factor);
            match result.abs() <= f32::MIN_POSITIVE && larger.abs() < f32::MIN_POSITIVE * factor {
                true => 0.0_f32.copysign(result),
                false => result,
            }
        }

        /// The experiment that this file's order follows.
        #[test]
        fn the_upper_product_is_added_first_and_what_is_subnormal_is_zero() {
            if !is_x86_feature_detected!("avx512bf16") {
                return;
            }
            let mut numbers = Numbers::new(17);
            // Factors' and sums' sizes: typical ones, every, around the least normal, around the largest.
            for (factors, sums) in [
                ((-7, 10), (-10, 20)),
                ((-127, 256), (-127, 256)),
                ((-77, 20), (-127, 10)),
                ((-72, 16), (-127, 4)),
                ((-64, 3), (-126, 2)),
                ((58, 12), (113, 16)),
            ] {
                for _ in 0..20_000 {
                    let mut number = |(low, span)| of_sizes(&mut numbers, low, span);
                    let sum: [f32; LANES] = std::array::from_fn(|_| number(sums));
                    let mut pairs = || -> [u32; LANES] {
                        std::array::from_fn(|_| {
                            number(factors).to_bits() >> 16
                                | number(factors).to_bits() & 0xffff_0000
                        })
                    };
                    let (a, b) = (pairs(), pairs());
                    let expected: [f32; LANES] = std::array::from_fn(|i| {
                        let upper = |pair: u32| f32::from_bits(pair & 0xffff_0000);
                        let lower = |pair: u32| f32::from_bits(pair << 16);
                        let sum = flushed_fma(upper(a[i]), upper(b[i]), sum[i]);
                        flushed_fma(lower(a[i]), lower(b[i]), sum)
                    });
                    // SAFETY: the processor has it, as just asked.
                    let found = unsafe { multiply_pairs(sum, a, b) };
                    assert_eq!(bits(&found), bits(&expected), "{sum:?} {a:x?} {b:x?}");
                }
            }
        }
    }
}
