//! Integer matrix products: weights of 8 or 4 bits with a scale for each output, and input rows rounded to 8 bits with
//! a scale for each row.
//!
//! A row x becomes ⌊127·x / max|x|⌉, so that its greatest magnitude is 127 steps. Sums of products are integers in 32
//! bits, exact in any order, and are converted to `f32` once. Then y = sum·(step of the row · step of the output) +
//! bias, where each operation rounds once, so that every level, batch size and thread count gives the same bits.

use super::super::aligned::{Aligned, with_scratch};
use super::super::lanes::{Int8Panel, Kernel, LANES, Lanes, dispatch};
use super::super::level::Level;
use super::call::Call;
use super::tile::PANEL;

/// The largest whole number.
const LARGEST: f32 = 127.0;
/// Rows whose greatest magnitude is below this are 0: the quotient of 127 by more than this is finite.
const LEAST: f32 = 1e-30;
/// 1.5·2²³: a number of less than 2²² added to this leaves its nearest whole number in the low bits.
const WHOLE: f32 = 12_582_912.0;
/// Rows that are multiplied together.
const ROWS: usize = 4;
/// Inputs at most, so that sums fit into 32 bits even with 128 added to every number of x.
const MOST_INPUTS: usize = 65_000;

/// A matrix of whole numbers [inputs, outputs] in panels of 64 outputs.
#[derive(Clone)]
pub(super) struct Int8Matrix {
    fours: usize,
    /// [panel, fours, 64, 4], filled up with zeros.
    weights: Aligned,
    /// Scale of each output, filled up with zeros to whole panels.
    scales: Aligned,
    /// −128·Σ weights of each output.
    offsets: Vec<i32>,
    /// Whether all weights lie within ±7.
    int4: bool,
}

impl Int8Matrix {
    pub(super) fn pack(
        [inputs, outputs]: [usize; 2],
        column: impl Fn(usize, &mut [i8]) -> f32,
    ) -> Self {
        assert!(inputs <= MOST_INPUTS, "{inputs} inputs");
        let (fours, padded) = (inputs.div_ceil(4), outputs.next_multiple_of(PANEL));
        let mut matrix = Int8Matrix {
            fours,
            weights: Aligned::zeros(fours * padded),
            scales: Aligned::zeros(padded),
            offsets: vec![0; padded],
            int4: true,
        };
        let mut of_output = vec![0; inputs];
        for output in 0..outputs {
            matrix.scales.as_mut_slice()[output] = column(output, &mut of_output);
            let places = matrix.places(output);
            let weights = matrix.weights.as_mut_bytes();
            for (place, weight) in places.zip(&mut of_output) {
                // −128 has no opposite.
                *weight = (*weight).max(-127);
                weights[place] = *weight;
                matrix.offsets[output] -= 128 * i32::from(*weight);
                matrix.int4 &= weight.unsigned_abs() <= 7;
            }
        }
        matrix
    }

    /// Where the numbers of an output lie.
    fn places(&self, output: usize) -> impl Iterator<Item = usize> + use<> {
        let start = output / PANEL * self.fours * PANEL * 4 + output % PANEL * 4;
        (0..4 * self.fours).map(move |input| start + input / 4 * PANEL * 4 + input % 4)
    }

    /// Memory that the matrix takes.
    pub(super) fn bytes(&self) -> usize {
        4 * (self.weights.as_slice().len() + self.scales.as_slice().len() + self.offsets.len())
    }

    /// The weights of one output, \[inputs\].
    pub(super) fn column(&self, output: usize, into: &mut [f32]) {
        let (weights, scale) = (self.weights.as_bytes(), self.scales.as_slice()[output]);
        for (weight, place) in into.iter_mut().zip(self.places(output)) {
            *weight = scale * f32::from(weights[place]);
        }
    }

    /// The panels that a call asks for.
    pub(super) fn product(&self, level: Level, call: Call<'_>) {
        let (rows, fours) = (call.rows, self.fours);
        with_scratch([rows * fours, rows, ROWS * PANEL], |[x, steps, sums]| {
            dispatch(level, Rows { matrix: self, call, x, steps, sums });
        });
    }

    fn panel(&self, panel: usize) -> Int8Panel {
        let weights = &self.weights.as_bytes()[panel * self.fours * PANEL * 4..];
        let weights = &weights[..self.fours * PANEL * 4];
        let offsets = &self.offsets[panel * PANEL..][..PANEL];
        Int8Panel { weights: weights.as_ptr(), offsets: offsets.as_ptr(), int4: self.int4 }
    }
}

/// A call, with memory for it.
struct Rows<'a> {
    matrix: &'a Int8Matrix,
    call: Call<'a>,
    /// Memory of rows x rounded: [rows, fours], four whole numbers in each place.
    x: &'a mut [f32],
    /// A row's step, \[rows\].
    steps: &'a mut [f32],
    /// [4, 64].
    sums: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let (rows, fours) = (self.call.rows, self.matrix.fours);
        let inputs = self.call.inputs;
        for row in 0..rows {
            let x = &self.call.x[row * inputs..][..inputs];
            self.steps[row] = round(lanes, x, &mut self.x[row * fours..][..fours]);
        }
        for panel in self.call.panels.clone() {
            let mut row = 0;
            while row < rows {
                row += match rows - row {
                    1 => self.some::<L, 1>(lanes, panel, row),
                    2 => self.some::<L, 2>(lanes, panel, row),
                    3 => self.some::<L, 3>(lanes, panel, row),
                    _ => self.some::<L, ROWS>(lanes, panel, row),
                };
            }
        }
    }
}

impl Rows<'_> {
    /// Some rows of a panel; gives how many they are.
    #[inline(always)]
    fn some<L: Lanes, const R: usize>(&mut self, lanes: L, panel: usize, row: usize) -> usize {
        let fours = self.matrix.fours;
        let rows = &self.x[row * fours..][..R * fours];
        let x: [*const i8; R] = std::array::from_fn(|r| rows[r * fours..].as_ptr().cast());
        let weights = self.matrix.panel(panel);
        assert!(self.sums.len() >= R * PANEL && fours <= MOST_INPUTS / 4 + 1);
        // SAFETY: the rows of x, the panel and the sums are as long as this, as slices and assertion show.
        unsafe { lanes.multiply_int8(x, fours, weights, self.sums.as_mut_ptr()) };
        let scales = &self.matrix.scales.as_slice()[panel * PANEL..][..PANEL];
        let columns = self.call.columns(panel);
        for r in 0..R {
            let (sums, step) = (&mut self.sums[r * PANEL..][..PANEL], self.steps[row + r]);
            for first in (0..PANEL).step_by(LANES) {
                let scale = lanes.load_slice(&scales[first..], 0.0);
                let scale = lanes.mul(lanes.splat(step), scale);
                let mut y = lanes.mul(lanes.load_slice(&sums[first..], 0.0), scale);
                if let Some(bias) = self.call.bias_of(panel) {
                    y = lanes.add(y, lanes.load_slice(&bias[first..], 0.0));
                }
                lanes.store_slice(&mut sums[first..], y);
            }
            self.call.finish(lanes, row + r, columns.clone(), &self.sums[r * PANEL..][..PANEL]);
        }
        R
    }
}

/// Rounds a row to whole numbers within ±127, four in each place of `to`; gives what one of them is worth. What is not
/// a number becomes −127.
#[inline(always)]
fn round<L: Lanes>(lanes: L, x: &[f32], to: &mut [f32]) -> f32 {
    let mut largest = lanes.zero();
    for part in x.chunks(LANES) {
        let x = lanes.load_slice(part, 0.0);
        largest = lanes.max(lanes.max(x, lanes.sub(lanes.zero(), x)), largest);
    }
    let largest = lanes.largest(largest);
    if largest < LEAST {
        to.fill(0.0);
        return 0.0;
    }
    let factor = lanes.splat(LARGEST / largest);
    for (part, to) in x.chunks(LANES).zip(to.chunks_mut(LANES / 4)) {
        let x = lanes.mul(lanes.load_slice(part, 0.0), factor);
        let x = lanes.min(lanes.max(x, lanes.splat(-LARGEST)), lanes.splat(LARGEST));
        let whole = lanes.array(lanes.add(x, lanes.splat(WHOLE)));
        for (to, whole) in to.iter_mut().zip(whole.as_chunks::<4>().0) {
            let bytes = whole.map(|whole| whole.to_bits() as u8);
            *to = f32::from_bits(u32::from_le_bytes(bytes));
        }
    }
    largest / LARGEST
}

#[cfg(test)]
mod tests {
    use super::super::super::level::current;
    use super::super::super::testing::{Numbers, assert_same_bits};
    use super::super::call::After;
    use super::super::packed::{PackedWeights, product};

    /// Whole numbers within ± `largest`, and scales.
    fn packed(
        numbers: &mut Numbers,
        [inputs, outputs]: [usize; 2],
        largest: usize,
    ) -> (PackedWeights, Vec<i8>, Vec<f32>) {
        let number =
            |numbers: &mut Numbers| (numbers.below(2 * largest + 1) as i32 - largest as i32) as i8;
        let levels: Vec<i8> = (0..inputs * outputs).map(|_| number(numbers)).collect();
        let scales = numbers.scaled(outputs, 0.01);
        let packed = PackedWeights::pack_int8([inputs, outputs], |output, column| {
            column.copy_from_slice(&levels[output * inputs..][..inputs]);
            scales[output]
        });
        (packed, levels, scales)
    }

    #[test]
    fn products_are_exact_sums_of_whole_numbers_at_every_level() {
        let mut numbers = Numbers::new(1);
        for [rows, inputs, outputs, largest] in [
            [1, 16, 16, 127],
            [3, 48, 70, 7],
            [7, 300, 64, 127],
            [13, 1026, 130, 7],
            [6, 5, 1, 127],
        ] {
            let (packed, levels, scales) = packed(&mut numbers, [inputs, outputs], largest);
            let bias = numbers.uniform(outputs);
            let packed = packed.with_bias(&bias);
            let mut x = numbers.scaled(rows * inputs, 3.0);
            // The largest sums there are: each product 127·127.
            x[..inputs].fill(-2.0);
            let stride = packed.stride();
            let run = || {
                let mut y = vec![f32::NAN; rows * stride];
                product(current(), rows, &x, &packed, After::Plain, &mut y);
                y
            };
            assert_same_bits("int8", run);
            let y = run();
            for (row, x) in x.chunks_exact(inputs).enumerate() {
                let top = x.iter().fold(0.0_f32, |top, x| top.max(x.abs()));
                let whole = |x: &f32| (x * (127.0 / top)).round_ties_even() as i64;
                for output in 0..outputs {
                    let levels = &levels[output * inputs..][..inputs];
                    let sum: i64 =
                        x.iter().zip(levels).map(|(x, w)| whole(x) * i64::from(*w)).sum();
                    let expected = sum as f32 * (top / 127.0 * scales[output]) + bias[output];
                    assert_eq!(
                        y[row * stride + output].to_bits(),
                        expected.to_bits(),
                        "{row} {output}"
                    );
                }
            }
        }
    }

    #[test]
    fn extremes_do_not_overflow_and_zeros_stay() {
        let (inputs, outputs) = (4096, 64);
        for level in [127, -127, 7, -7] {
            let packed = PackedWeights::pack_int8([inputs, outputs], |_, column| {
                column.fill(level);
                1.0
            });
            for x in [1.0_f32, -1.0] {
                let x = vec![x; inputs];
                let run = || {
                    let mut y = vec![f32::NAN; outputs];
                    product(current(), 1, &x, &packed, After::Plain, &mut y);
                    y
                };
                assert_same_bits("extremes", run);
                let sum = (127 * inputs as i64 * i64::from(level)) as f32;
                assert_eq!(run()[0], sum * (x[0].signum() * (1.0 / 127.0)));
            }
            for x in [0.0, 1e-38, f32::NAN, f32::INFINITY] {
                let x = vec![x; inputs];
                assert_same_bits("what is hardly a number", || {
                    let mut y = vec![f32::NAN; outputs];
                    product(current(), 1, &x, &packed, After::Plain, &mut y);
                    y
                });
            }
        }
    }

    #[test]
    fn columns_are_the_weights() {
        let (packed, levels, scales) = packed(&mut Numbers::new(2), [21, 70], 127);
        let mut column = vec![0.0; 21];
        for output in [0, 1, 63, 64, 69] {
            packed.column(output, &mut column);
            let expected = levels[output * 21..][..21].iter();
            let expected: Vec<f32> = expected.map(|it| f32::from(*it) * scales[output]).collect();
            assert_eq!(column, expected);
        }
        assert_eq!(packed.bytes(), 24 * 128 + 8 * 128);
    }
}
