//! A tensor in its memory-mapped file, and how it becomes packed weights: in the precision in which it is stored, in
//! the engine's order, and padded with zeros.

use half::{bf16, f16};

use lmtrain_kernels::{PackedPrecision, PackedWeights};
use rayon::prelude::*;

use super::rounded::Rounded;
use crate::levels::Bits;

/// A tensor's bytes as they are stored.
#[derive(Clone, Copy)]
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    pub(super) precision: PackedPrecision,
    pub(super) shape: &'a [usize],
    pub(super) bytes: &'a [u8],
}

impl Tensor<'_> {
    /// Numbers that it has.
    pub(super) fn count(&self) -> usize {
        self.bytes.len() / self.number_bytes()
    }

    fn number_bytes(&self) -> usize {
        if self.precision == PackedPrecision::Single { 4 } else { 2 }
    }

    /// The numbers from `first` on, as many as there is room for.
    pub(super) fn numbers(&self, first: usize, into: &mut [f32]) {
        let size = self.number_bytes();
        let bytes = &self.bytes[first * size..][..into.len() * size];
        match self.precision {
            PackedPrecision::Single => {
                let numbers = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
                into.iter_mut().zip(numbers).for_each(|(to, number)| *to = number);
            }
            PackedPrecision::Half => {
                let numbers = bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes));
                into.iter_mut().zip(numbers).for_each(|(to, number)| *to = number.to_f32());
            }
            PackedPrecision::Bfloat => {
                let numbers = bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes));
                into.iter_mut().zip(numbers).for_each(|(to, number)| *to = number.to_f32());
            }
        }
    }

    /// One number.
    fn number(&self, index: usize) -> f32 {
        let mut number = [0.0];
        self.numbers(index, &mut number);
        number[0]
    }

    /// All numbers.
    pub(super) fn all(&self) -> Vec<f32> {
        let mut numbers = vec![0.0; self.count()];
        self.numbers(0, &mut numbers);
        numbers
    }
}

/// How a matrix lies in its tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lies {
    /// [outputs, inputs], as PyTorch's linear layers and embeddings.
    Outputs,
    /// [inputs, outputs], as the layers that GPT-2 calls Conv1D.
    Inputs,
}

/// A matrix: what each output takes of each input.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) tensor: Tensor<'a>,
    pub(super) lies: Lies,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl Matrix<'_> {
    /// The weights of one output, for its first inputs.
    pub(super) fn output(&self, output: usize, into: &mut [f32]) {
        match self.lies {
            Lies::Outputs => self.tensor.numbers(output * self.inputs, into),
            Lies::Inputs => {
                let places = (output..).step_by(self.outputs);
                into.iter_mut().zip(places).for_each(|(to, place)| *to = self.tensor.number(place));
            }
        }
    }
}

/// Packs one output after the other: `source` says of each which matrix and which of its outputs it is, or that it
/// is filled up; `inputs` says the same of the matrices' inputs.
pub(super) fn pack(
    matrices: &[Matrix<'_>],
    inputs: &Inputs,
    outputs: usize,
    source: &Source<'_>,
) -> PackedWeights {
    let precision = common(matrices.iter().map(|matrix| matrix.tensor.precision));
    PackedWeights::pack(precision, [inputs.filled(), outputs], |output, column| {
        column.fill(0.0);
        let Some((matrix, output)) = source(output) else { return };
        match inputs {
            Inputs::First(count, _) => matrices[matrix].output(output, &mut column[..*count]),
            Inputs::Placed(places, count) => {
                let mut row = vec![0.0; *count];
                matrices[matrix].output(output, &mut row);
                for (to, place) in column.iter_mut().zip(places) {
                    *to = place.map_or(0.0, |place| row[place]);
                }
            }
        }
    })
}

/// The same with the weights rounded to so many levels, each output by itself.
pub(super) fn pack_rounded(
    matrices: &[Matrix<'_>],
    inputs: &Inputs,
    outputs: usize,
    source: &Source<'_>,
    (rounded, bits): (&Rounded, Bits),
) -> PackedWeights {
    let output = |output| {
        let (matrix, output) = source(output)?;
        let mut weights = vec![0.0; inputs.count()];
        matrices[matrix].output(output, &mut weights);
        Some(Rounded::output(&weights, bits))
    };
    let all: Vec<_> = (0..outputs).into_par_iter().map(output).collect();
    let names: Vec<&str> = matrices.iter().map(|matrix| matrix.tensor.name).collect();
    rounded.count(&names, bits, &all);
    PackedWeights::pack_int8([inputs.filled(), outputs], |output, column| {
        column.fill(0);
        let Some((levels, scale)) = &all[output] else { return 0.0 };
        match inputs {
            Inputs::First(count, _) => column[..*count].copy_from_slice(levels),
            Inputs::Placed(places, _) => {
                for (to, place) in column.iter_mut().zip(places) {
                    *to = place.map_or(0, |place| levels[place]);
                }
            }
        }
        *scale
    })
}

/// Says of an output of packed weights which matrix and which of its outputs it is; nothing if it fills up.
pub(super) type Source<'a> = dyn Fn(usize) -> Option<(usize, usize)> + Sync + 'a;

/// Where a packed matrix's inputs come from.
pub(super) enum Inputs {
    /// The first ones in order, filled up to as many as the second number.
    First(usize, usize),
    /// Each from where it says, of as many as the number.
    Placed(Vec<Option<usize>>, usize),
}

impl Inputs {
    /// Inputs of the matrices.
    fn count(&self) -> usize {
        match self {
            Inputs::First(count, _) | Inputs::Placed(_, count) => *count,
        }
    }

    fn filled(&self) -> usize {
        match self {
            Inputs::First(_, filled) => *filled,
            Inputs::Placed(places, _) => places.len(),
        }
    }
}

/// The precision that holds the numbers of all.
fn common(mut precisions: impl Iterator<Item = PackedPrecision>) -> PackedPrecision {
    let first = precisions.next().unwrap_or(PackedPrecision::Single);
    if precisions.all(|precision| precision == first) { first } else { PackedPrecision::Single }
}
