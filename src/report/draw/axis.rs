//! Axes, logarithmic or linear: their range, their ticks at round numbers, and the labels of these.

use lmtrain_runs::Bytes;
use lmtrain_runs::units::short_count;

use crate::report::format::short_bytes;

/// What an axis counts, and so how its ticks are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// `200K`, `3.2M`.
    Count,
    /// `20 %`.
    Percent,
    /// `1.5`.
    Number,
    /// `10 MB`.
    Bytes,
    /// `2·10¹⁴`.
    Power,
}

/// An axis.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    unit: Unit,
    /// Whether equal distances are equal differences; else they are equal ratios.
    even: bool,
}

/// Ticks of a decade, the densest first.
const TICKS: [&[f64]; 6] = [
    &[1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0],
    &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
    &[1.0, 2.0, 3.0, 5.0],
    &[1.0, 2.0, 5.0],
    &[1.0, 3.0],
    &[1.0],
];

/// The least range that is shown: a single value, too, has a scale beside it.
const LEAST_SPAN: f64 = 2.0;

impl Axis {
    /// An axis over all the values that are above 0, with this factor of room at both ends. Absent
    /// if there are none.
    #[must_use]
    pub(crate) fn over(
        values: impl IntoIterator<Item = f64>,
        room: f64,
        unit: Unit,
    ) -> Option<Self> {
        let proper = values.into_iter().filter(|value| value.is_finite() && *value > 0.0);
        let ends = proper.fold(None, |ends: Option<(f64, f64)>, value| {
            Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        });
        let (low, high) = ends?;
        let more = (LEAST_SPAN / (high / low)).max(1.0).sqrt();
        Some(Self { low: low / room / more, high: high * room * more, unit, even: false })
    }

    /// An even axis over all the values, with this share of room at both ends. Absent if there are
    /// none.
    #[must_use]
    pub(crate) fn even_over(
        values: impl IntoIterator<Item = f64>,
        room: f64,
        unit: Unit,
    ) -> Option<Self> {
        let proper = values.into_iter().filter(|value| value.is_finite());
        let ends = proper.fold(None, |ends: Option<(f64, f64)>, value| {
            Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        });
        let (low, high) = ends?;
        // A single value, too, has a scale beside it.
        let span = if high > low { high - low } else { low.abs().max(1.0) };
        Some(Self { low: low - room * span, high: high + room * span, unit, even: true })
    }

    /// Where a value lies: 0 at the low end, 1 at the high one.
    #[must_use]
    pub(crate) fn position(&self, value: f64) -> f64 {
        match self.even {
            true => (value - self.low) / (self.high - self.low),
            false => (value / self.low).ln() / (self.high / self.low).ln(),
        }
    }

    /// The value that lies there: the inverse of [`Self::position`].
    #[must_use]
    pub(crate) fn value(&self, position: f64) -> f64 {
        match self.even {
            true => self.low + position * (self.high - self.low),
            false => self.low * (position * (self.high / self.low).ln()).exp(),
        }
    }

    /// The nearest value on the axis.
    #[must_use]
    pub(crate) fn clamp(&self, value: f64) -> f64 {
        value.clamp(self.low, self.high)
    }

    /// Its high end.
    #[must_use]
    pub(crate) fn high(&self) -> f64 {
        self.high
    }

    /// Whether a value lies on the axis.
    #[must_use]
    pub(crate) fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Round values on the axis with their texts: the densest set of which all neighbours lie at
    /// least so far apart, as a share of the axis.
    #[must_use]
    pub(crate) fn ticks(&self, apart: f64) -> Vec<(f64, String)> {
        let fits = |ticks: &Vec<f64>| {
            ticks.windows(2).all(|two| self.position(two[1]) - self.position(two[0]) >= apart)
        };
        let ticks = match self.even {
            true => self.even_ticks(apart),
            false => {
                let sets = TICKS.iter().map(|of_decade| self.multiples(of_decade, 1));
                let sparse = (2..300).map(|every| self.multiples(&[1.0], every));
                sets.chain(sparse).find(fits).unwrap_or_default()
            }
        };
        ticks.into_iter().map(|value| (value, self.unit.write(value))).collect()
    }

    /// Multiples of the least of 1, 2 or 5 times a power of ten that lies so far apart.
    fn even_ticks(&self, apart: f64) -> Vec<f64> {
        let least = apart * (self.high - self.low);
        let power = least.log10().floor() as i32;
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * 10f64.powi(power));
        let step = steps.into_iter().find(|step| *step >= least).unwrap_or(steps[3]);
        let [first, last] =
            [(self.low / step).ceil(), (self.high / step).floor()].map(|it| it as i64);
        // Division gives the nearest floats where a step is below 1.
        let scaled = |index: i64| match power {
            ..0 => index as f64 * (step * 10f64.powi(-power)).round() / 10f64.powi(-power),
            _ => index as f64 * step,
        };
        (first..=last).map(scaled).collect()
    }

    /// Values on the axis that are one of `of_decade` times a power of ten, of every n-th decade.
    fn multiples(&self, of_decade: &[f64], every: i32) -> Vec<f64> {
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().floor() as i32;
        let decades = (first..=last).filter(|decade| decade.rem_euclid(every) == 0);
        // A negative power is divided by, so that ticks below 1 are the nearest floats, too.
        let scaled = |factor: f64, decade: i32| match decade {
            0.. => factor * 10f64.powi(decade),
            _ => factor / 10f64.powi(-decade),
        };
        decades
            .flat_map(|decade| of_decade.iter().map(move |&factor| scaled(factor, decade)))
            .filter(|value| self.holds(*value))
            .collect()
    }
}

impl Unit {
    /// A value as its tick says it.
    #[must_use]
    pub(crate) fn write(self, value: f64) -> String {
        match self {
            Self::Count => short_count(value.round() as u64),
            Self::Percent => format!("{}\u{a0}%", plain(value)),
            Self::Number => plain(value),
            Self::Bytes => short_bytes(Bytes(value.round() as u64)),
            Self::Power => power(value),
        }
    }
}

/// A round number by its power of ten: `2·10¹⁴`.
fn power(value: f64) -> String {
    let exponent = (value.log10() + 1e-9).floor();
    let factor = plain(value / 10f64.powf(exponent));
    let raise = |digit: char| match digit {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => {
            digit.to_digit(10).and_then(|digit| char::from_u32(0x2070 + digit)).unwrap_or(digit)
        }
    };
    let raised: String = format!("{exponent}").chars().map(raise).collect();
    if factor == "1" { format!("10{raised}") } else { format!("{factor}·10{raised}") }
}

/// A round number without the noise of its float: `1.5`, `20`, `1,000`.
fn plain(value: f64) -> String {
    if value >= 1000.0 {
        return crate::report::format::grouped(value);
    }
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[f64], unit: Unit, apart: f64) -> Vec<String> {
        let axis = Axis::over(values.iter().copied(), 1.1, unit).expect("values");
        axis.ticks(apart).into_iter().map(|(_, text)| text.replace('\u{a0}', " ")).collect()
    }

    #[test]
    fn ticks_are_round_and_apart() {
        let sizes = texts(&[200e3, 3.4e6], Unit::Count, 0.1);
        assert_eq!(sizes, ["200K", "300K", "500K", "1M", "2M", "3M"]);
        let rates = texts(&[17.0, 50.0], Unit::Percent, 0.12);
        assert_eq!(rates, ["20 %", "30 %", "40 %", "50 %"]);
        let wide = texts(&[9.0, 90_000.0], Unit::Percent, 0.2);
        assert_eq!(wide, ["10 %", "100 %", "1,000 %", "10,000 %"]);
        assert_eq!(texts(&[1e6, 1e9], Unit::Bytes, 0.3), ["1 MB", "10 MB", "100 MB", "1 GB"]);
        assert_eq!(texts(&[9e13, 6e14], Unit::Power, 0.2), ["10¹⁴", "2·10¹⁴", "5·10¹⁴"]);
        assert!(texts(&[1e-300, 1e300], Unit::Number, 0.2).len() <= 6);
    }

    #[test]
    fn even_axes_have_even_ticks() {
        let axis = Axis::even_over([0.0, 0.1, 0.2], 0.05, Unit::Number).expect("values");
        let texts: Vec<String> = axis.ticks(0.2).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["0", "0.05", "0.1", "0.15", "0.2"]);
        assert!((axis.position(0.1) - 0.5).abs() < 1e-12 && axis.value(0.5) == 0.1);
        for value in [0.0, 2.3, -7e9] {
            let axis = Axis::even_over([value], 0.1, Unit::Number).expect("a value");
            assert!(!axis.ticks(0.2).is_empty() && axis.holds(value), "{value}");
        }
        assert!(Axis::even_over([f64::NAN], 0.1, Unit::Number).is_none());
    }

    #[test]
    fn a_single_value_has_ticks_around_it() {
        for value in [0.013, 1.0, 22.9, 5e8] {
            let axis = Axis::over([value], 1.0, Unit::Number).expect("a value");
            assert!((axis.position(value) - 0.5).abs() < 1e-9);
            let ticks = axis.ticks(0.1);
            assert!((2..=9).contains(&ticks.len()), "{value}: {ticks:?}");
        }
        assert!(Axis::over([0.0, f64::NAN, -1.0], 1.1, Unit::Number).is_none());
    }
}
