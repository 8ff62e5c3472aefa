//! Our own exp, exp2, tanh and ln, made of correctly rounded operations only: the same bits on every machine.
//!
//! The coefficients of the exponentials come from `remez.py` beside this file, those of tanh from Eigen's rational
//! approximation, and those of ln from Cephes' `logf`. The tests state and check the errors.

use super::lanes::Lanes;

/// 1.5·2²³: adding it rounds to a whole number, which the low bits of the sum then hold.
const ROUNDER: f32 = 12_582_912.0;

/// 2^r for |r| ≤ ½, after its constant 1: coefficients of r to r⁵; relative error 9.2e-8 before rounding.
#[allow(clippy::approx_constant)] // Close to ln 2, but fitted.
const EXP2: [f32; 5] = [0.693_147, 0.240_222_42, 0.055_507_34, 0.009_671_513, 0.001_326_472_4];

/// e^r for |r| ≤ ½·ln 2, after its constant 1: coefficients of r to r⁶; relative error 2e-9 before rounding.
const EXP: [f32; 6] =
    [1.000_000_03, 0.499_999_94, 0.166_664_31, 0.041_668_0, 0.008_374_164, 0.001_384_364_3];

/// ln 2 in two parts: the first has few enough bits that its product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// log₂ e.
pub(super) const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2.
pub(super) const LN_2: f32 = std::f32::consts::LN_2;

/// 1 + r·(c₀ + r·(c₁ + …)).
#[inline(always)]
fn one_plus<L: Lanes, const N: usize>(lanes: L, c: &[f32; N], r: L::Vector) -> L::Vector {
    let mut value = lanes.splat(c[N - 1]);
    for i in (0..N - 1).rev() {
        value = lanes.fma(value, r, lanes.splat(c[i]));
    }
    lanes.fma(value, r, lanes.splat(1.0))
}

/// 2^t for t ≤ 126: exactly 1 at 0 and exactly 0 at −127 and below (−∞ too).
///
/// Between −127 and −126 the result fades linearly to 0 instead of being the nearest subnormal.
#[inline(always)]
pub(super) fn exp2<L: Lanes>(lanes: L, t: L::Vector) -> L::Vector {
    let rounder = lanes.splat(ROUNDER);
    // The order of the operands lets not-a-number through. At −127 the shift takes 1.0 to the bits of 0.
    let t = lanes.max(lanes.splat(-127.0), t);
    let r = lanes.fraction(t);
    lanes.shift_exponent(one_plus(lanes, &EXP2, r), lanes.add(t, rounder))
}

/// An even whole number near x, for |x| < 2²²: what `Exp2Below` can leave out.
#[inline(always)]
pub(super) fn nearest_even<L: Lanes>(lanes: L, x: L::Vector) -> L::Vector {
    let half = lanes.mul(x, lanes.splat(0.5));
    let whole = lanes.sub(half, lanes.fraction(half));
    lanes.add(whole, whole)
}

/// 2^(x − m) for even whole numbers m and x ≤ m + 126: exactly `exp2` of the difference, without taking it.
///
/// x and x − m have the same fraction, so m only joins in where the exponent is counted.
#[derive(Clone, Copy)]
pub(super) struct Exp2Below<L: Lanes> {
    /// m − 127, at and below which the result is 0.
    least: L::Vector,
    /// The rounder − m.
    rounder: L::Vector,
}

impl<L: Lanes> Exp2Below<L> {
    /// Prepares for m, from `nearest_even`.
    #[inline(always)]
    pub(super) fn new(lanes: L, m: L::Vector) -> Self {
        Exp2Below {
            least: lanes.sub(m, lanes.splat(127.0)),
            rounder: lanes.sub(lanes.splat(ROUNDER), m),
        }
    }

    /// 2^(x − m).
    #[inline(always)]
    pub(super) fn apply(self, lanes: L, x: L::Vector) -> L::Vector {
        let x = lanes.max(self.least, x);
        let r = lanes.fraction(x);
        // m is even, so a tie in `fraction` goes the same way here.
        lanes.shift_exponent(one_plus(lanes, &EXP2, r), lanes.add(x, self.rounder))
    }
}

/// e^x for x ≤ 88: exactly 1 at 0; below −87.33, where `f32` would be subnormal, exactly 0.
#[inline(always)]
pub(super) fn exp<L: Lanes>(lanes: L, x: L::Vector) -> L::Vector {
    let rounder = lanes.splat(ROUNDER);
    let least = lanes.splat(-87.33);
    let bounded = lanes.max(least, x);
    let count = lanes.fma(bounded, lanes.splat(LOG2_E), rounder);
    let whole = lanes.sub(count, rounder);
    let r = lanes.fma(whole, lanes.splat(-LN2_HIGH), bounded);
    let r = lanes.fma(whole, lanes.splat(-LN2_LOW), r);
    let value = lanes.shift_exponent(one_plus(lanes, &EXP, r), count);
    lanes.select_greater(least, x, lanes.zero(), value)
}

/// tanh x: an odd rational function of degree 13 over 6, on |x| ≤ 7.905, where it reaches ±1.
#[inline(always)]
pub(super) fn tanh<L: Lanes>(lanes: L, x: L::Vector) -> L::Vector {
    const ABOVE: [f32; 7] = [
        4.893_524_6e-3,
        6.372_619_3e-4,
        1.485_722_4e-5,
        5.122_297_1e-8,
        -8.604_672e-11,
        2.000_188e-13,
        -2.760_768_5e-16,
    ];
    const BELOW: [f32; 4] = [4.893_525e-3, 2.268_434_6e-3, 1.185_347_1e-4, 1.198_258_4e-6];
    let limit = 7.905_311;
    let x = lanes.max(lanes.splat(-limit), x);
    let x = lanes.min(lanes.splat(limit), x);
    odd_rational(lanes, x, &ABOVE, &BELOW)
}

/// x within ±limit: limit·tanh(x/limit).
#[inline(always)]
pub(super) fn soft_cap<L: Lanes>(lanes: L, limit: f32, x: L::Vector) -> L::Vector {
    let (limit, inverse) = (lanes.splat(limit), lanes.splat(1.0 / limit));
    lanes.mul(limit, tanh(lanes, lanes.mul(x, inverse)))
}

/// erf x: an odd rational function of degree 13 over 8, on |x| ≤ 4, beyond which it is ±1 (Eigen's coefficients).
#[inline(always)]
pub(super) fn erf<L: Lanes>(lanes: L, x: L::Vector) -> L::Vector {
    const ABOVE: [f32; 7] = [
        -1.609_603_3e-2,
        -2.954_6e-3,
        -7.349_906_3e-4,
        -5.692_506_4e-5,
        -2.101_024e-6,
        2.770_681_4e-8,
        -2.726_142_3e-10,
    ];
    const BELOW: [f32; 5] =
        [-1.426_473_9e-2, -7.373_329_2e-3, -1.682_827e-3, -2.133_740_6e-4, -1.456_607_2e-5];
    let x = lanes.max(lanes.splat(-4.0), x);
    let x = lanes.min(lanes.splat(4.0), x);
    odd_rational(lanes, x, &ABOVE, &BELOW)
}

/// x·above(x²)/below(x²).
#[inline(always)]
fn odd_rational<L: Lanes>(lanes: L, x: L::Vector, above: &[f32], below: &[f32]) -> L::Vector {
    let square = lanes.mul(x, x);
    let polynomial = |coefficients: &[f32]| {
        let (last, rest) = coefficients.split_last().expect("no coefficients");
        rest.iter().rev().fold(lanes.splat(*last), |value, coefficient| {
            lanes.fma(value, square, lanes.splat(*coefficient))
        })
    };
    lanes.div(lanes.mul(x, polynomial(above)), polynomial(below))
}

/// ln x of a positive, normal number; the sums of softmaxes are at least 1.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    const P: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    // x = m·2^e with m in [√½, √2).
    let shifted = x.to_bits().wrapping_sub(0x3f35_04f3);
    let exponent = (shifted as i32) >> 23;
    let f = f32::from_bits((shifted & 0x007f_ffff) + 0x3f35_04f3) - 1.0;
    let exponent = exponent as f32;
    let square = f * f;
    let series = P[1..].iter().fold(P[0], |value, p| value.mul_add(f, *p));
    let low = exponent.mul_add(LN2_LOW, series * (f * square));
    let low = square.mul_add(-0.5, low);
    exponent.mul_add(LN2_HIGH, f + low)
}

#[cfg(test)]
mod tests {
    use super::super::lanes::{Kernel, LANES, dispatch};
    use super::super::level::Level;
    use super::*;

    #[derive(Clone, Copy)]
    enum Function {
        Exp2,
        Exp,
        Tanh,
    }

    struct Apply<'a>(Function, &'a mut [f32]);

    impl Kernel for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) {
            for part in self.1.chunks_mut(LANES) {
                let x = lanes.load_slice(part, 0.0);
                let y = match self.0 {
                    Function::Exp2 => exp2(lanes, x),
                    Function::Exp => exp(lanes, x),
                    Function::Tanh => tanh(lanes, x),
                };
                lanes.store_slice(part, y);
            }
        }
    }

    fn apply(level: Level, function: Function, x: &[f32]) -> Vec<f32> {
        let mut y = x.to_vec();
        dispatch(level, Apply(function, &mut y));
        y
    }

    /// `count` numbers evenly spaced over a range, ends included.
    fn spread(low: f32, high: f32, count: usize) -> Vec<f32> {
        let step = (f64::from(high) - f64::from(low)) / (count - 1) as f64;
        (0..count).map(|i| (f64::from(low) + step * i as f64) as f32).collect()
    }

    /// The largest relative error against an `f64` function of the standard library, the same on every level.
    fn relative_error(function: Function, exact: impl Fn(f64) -> f64, x: &[f32]) -> f64 {
        let best = apply(*Level::all_available().last().expect("scalar at least"), function, x);
        for level in Level::all_available() {
            let few = &x[..x.len().min(4096)];
            for (a, b) in apply(level, function, few).iter().zip(&best) {
                assert_eq!(a.to_bits(), b.to_bits(), "{level}");
            }
        }
        let errors = x.iter().zip(&best).map(|(&x, &y)| {
            let exact = exact(f64::from(x));
            if exact == 0.0 { f64::from(y).abs() } else { (f64::from(y) / exact - 1.0).abs() }
        });
        errors.fold(0.0, f64::max)
    }

    #[test]
    fn exp2_is_within_3_units() {
        let error = relative_error(Function::Exp2, f64::exp2, &spread(-126.0, 0.0, 1_000_001));
        assert!(error < 1.8e-7, "{error}");
        let near = relative_error(Function::Exp2, f64::exp2, &spread(-2.0, 1.0, 1_000_001));
        assert!(near < 1.8e-7, "{near}");
    }

    #[test]
    fn exp_is_within_2_units() {
        let error = relative_error(Function::Exp, f64::exp, &spread(-87.3, 88.0, 1_000_001));
        assert!(error < 1.2e-7, "{error}");
    }

    #[test]
    fn exponentials_end_exactly() {
        let x = [0.0, -0.0, f32::NEG_INFINITY, -1000.0, -127.0, -128.0, f32::MIN, f32::NAN];
        for level in Level::all_available() {
            for function in [Function::Exp2, Function::Exp] {
                let y = apply(level, function, &x);
                assert_eq!(y[..7], [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
                assert!(y[..7].iter().all(|y| y.is_sign_positive()) && y[7].is_nan());
            }
        }
        // Between the last normal number and 0 the bits never wrap.
        let fading = apply(Level::SCALAR, Function::Exp2, &spread(-127.5, -125.5, 20_001));
        assert!(fading.windows(2).all(|pair| pair[0] <= pair[1]) && fading[0] == 0.0);
        assert!(fading.iter().all(|y| y.is_finite()));
    }

    #[test]
    fn tanh_is_within_5_units() {
        let error = relative_error(Function::Tanh, f64::tanh, &spread(-12.0, 12.0, 1_000_001));
        assert!(error < 3.2e-7, "{error}");
        let small = relative_error(Function::Tanh, f64::tanh, &spread(1e-6, 0.01, 100_001));
        assert!(small < 3.2e-7, "{small}");
        let far =
            apply(Level::SCALAR, Function::Tanh, &[f32::MAX, f32::NEG_INFINITY, 30.0, f32::NAN]);
        assert!((far[0] - 1.0).abs() < 2e-7 && far[0] == -far[1] && far[2] == far[0]);
        assert!(far[3].is_nan());
    }

    #[test]
    fn ln_is_within_2_units() {
        let mut x = spread(0.5, 4.0, 500_001);
        x.extend(spread(4.0, 1e6, 500_001));
        x.extend([f32::MIN_POSITIVE, 1e-30, 1e30, f32::MAX]);
        assert_eq!(ln(1.0), 0.0);
        for x in x {
            let exact = f64::from(x).ln();
            let error = (f64::from(ln(x)) - exact).abs() / exact.abs().max(1e-30);
            assert!(error < 1.3e-7 || x == 1.0, "{x}: {error}");
        }
    }
}
