//! Quantized matrices: weights rounded to 255 levels (int8) or 15 (int4), with a bf16 scale for each output of a linear
//! layer, or for each token of an embedding table. A weight is its level times that scale.

use half::bf16;

/// How many levels a matrix has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// −127 to 127.
    Eight,
    /// −7 to 7.
    Four,
}

impl Bits {
    /// The largest level.
    #[must_use]
    pub fn largest(self) -> i8 {
        match self {
            Self::Eight => 127,
            Self::Four => 7,
        }
    }
}

/// Which numbers of a matrix share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaled {
    /// Those of a row: matrices [tokens, width].
    Rows,
    /// Those of a column: matrices [inputs, outputs].
    Columns,
}

/// A matrix of levels.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Which numbers share a scale.
    pub scaled: Scaled,
    /// The levels, row-major, within ±127.
    pub levels: Vec<i8>,
    /// A scale for each row or column, each a bf16.
    pub scales: Vec<f32>,
}

impl Levels {
    /// Rounds a matrix, row-major.
    #[must_use]
    pub fn round(values: &[f32], shape: [usize; 2], scaled: Scaled, bits: Bits) -> Self {
        let mut it = Self { shape, scaled, levels: vec![0; values.len()], scales: Vec::new() };
        let (count, length) = it.lines();
        let mut line = Vec::with_capacity(length);
        for index in 0..count {
            line.clear();
            line.extend(it.places(index).map(|place| values[place]));
            let scale = scale_of(&line, bits);
            for (place, value) in it.places(index).zip(&line) {
                it.levels[place] = level(*value, scale, bits);
            }
            it.scales.push(scale);
        }
        it
    }

    /// How many lines share a scale each, and their length.
    fn lines(&self) -> (usize, usize) {
        match (self.scaled, self.shape) {
            (Scaled::Rows, [rows, columns]) => (rows, columns),
            (Scaled::Columns, [rows, columns]) => (columns, rows),
        }
    }

    /// Where the numbers of a scale lie.
    fn places(&self, line: usize) -> impl Iterator<Item = usize> + use<> {
        let [rows, columns] = self.shape;
        let (first, step, count) = match self.scaled {
            Scaled::Rows => (line * columns, 1, columns),
            Scaled::Columns => (line, columns, rows),
        };
        (0..count).map(move |i| first + i * step)
    }

    /// The scale of a number by its place.
    #[must_use]
    pub fn scale(&self, place: usize) -> f32 {
        let columns = self.shape[1].max(1);
        match self.scaled {
            Scaled::Rows => self.scales[place / columns],
            Scaled::Columns => self.scales[place % columns],
        }
    }

    /// The weights, row-major.
    #[must_use]
    pub fn weights(&self) -> Vec<f32> {
        let levels = self.levels.iter().enumerate();
        levels.map(|(place, level)| self.scale(place) * f32::from(*level)).collect()
    }

    /// Whether there are as many levels and scales as the shape has.
    #[must_use]
    pub fn fits(&self) -> bool {
        let [rows, columns] = self.shape;
        rows.checked_mul(columns) == Some(self.levels.len()) && self.scales.len() == self.lines().0
    }

    /// Whether all levels are some of so many.
    #[must_use]
    pub fn fits_in(&self, bits: Bits) -> bool {
        self.levels.iter().all(|level| level.unsigned_abs() <= bits.largest().unsigned_abs())
    }
}

fn level(value: f32, scale: f32, bits: Bits) -> i8 {
    let largest = f32::from(bits.largest());
    let steps = if scale > 0.0 { (value / scale).round_ties_even() } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, reason = "clamped to 8 bits")]
    let level = steps.clamp(-largest, largest) as i8;
    level
}

/// The scale of numbers that share one: of 255 levels the largest takes the greatest magnitude; of 15 it takes the part
/// of it that leaves the least sum of squared errors.
fn scale_of(line: &[f32], bits: Bits) -> f32 {
    let top = line.iter().fold(0.0_f32, |top, value| top.max(value.abs()));
    let scale = |share: f32| bf16::from_f32(share * top / f32::from(bits.largest())).to_f32();
    match bits {
        Bits::Eight => scale(1.0),
        Bits::Four => {
            let error = |scale: f32| -> f32 {
                let error = |value: &f32| value - scale * f32::from(level(*value, scale, bits));
                line.iter().map(error).map(|error| error * error).sum()
            };
            // Above all magnitudes a Gaussian's best is at 0.6 to 0.8 of them.
            let shares = (12_u8..=32).rev().map(|share| scale(f32::from(share) / 32.0));
            let scored = shares.map(|scale| (error(scale), scale));
            scored.min_by(|one, other| one.0.total_cmp(&other.0)).map_or(0.0, |best| best.1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn weights_are_within_a_step_and_round_to_themselves(
            values in prop::collection::vec(-9.0_f32..9.0, 1..200), columns in 1_usize..20,
        ) {
            let rows = values.len() / columns;
            let values = &values[..rows * columns];
            for scaled in [Scaled::Rows, Scaled::Columns] {
                for bits in [Bits::Eight, Bits::Four] {
                    let rounded = Levels::round(values, [rows, columns], scaled, bits);
                    prop_assert!(rounded.fits());
                    let weights = rounded.weights();
                    for (place, (value, weight)) in values.iter().zip(&weights).enumerate() {
                        let scale = rounded.scale(place);
                        let clipped = value.abs() > scale * f32::from(bits.largest());
                        // bf16 rounds the scale by up to 2⁻⁹ of it.
                        prop_assert!(clipped || (value - weight).abs() <= 0.5 * scale + 1e-6);
                        prop_assert!(bits == Bits::Four || (value - weight).abs() <= 0.76 * scale + 1e-6);
                    }
                    prop_assert_eq!(rounded.levels.iter().map(|it| it.unsigned_abs()).max().unwrap_or(0) <= bits.largest().unsigned_abs(), true);
                }
            }
        }
    }

    #[test]
    fn scales_are_of_rows_or_of_columns() {
        let values = [1.0, -2.0, 0.5, 127.0, 254.0, 0.0];
        let rows = Levels::round(&values, [2, 3], Scaled::Rows, Bits::Eight);
        assert_eq!(rows.scales.len(), 2);
        assert_eq!(rows.levels[3..], [64, 127, 0]);
        let columns = Levels::round(&values, [2, 3], Scaled::Columns, Bits::Eight);
        assert_eq!(columns.scales[..2], [1.0, 2.0]);
        assert_eq!(columns.levels[..5], [1, -1, 127, 127, 127]);
        assert_eq!(columns.weights()[3..5], [127.0, 254.0]);
        let zeros = Levels::round(&[0.0; 6], [2, 3], Scaled::Rows, Bits::Four);
        assert_eq!(zeros.weights(), [0.0; 6]);
        // Fifteen levels clip one outlier among many small numbers.
        let mut outlier = vec![0.1; 63];
        outlier.push(1.0);
        let clipped = Levels::round(&outlier, [1, 64], Scaled::Rows, Bits::Four);
        assert!(clipped.scales[0] < 0.9 / 7.0);
    }
}
