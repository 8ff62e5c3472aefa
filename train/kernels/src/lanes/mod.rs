//! Sixteen `f32` lanes at every SIMD level: the operations in which all kernels are written.
//!
//! A level is a value (`Scalar`, `Avx2`, `Avx512`, `Neon`) that exists only if the processor supports the level. Each
//! operation is exact or correctly rounded, and is defined bit for bit, so that all levels agree.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bfloat;
#[cfg(target_arch = "aarch64")]
mod neon;
mod operations;
mod scalar;

use super::level::{Instructions, Level};
pub(super) use operations::{Int8Panel, Kernel, LANES, Lanes, Pair, PairLines, above_subnormal};

/// Asks for the cache line at an address, which need not be the program's, ahead of its use.
#[inline(always)]
pub(super) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has it, and it changes nothing that the program sees.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The largest of 16 numbers. Which of two zeros it gives is not defined: callers must not depend on that.
#[inline(always)]
pub(super) fn largest<L: Lanes>(lanes: L, a: L::Vector) -> f32 {
    lanes.largest(a)
}

/// Runs a kernel at a level, which is one that this machine has.
#[inline]
pub(super) fn dispatch<K: Kernel>(level: Level, kernel: K) -> K::Output {
    match level.instructions() {
        Instructions::Scalar => kernel.run(scalar::Scalar),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Level` is made by detection alone, so the machine has these instructions.
        Instructions::Avx512Bf16 if K::PAIRS => unsafe { avx512::run_pairs(kernel) },
        // Pairs that no instruction multiplies are computed otherwise, once for both levels.
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above; with AVX-512 there is AVX2.
        Instructions::Avx512 if K::PAIRS => unsafe { avx2::run(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Instructions::Avx2 => unsafe { avx2::run(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above; with BF16 there is all that the level without it has.
        Instructions::Avx512 | Instructions::Avx512Bf16 => unsafe { avx512::run(kernel) },
        #[cfg(target_arch = "aarch64")]
        Instructions::Neon => kernel.run(neon::Neon),
        #[allow(unreachable_patterns)]
        _ => unreachable!("level {level} is not of this architecture"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation on two vectors; not-a-number, zeros of both signs and infinities included.
    struct Operations([f32; LANES], [f32; LANES]);

    impl Kernel for Operations {
        type Output = Vec<u32>;

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> Vec<u32> {
            let (a, b) = (lanes.vector(&self.0), lanes.vector(&self.1));
            let mut rows = [a; LANES];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = lanes.add(b, lanes.splat(i as f32));
            }
            lanes.transpose(&mut rows);
            let mut results = vec![
                lanes.add(a, b),
                lanes.sub(a, b),
                lanes.mul(a, b),
                lanes.div(a, b),
                lanes.fma(a, b, b),
                lanes.fraction(lanes.min(lanes.max(a, lanes.splat(-3e8)), lanes.splat(7.5))),
                lanes.sqrt(a),
                lanes.max(a, b),
                lanes.min(a, b),
                lanes.select_greater(a, b, lanes.splat(1.0), lanes.zero()),
                lanes.shift_exponent(lanes.splat(1.5), lanes.splat(12_582_912.0 + 3.0)),
                lanes.splat(lanes.sum(a)),
                lanes.splat(lanes.largest(a)),
                lanes.load_slice(&lanes.sum_four([a, b, rows[1], rows[5]]), 0.0),
                lanes.splat(lanes.all_equal(a, b) as u32 as f32),
                lanes.splat(lanes.all_equal(b, b) as u32 as f32),
                lanes.load_slice(&self.0[..7], 2.0),
                lanes.swap_halves(a),
                lanes.round_half(a),
                lanes.round_half(lanes.mul(a, lanes.splat(1e5))),
            ];
            results.extend(rows);
            let values = results.into_iter().flat_map(|vector| lanes.array(vector));
            // Which not-a-number an operation gives is nobody's business.
            values.map(|v| if v.is_nan() { 0x7fc0_0000 } else { v.to_bits() }).collect()
        }
    }

    /// All numbers of 16 bits, widened as halves and as bfloat16, and what halves round to.
    struct Widths;

    impl Kernel for Widths {
        type Output = Vec<u32>;

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> Vec<u32> {
            let all: Vec<u16> = (0..=u16::MAX).collect();
            let (mut results, mut stored) = (Vec::new(), [0_u16; LANES]);
            for sixteen in all.chunks_exact(LANES) {
                // SAFETY: sixteen numbers are there, and places for sixteen.
                let (half, bfloat) = unsafe {
                    let half = lanes.load_half(sixteen.as_ptr());
                    (half, lanes.load_bfloat(sixteen.as_ptr()))
                };
                // Between two halves: ties, and what lies just beside them.
                for factor in [1.0, 1.0 + 1.0 / 2048.0, 1.0 + 1.1 / 2048.0, 1.0 - 1.0 / 4096.0] {
                    let value = lanes.mul(half, lanes.splat(factor));
                    // SAFETY: as above.
                    unsafe { lanes.store_half(stored.as_mut_ptr(), value) };
                    let nan = lanes.array(value).map(f32::is_nan);
                    results.extend((0..LANES).map(|i| if nan[i] { 0 } else { stored[i].into() }));
                }
                let values = lanes.array(half).into_iter().chain(lanes.array(bfloat));
                results.extend(values.map(|v| if v.is_nan() { 0x7fc0_0000 } else { v.to_bits() }));
            }
            results
        }
    }

    /// All numbers of 8 bits, as exponents.
    struct Powers;

    impl Kernel for Powers {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> Vec<f32> {
            let bytes: Vec<u8> = (0..=u8::MAX).collect();
            let sixteens = bytes.chunks_exact(LANES);
            // SAFETY: sixteen bytes are there.
            sixteens
                .flat_map(|from| lanes.array(unsafe { lanes.load_powers(from.as_ptr()) }))
                .collect()
        }
    }

    /// A query and its 64 keys.
    struct Dot<'a>(&'a [i8], &'a [u8]);

    impl Kernel for Dot<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> Vec<f32> {
            assert_eq!(self.1.len(), 64 * self.0.len());
            let total = self.0.iter().map(|number| i32::from(*number)).sum();
            // SAFETY: as asserted.
            let sums = unsafe { lanes.dot_bytes(self.0, total, self.1.as_ptr()) };
            sums.into_iter().flat_map(|sums| lanes.array(sums)).collect()
        }
    }

    #[test]
    fn dot_products_of_bytes_are_exact() {
        for dims in [4, 16, 48, 256] {
            for large in [false, true] {
                let number = |i: usize| match large {
                    true => [-127, 127][i / 4 % 2],
                    false => (i * 7919 % 255) as i32 - 127,
                };
                let query: Vec<i8> = (0..dims).map(|d| number(d * 31 + 5) as i8).collect();
                let key = |key: usize, d: usize| number(key * 577 + d * 13);
                let keys: Vec<u8> = (0..dims / 4)
                    .flat_map(|four| (0..256).map(move |i| (four * 4 + i % 4, i / 4)))
                    .map(|(d, at)| (key(at, d) + 128) as u8)
                    .collect();
                let expected: Vec<f32> = (0..64)
                    .map(|at| {
                        (0..dims).map(|d| i32::from(query[d]) * key(at, d)).sum::<i32>() as f32
                    })
                    .collect();
                for level in Level::all_available() {
                    assert_eq!(dispatch(level, Dot(&query, &keys)), expected, "{level} {dims}");
                }
            }
        }
    }

    /// Weights, values and their stride.
    struct Mix<'a>(&'a [u8; 64], &'a [i8], usize);

    impl Kernel for Mix<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> Vec<f32> {
            let Mix(weights, values, stride) = self;
            assert!(values.len() == 64 * stride && stride >= 64);
            let mut sums = Vec::new();
            // SAFETY: as asserted.
            unsafe {
                let one = lanes.mix_bytes::<1>(weights, values.as_ptr(), stride);
                let two = lanes.mix_bytes::<2>(weights, values.as_ptr(), stride);
                let four = lanes.mix_bytes::<4>(weights, values.as_ptr(), stride);
                for sum in one.into_iter().chain(two).chain(four) {
                    sums.extend(lanes.array(sum));
                }
            }
            sums
        }
    }

    #[test]
    fn mixes_of_bytes_are_exact() {
        for stride in [64, 80] {
            for large in [false, true] {
                let weight = |key: usize| if large { 255 } else { (key * 7919 % 256) as u8 };
                let value = |key: usize, d: usize| match large {
                    true => [-127, 127][d % 2],
                    false => ((key * 577 + d * 131) % 255) as i32 - 127,
                };
                let values: Vec<i8> = (0..16)
                    .flat_map(|four| (0..4 * stride).map(move |i| (four * 4 + i % 4, i / 4)))
                    .map(|(key, d)| value(key, d) as i8)
                    .collect();
                let sum = |d: usize| {
                    (0..64).map(|key| i32::from(weight(key)) * value(key, d)).sum::<i32>() as f32
                };
                let dims = (0..16).chain(0..32).chain(0..64);
                let expected: Vec<f32> = dims.map(sum).collect();
                for level in Level::all_available() {
                    let weights = std::array::from_fn(weight);
                    let found = dispatch(level, Mix(&weights, &values, stride));
                    assert_eq!(found, expected, "{level} {stride}");
                }
            }
        }
    }

    /// Numbers as pairs of neighbouring rows: left [lines, 2, left stride] and right [lines, 2, right stride].
    struct Products<'a>(&'a [Vec<f32>; 2], [usize; 2]);

    impl Kernel for Products<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> Vec<f32> {
            let Products(numbers, strides) = self;
            assert!(strides[0] == LANES && strides[1] == 2 * LANES);
            let count = numbers[0].len() / (2 * LANES);
            let mut pairs = [vec![[0; 2]; count * LANES], vec![[0; 2]; count * 2 * LANES]];
            for (side, stride) in strides.into_iter().enumerate() {
                let rows = numbers[side].chunks_exact(2 * stride);
                for (rows, to) in rows.zip(pairs[side].chunks_exact_mut(stride)) {
                    let (first, second) = rows.split_at(stride);
                    for at in (0..stride).step_by(LANES) {
                        let first = lanes.load_slice(&first[at..], 0.0);
                        let second = lanes.load_slice(&second[at..], 0.0);
                        // SAFETY: a stride is a multiple of sixteen.
                        unsafe { lanes.store_pairs(to[at..].as_mut_ptr(), first, second) };
                    }
                }
            }
            let lines =
                |side: usize| PairLines { first: pairs[side].as_ptr(), stride: strides[side] };
            let (left, right) = (lines(0), lines(1));
            let mut found = Vec::new();
            // SAFETY: all lines are there, of 16 and of 32 pairs.
            unsafe {
                for sums in lanes.multiply_pairs::<4, 1>(count, left, right) {
                    found.extend(lanes.array(sums[0]));
                }
                for sums in lanes.multiply_pairs::<8, 2>(count, left, right).as_flattened() {
                    found.extend(lanes.array(*sums));
                }
            }
            found
        }
    }

    #[test]
    fn products_of_pairs_are_exact() {
        for lines in [8, 32, 128] {
            for large in [false, true] {
                let number = |i: usize, most: i32| match large {
                    true => [-most, most][i / 3 % 2],
                    false => (i * 7919 % (2 * most as usize + 1)) as i32 - most,
                };
                let left = |row: usize, i: usize| number(row * 31 + i * 577, 127);
                let right = |row: usize, i: usize| number(row * 13 + i * 131, 255).abs();
                let sum = |i: usize, j: usize| {
                    (0..2 * lines).map(|row| left(row, i) * right(row, j)).sum::<i32>() as f32
                };
                let row = |width: usize| {
                    (0..2 * lines).flat_map(move |row| (0..width).map(move |i| (row, i)))
                };
                // Rounded to these, ties to even.
                let numbers = [
                    row(LANES).map(|(row, i)| left(row, i) as f32 + 0.375).collect(),
                    row(2 * LANES)
                        .map(|(row, i)| right(row, i))
                        .map(|whole| whole as f32 + [0.5, -0.25][(whole % 2) as usize])
                        .collect(),
                ];
                let mut expected = Vec::new();
                for (rows, columns) in [(4, LANES), (8, 2 * LANES)] {
                    expected.extend((0..rows).flat_map(|i| (0..columns).map(move |j| sum(i, j))));
                }
                for level in Level::all_available() {
                    let found = dispatch(level, Products(&numbers, [LANES, 2 * LANES]));
                    assert_eq!(found, expected, "{level} {lines}");
                }
            }
        }
    }

    #[test]
    fn bytes_are_exponents() {
        for level in Level::all_available() {
            let powers = dispatch(level, Powers);
            for byte in 1..u8::MAX {
                let expected = f32::powi(2.0, i32::from(byte) - 127);
                assert_eq!(powers[usize::from(byte)], expected, "{level} {byte}");
            }
        }
    }

    #[test]
    fn levels_agree_on_every_number_of_sixteen_bits() {
        let expected = dispatch(Level::SCALAR, Widths);
        for level in Level::all_available() {
            assert!(dispatch(level, Widths) == expected, "{level}");
        }
    }

    #[test]
    fn levels_agree_on_every_operation() {
        let special = [0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 3.5e-39];
        let a: [f32; LANES] = std::array::from_fn(|i| special[i % 8]);
        for shift in 0..16 {
            let b: [f32; LANES] = std::array::from_fn(|i| special[(i * 3 + shift + i / 8) % 8]);
            let c: [f32; LANES] = std::array::from_fn(|i| (i as f32 * 1.37 + shift as f32).sin());
            for (left, right) in [(a, b), (b, a), (c, c), (c, b), (a, a)] {
                let expected = dispatch(Level::SCALAR, Operations(left, right));
                for level in Level::all_available() {
                    assert_eq!(dispatch(level, Operations(left, right)), expected, "{level}");
                }
            }
        }
    }
}
