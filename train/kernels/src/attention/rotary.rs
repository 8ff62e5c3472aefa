//! Tables of rotary positions (Su et al., "RoFormer"), base 10000, computed in `f64` by our own operations, without
//! libm.

use super::super::aligned::Aligned;
use super::super::lanes::LANES;
use std::sync::{Arc, Mutex};

/// Cosines and sines for positions from 0 on: [position / 16, head_dim, position % 16], with the cosines of the
/// head_dim/2 pairs first, then their sines.
pub(super) struct Rotary {
    head_dim: usize,
    /// Dimensions that turn; the others have the angle 0.
    rotated: usize,
    /// Positions held: a multiple of 16.
    positions: usize,
    values: Aligned,
}

/// The table for heads of so many dimensions, of which so many turn, with at least `positions`. Tables are made once
/// and shared.
pub(super) fn table(dimensions: [usize; 2], positions: usize) -> Arc<Rotary> {
    static TABLES: Mutex<Vec<Arc<Rotary>>> = Mutex::new(Vec::new());
    let mut tables = TABLES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let same = |table: &Arc<Rotary>| [table.head_dim, table.rotated] == dimensions;
    let held = tables.iter().find(|table| same(table) && table.positions >= positions);
    if let Some(table) = held {
        return Arc::clone(table);
    }
    tables.retain(|table| !same(table));
    let made = Arc::new(Rotary::new(dimensions, positions.max(2048).next_power_of_two()));
    tables.push(Arc::clone(&made));
    made
}

impl Rotary {
    fn new([head_dim, rotated]: [usize; 2], positions: usize) -> Self {
        let (pairs, turning) = (head_dim / 2, rotated / 2);
        let mut values = Aligned::zeros(positions * head_dim);
        let all = values.as_mut_slice();
        for pair in 0..pairs {
            // 10000^(−pair/turning).
            let exponent = -std::f64::consts::LN_10 * 4.0 * pair as f64 / turning as f64;
            let frequency = if pair < turning { exponential(exponent) } else { 0.0 };
            for position in 0..positions {
                let (sine, cosine) = sine_cosine(position as f64 * frequency);
                let block = position / LANES * head_dim * LANES + position % LANES;
                all[block + pair * LANES] = cosine as f32;
                all[block + (pairs + pair) * LANES] = sine as f32;
            }
        }
        Rotary { head_dim, rotated, positions, values }
    }

    /// The table of 16 consecutive positions, [head_dim, 16]: in place where `first` allows it, else in `buffer`.
    pub(super) fn consecutive<'a>(&'a self, first: usize, buffer: &'a mut [f32]) -> &'a [f32] {
        let size = self.head_dim * LANES;
        let all = self.values.as_slice();
        if first.is_multiple_of(LANES) {
            return &all[first / LANES * size..][..size];
        }
        for row in 0..self.head_dim {
            for lane in 0..LANES {
                buffer[row * LANES + lane] = self.value(first + lane, row);
            }
        }
        &buffer[..size]
    }

    /// Row `row` (cosines, then sines) at a position.
    pub(super) fn value(&self, position: usize, row: usize) -> f32 {
        let block = position / LANES * self.head_dim * LANES;
        self.values.as_slice()[block + row * LANES + position % LANES]
    }
}

/// base^(−share) for a base of at least 1: the angle a position, in radians, of a pair that lies at this share of all
/// pairs. The same on every machine.
pub fn rotary_frequency(base: f64, share: f64) -> f64 {
    exponential(-logarithm(base) * share)
}

/// ln x for x > 0, the same on every machine.
pub fn natural_logarithm(x: f64) -> f64 {
    if x < 1.0 { -logarithm(1.0 / x) } else { logarithm(x) }
}

/// ln x for x ≥ 1: ln of its power of two, and 2·artanh((m − 1)/(m + 1)) of the rest by its series.
fn logarithm(x: f64) -> f64 {
    let exponent = (x.to_bits() >> 52) as i64 - 1023;
    let rest = f64::from_bits((x.to_bits() & ((1 << 52) - 1)) | (1023 << 52));
    let ratio = (rest - 1.0) / (rest + 1.0);
    let square = ratio * ratio;
    let series = (0..=20).rev().fold(0.0, |sum, n| sum * square + 1.0 / f64::from(2 * n + 1));
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * ratio * series
}

/// e^x for −20 ≤ x ≤ 0: the Taylor series of e^(x/16), four times squared.
fn exponential(x: f64) -> f64 {
    let x = x / 16.0;
    let mut value = (1..=20).rev().fold(1.0, |value, n| 1.0 + value * x / f64::from(n));
    for _ in 0..4 {
        value *= value;
    }
    value
}

/// Sine and cosine for 0 ≤ x ≤ 2²⁰: reduced by π/2 in two parts, then Taylor series up to π/4.
pub(super) fn sine_cosine(x: f64) -> (f64, f64) {
    /// π/2 in 33 bits, so that its product with a quarter count below 2²⁰ is exact, and the rest.
    const HALF_PI_HIGH: f64 = f64::from_bits(0x3ff9_21fb_5440_0000);
    const HALF_PI_LOW: f64 = 6.077_100_506_506_192e-11;
    let quarters = (x * std::f64::consts::FRAC_2_PI + 0.5).floor();
    let r = (x - quarters * HALF_PI_HIGH) - quarters * HALF_PI_LOW;
    let square = r * r;
    let term = |value: f64, n: i32| 1.0 - value * square / f64::from(n * (n + 1));
    let sine = r * [16, 14, 12, 10, 8, 6, 4, 2].into_iter().fold(1.0, term);
    let cosine = [15, 13, 11, 9, 7, 5, 3, 1].into_iter().fold(1.0, term);
    match quarters as u64 % 4 {
        0 => (sine, cosine),
        1 => (cosine, -sine),
        2 => (-sine, -cosine),
        _ => (-cosine, sine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_the_rounded_cosines_and_sines() {
        for (head_dim, rotated) in [(16, 16), (48, 48), (64, 64), (64, 16)] {
            let table = table([head_dim, rotated], 5000);
            let (pairs, turning) = (head_dim / 2, rotated / 2);
            for position in [0, 1, 15, 16, 1000, 2047, 4999] {
                for pair in 0..pairs {
                    let frequency = match pair < turning {
                        true => 10_000_f64.powf(-(pair as f64) / turning as f64),
                        false => 0.0,
                    };
                    let angle = position as f64 * frequency;
                    let (cosine, sine) =
                        (table.value(position, pair), table.value(position, pairs + pair));
                    assert!((f64::from(cosine) - angle.cos()).abs() < 4e-8, "{position} {pair}");
                    assert!((f64::from(sine) - angle.sin()).abs() < 4e-8, "{position} {pair}");
                }
            }
        }
    }

    #[test]
    fn any_sixteen_positions_can_be_had() {
        let table = table([16, 16], 100);
        for first in [0, 16, 5, 83] {
            let mut buffer = vec![0.0; 16 * LANES];
            let rows = table.consecutive(first, &mut buffer);
            assert!((0..256).all(|i| rows[i] == table.value(first + i % LANES, i / LANES)));
        }
    }

    #[test]
    fn far_angles_are_exact() {
        for x in [0.0, 0.785, 1.5, 3.2, 1000.3, 65_535.9, 1_048_575.0] {
            let (sine, cosine) = sine_cosine(x);
            assert!((sine - f64::sin(x)).abs() < 1e-10 && (cosine - f64::cos(x)).abs() < 1e-10);
        }
        assert!((exponential(-9.2) / (-9.2_f64).exp() - 1.0).abs() < 1e-13);
        for x in [0.01, 0.7, 1.0, 1.3, 32.0, 131_072.0] {
            assert!((natural_logarithm(x) - f64::ln(x)).abs() < 1e-14 * f64::ln(x).abs() + 1e-16);
        }
        for base in [1.0, 2.0, 10_000.0, 500_000.0, 1e6, 1.5e7] {
            for share in [0.0, 0.3, 0.5, 0.99] {
                let exact = f64::powf(base, -share);
                assert!((rotary_frequency(base, share) / exact - 1.0).abs() < 1e-12, "{base}");
            }
        }
    }
}
