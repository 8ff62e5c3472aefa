//! Sixteen lanes as four NEON registers. Every 64-bit ARM processor has them.

use super::operations::{Int8Panel, LANES, Lanes, Pair, PairLines};
use std::arch::aarch64::*;

/// The token of the NEON level.
#[derive(Clone, Copy)]
pub(super) struct Neon;

type Vector = [float32x4_t; 4];

/// Combines two vectors register by register.
#[inline(always)]
fn zip(
    a: Vector,
    b: Vector,
    operation: impl Fn(float32x4_t, float32x4_t) -> float32x4_t,
) -> Vector {
    [operation(a[0], b[0]), operation(a[1], b[1]), operation(a[2], b[2]), operation(a[3], b[3])]
}

// SAFETY (of every block here): NEON is part of the aarch64 targets that Rust builds for, so the instructions
// exist; pointers are as good as the caller of `load` and `store` grants.
impl Lanes for Neon {
    type Vector = Vector;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, value: f32) -> Vector {
        // SAFETY: see the impl.
        [unsafe { vdupq_n_f32(value) }; 4]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Vector {
        // SAFETY: see the impl.
        unsafe {
            [
                vld1q_f32(from),
                vld1q_f32(from.add(4)),
                vld1q_f32(from.add(8)),
                vld1q_f32(from.add(12)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: Vector) {
        // SAFETY: see the impl.
        unsafe {
            vst1q_f32(to, vector[0]);
            vst1q_f32(to.add(4), vector[1]);
            vst1q_f32(to.add(8), vector[2]);
            vst1q_f32(to.add(12), vector[3]);
        }
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const u16) -> Vector {
        std::array::from_fn(|i| {
            let wide: float32x4_t;
            // SAFETY: see the impl. The intrinsic wants a type that is not stable; the instruction is exact.
            unsafe {
                let halves = vld1_u16(from.add(4 * i));
                std::arch::asm!(
                    "fcvtl {wide:v}.4s, {halves:v}.4h",
                    wide = lateout(vreg) wide,
                    halves = in(vreg) halves,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
            wide
        })
    }

    #[inline(always)]
    unsafe fn store_half(self, to: *mut u16, vector: Vector) {
        for (i, wide) in vector.into_iter().enumerate() {
            // SAFETY: see the impl. Rust leaves the rounding at nearest even.
            unsafe {
                let halves: uint16x4_t;
                std::arch::asm!(
                    "fcvtn {halves:v}.4h, {wide:v}.4s",
                    halves = lateout(vreg) halves,
                    wide = in(vreg) wide,
                    options(pure, nomem, nostack, preserves_flags)
                );
                vst1_u16(to.add(4 * i), halves);
            }
        }
    }

    #[inline(always)]
    unsafe fn load_bfloat(self, from: *const u16) -> Vector {
        // SAFETY: see the impl.
        std::array::from_fn(|i| unsafe {
            vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.add(4 * i))))
        })
    }

    #[inline(always)]
    unsafe fn load_powers(self, from: *const u8) -> Vector {
        // SAFETY: see the impl.
        unsafe {
            let bytes = vld1q_u8(from);
            let low = vmovl_u8(vget_low_u8(bytes));
            let high = vmovl_u8(vget_high_u8(bytes));
            let quarters =
                [vget_low_u16(low), vget_high_u16(low), vget_low_u16(high), vget_high_u16(high)];
            quarters.map(|four| vreinterpretq_f32_u32(vshlq_n_u32::<23>(vmovl_u16(four))))
        }
    }

    #[inline(always)]
    unsafe fn dot_bytes(self, query: &[i8], _: i32, keys: *const u8) -> [Vector; 4] {
        // SAFETY: see the impl.
        std::array::from_fn(|part| unsafe { dot_sixteen(query, keys.add(part * 64)) })
    }

    #[inline(always)]
    unsafe fn mix_bytes<const V: usize>(
        self,
        weights: &[u8; 64],
        values: *const i8,
        stride: usize,
    ) -> [Vector; V] {
        // SAFETY: see the impl.
        std::array::from_fn(|v| unsafe { mix_sixteen(weights, values.add(v * 64), stride) })
    }

    #[inline(always)]
    unsafe fn multiply_int8<const R: usize>(
        self,
        x: [*const i8; R],
        fours: usize,
        panel: Int8Panel,
        sums: *mut f32,
    ) {
        for (row, x) in x.into_iter().enumerate() {
            for column in (0..4 * LANES).step_by(LANES) {
                // SAFETY: granted by the caller: 64 fours of weights for each of a row, and 64 places.
                unsafe {
                    let weights = panel.weights.add(column * 4);
                    let totals = multiply_sixteen(x, fours, weights);
                    self.store(sums.add(row * 4 * LANES + column), totals);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply_pairs<const R: usize, const V: usize>(
        self,
        lines: usize,
        left: PairLines,
        right: PairLines,
    ) -> [[Vector; V]; R] {
        let mut sums = [[self.zero(); V]; R];
        for v in 0..V {
            for half in 0..2 {
                // SAFETY: granted by the caller.
                let eights: [_; R] = unsafe {
                    let first = right.first.add(v * LANES + half * 8);
                    multiply_eight(lines, left, PairLines { first, ..right })
                };
                for r in 0..R {
                    [sums[r][v][2 * half], sums[r][v][2 * half + 1]] = eights[r];
                }
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn store_pairs(self, to: *mut Pair, first: Vector, second: Vector) {
        for i in 0..4 {
            // SAFETY: see the impl.
            unsafe {
                let (first, second) = (vcvtnq_s32_f32(first[i]), vcvtnq_s32_f32(second[i]));
                // The second number's bits over the upper half of the first's.
                vst1q_s32(to.add(4 * i).cast(), vsliq_n_s32::<16>(first, second));
            }
        }
    }

    #[inline(always)]
    fn swap_halves(self, a: Vector) -> Vector {
        [a[2], a[3], a[0], a[1]]
    }

    #[inline(always)]
    fn add(self, a: Vector, b: Vector) -> Vector {
        // SAFETY: see the impl.
        zip(a, b, |a, b| unsafe { vaddq_f32(a, b) })
    }

    #[inline(always)]
    fn sub(self, a: Vector, b: Vector) -> Vector {
        // SAFETY: see the impl.
        zip(a, b, |a, b| unsafe { vsubq_f32(a, b) })
    }

    #[inline(always)]
    fn mul(self, a: Vector, b: Vector) -> Vector {
        // SAFETY: see the impl.
        zip(a, b, |a, b| unsafe { vmulq_f32(a, b) })
    }

    #[inline(always)]
    fn div(self, a: Vector, b: Vector) -> Vector {
        // SAFETY: see the impl.
        zip(a, b, |a, b| unsafe { vdivq_f32(a, b) })
    }

    #[inline(always)]
    fn sqrt(self, a: Vector) -> Vector {
        // SAFETY: see the impl.
        a.map(|a| unsafe { vsqrtq_f32(a) })
    }

    #[inline(always)]
    fn fraction(self, a: Vector) -> Vector {
        // SAFETY: see the impl.
        self.sub(a, a.map(|a| unsafe { vrndnq_f32(a) }))
    }

    #[inline(always)]
    fn fma(self, a: Vector, b: Vector, c: Vector) -> Vector {
        // SAFETY: see the impl. `vfmaq_f32(c, a, b)` is c + a·b, rounded once.
        unsafe {
            [
                vfmaq_f32(c[0], a[0], b[0]),
                vfmaq_f32(c[1], a[1], b[1]),
                vfmaq_f32(c[2], a[2], b[2]),
                vfmaq_f32(c[3], a[3], b[3]),
            ]
        }
    }

    #[inline(always)]
    fn max(self, a: Vector, b: Vector) -> Vector {
        // By comparison: `vmaxq_f32` treats not-a-number and zeros in its own way.
        self.select_greater(a, b, a, b)
    }

    #[inline(always)]
    fn min(self, a: Vector, b: Vector) -> Vector {
        self.select_greater(b, a, a, b)
    }

    #[inline(always)]
    fn select_greater(self, a: Vector, b: Vector, yes: Vector, no: Vector) -> Vector {
        // SAFETY: see the impl.
        unsafe {
            [
                vbslq_f32(vcgtq_f32(a[0], b[0]), yes[0], no[0]),
                vbslq_f32(vcgtq_f32(a[1], b[1]), yes[1], no[1]),
                vbslq_f32(vcgtq_f32(a[2], b[2]), yes[2], no[2]),
                vbslq_f32(vcgtq_f32(a[3], b[3]), yes[3], no[3]),
            ]
        }
    }

    #[inline(always)]
    fn halves(self, pairs: Vector) -> [Vector; 2] {
        // SAFETY: see the impl.
        let bits = pairs.map(|part| unsafe { vreinterpretq_u32_f32(part) });
        // SAFETY: see the impl.
        let upper =
            |part| unsafe { vreinterpretq_f32_u32(vandq_u32(part, vdupq_n_u32(0xffff_0000))) };
        // SAFETY: see the impl.
        let lower = |part| unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(part)) };
        [bits.map(upper), bits.map(lower)]
    }

    #[inline(always)]
    fn shift_exponent(self, a: Vector, count: Vector) -> Vector {
        // SAFETY: see the impl.
        zip(a, count, |a, count| unsafe {
            let shifted = vshlq_n_u32::<23>(vreinterpretq_u32_f32(count));
            vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(a), shifted))
        })
    }

    #[inline(always)]
    fn all_equal(self, a: Vector, b: Vector) -> bool {
        // SAFETY: see the impl.
        unsafe {
            let low = vandq_u32(vceqq_f32(a[0], b[0]), vceqq_f32(a[1], b[1]));
            let high = vandq_u32(vceqq_f32(a[2], b[2]), vceqq_f32(a[3], b[3]));
            vminvq_u32(vandq_u32(low, high)) == u32::MAX
        }
    }

    #[inline(always)]
    fn sum(self, a: Vector) -> f32 {
        // SAFETY: see the impl.
        unsafe {
            let (low, high) = (vaddq_f32(a[0], a[2]), vaddq_f32(a[1], a[3])); // lanes i and i+8
            let four = vaddq_f32(low, high); // i and i+4
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four)); // i and i+2
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }

    #[inline(always)]
    fn largest(self, a: Vector) -> f32 {
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let eight = self.max(a, [a[2], a[3], a[0], a[1]]);
        let array = self.array(self.max(eight, [eight[1], eight[0], eight[3], eight[2]]));
        larger(larger(array[0], array[2]), larger(array[1], array[3]))
    }

    #[inline(always)]
    fn transpose(self, rows: &mut [Vector; LANES]) {
        let old = rows.map(|row| self.array(row));
        for (i, row) in rows.iter_mut().enumerate() {
            *row = self.vector(&std::array::from_fn(|j| old[j][i]));
        }
    }
}

/// Σ query·(key − 128) for sixteen keys of [dims / 4, 64, 4].
///
/// # Safety
/// As for `Lanes::dot_bytes`.
#[inline(always)]
unsafe fn dot_sixteen(query: &[i8], keys: *const u8) -> Vector {
    // SAFETY: granted by the caller, and see the impl.
    unsafe {
        // Two sums for each of two keys.
        let mut sums = [vdupq_n_s32(0); 8];
        for (four, query) in query.chunks_exact(4).enumerate() {
            let query = i32::from_le_bytes(std::array::from_fn(|i| query[i] as u8));
            let query = vreinterpret_s8_s32(vdup_n_s32(query));
            for (i, sum) in sums.iter_mut().enumerate() {
                let keys = vld1_u8(keys.add(four * 256 + i * 8));
                let keys = vreinterpret_s8_u8(veor_u8(keys, vdup_n_u8(128)));
                *sum = vpadalq_s16(*sum, vmull_s8(query, keys));
            }
        }
        std::array::from_fn(|i| vcvtq_f32_s32(vpaddq_s32(sums[2 * i], sums[2 * i + 1])))
    }
}

/// Σ weight·value of sixteen numbers: as for `Lanes::mix_bytes`.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn mix_sixteen(weights: &[u8; 64], values: *const i8, stride: usize) -> Vector {
    // SAFETY: granted by the caller, and see the impl.
    unsafe {
        // Four sums for each number.
        let mut sums = [vdupq_n_s32(0); 16];
        for (four, weights) in weights.as_chunks::<4>().0.iter().enumerate() {
            let weights = u32::from_le_bytes(*weights);
            let weights = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(weights)));
            let weights = vget_low_s16(vreinterpretq_s16_u16(weights));
            for (i, sums) in sums.chunks_exact_mut(2).enumerate() {
                let values = vmovl_s8(vld1_s8(values.add(four * stride * 4 + i * 8)));
                sums[0] = vmlal_s16(sums[0], vget_low_s16(values), weights);
                sums[1] = vmlal_s16(sums[1], vget_high_s16(values), weights);
            }
        }
        std::array::from_fn(|i| {
            let [a, b, c, d] = [0, 1, 2, 3].map(|j| sums[4 * i + j]);
            vcvtq_f32_s32(vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)))
        })
    }
}

/// `Lanes::multiply_pairs` for the first eight pairs of each line of `right`.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn multiply_eight<const R: usize>(
    lines: usize,
    left: PairLines,
    right: PairLines,
) -> [[float32x4_t; 2]; R] {
    // SAFETY: granted by the caller, and see the impl.
    unsafe {
        // Two sums for each of two lanes.
        let mut sums = [[vdupq_n_s32(0); 4]; R];
        for line in 0..lines {
            let left = left.first.add(line * left.stride);
            let right = right.first.add(line * right.stride).cast::<i16>();
            let fours = [vld1q_s16(right), vld1q_s16(right.add(8))];
            for r in 0..R {
                let left = left.add(r).cast::<i32>().read_unaligned();
                let left = vreinterpretq_s16_s32(vdupq_n_s32(left));
                for i in 0..2 {
                    let sums = &mut sums[r][2 * i..];
                    sums[0] = vmlal_s16(sums[0], vget_low_s16(left), vget_low_s16(fours[i]));
                    sums[1] = vmlal_high_s16(sums[1], left, fours[i]);
                }
            }
        }
        sums.map(|[a, b, c, d]| [vcvtq_f32_s32(vpaddq_s32(a, b)), vcvtq_f32_s32(vpaddq_s32(c, d))])
    }
}

/// Σ x·weight for sixteen columns of [fours, 64, 4].
///
/// # Safety
/// As for `Lanes::multiply_int8`.
#[inline(always)]
unsafe fn multiply_sixteen(x: *const i8, fours: usize, weights: *const i8) -> Vector {
    // SAFETY: granted by the caller, and see the impl.
    unsafe {
        // Two sums for each of two columns.
        let mut sums = [vdupq_n_s32(0); 8];
        for four in 0..fours {
            let x = x.add(four * 4).cast::<i32>().read_unaligned();
            let x = vreinterpret_s8_s32(vdup_n_s32(x));
            for (i, sum) in sums.iter_mut().enumerate() {
                let weights = vld1_s8(weights.add(four * 256 + i * 8));
                *sum = vpadalq_s16(*sum, vmull_s8(x, weights));
            }
        }
        std::array::from_fn(|i| vcvtq_f32_s32(vpaddq_s32(sums[2 * i], sums[2 * i + 1])))
    }
}
