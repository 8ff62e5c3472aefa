//! Shared by the kernels' tests: seeded numbers, thread pools, and comparing bits.

use super::level::{Level, with_level};
use super::parallel::on_this_thread;

/// A small seeded generator (xorshift64*), so that every test is the same test every time.
pub struct Numbers(u64);

impl Numbers {
    /// A generator; equal seeds give equal numbers.
    pub fn new(seed: u64) -> Self {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A whole number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    /// Numbers in (−1, 1).
    pub fn uniform(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    /// Numbers in (−scale, scale).
    pub fn scaled(&mut self, count: usize, scale: f32) -> Vec<f32> {
        self.uniform(count).into_iter().map(|value| value * scale).collect()
    }

    /// Tokens below `bound`.
    pub fn tokens(&mut self, count: usize, bound: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(bound) as u32).collect()
    }
}

/// Runs `work` in a pool of `threads`.
pub fn in_pool<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    pool.install(work)
}

/// The bits of numbers. Which not-a-number an operation gives differs between processors, and means nothing.
pub fn bits(values: &[f32]) -> Vec<u32> {
    let canonical = |value: &f32| if value.is_nan() { f32::NAN } else { *value };
    values.iter().map(|value| canonical(value).to_bits()).collect()
}

/// Asserts that `work` gives the same bits at every level of this machine and on 1, 2 and 7 threads.
pub fn assert_same_bits(name: &str, work: impl Fn() -> Vec<f32> + Sync) {
    let expected = with_level(Level::SCALAR, || bits(&work()));
    for level in Level::all_available() {
        for threads in [1, 2, 7] {
            let found = in_pool(threads, || with_level(level, || bits(&work())));
            let differs = expected.iter().zip(&found).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{name}: {level}, {threads} threads");
        }
        let alone = || with_level(level, || on_this_thread(|| bits(&work())));
        assert!(in_pool(2, alone) == expected, "{name}: {level}, on one thread of two");
    }
}

/// Asserts that numbers agree with an `f64` reference within `tolerance` of the reference's largest magnitude.
pub fn assert_close(name: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let largest = expected.iter().fold(1e-30_f64, |largest, value| largest.max(value.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs() / largest;
        assert!(error <= tolerance, "{name}[{i}]: {found} for {expected}, error {error}");
    }
}

/// The gradient of `loss` by central differences in `f64`.
pub fn differences(x: &[f64], loss: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let step = 1e-5;
    let mut x = x.to_vec();
    (0..x.len())
        .map(|i| {
            let old = x[i];
            x[i] = old + step;
            let above = loss(&x);
            x[i] = old - step;
            let below = loss(&x);
            x[i] = old;
            (above - below) / (2.0 * step)
        })
        .collect()
}

/// Numbers as `f64`.
pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}
