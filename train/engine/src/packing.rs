//! A run's matrices, as floating-point numbers or quantized, in the order that the kernels need.

use lmtrain_kernels::{PackedPrecision, PackedWeights};

use crate::format_error::FormatError;
use crate::levels::{Levels, Scaled};
use crate::tensor_file::TensorFile;

/// A matrix of a run's file.
pub(crate) enum Matrix {
    /// Weights, row-major, and what they are packed in.
    Floats(Vec<f32>, PackedPrecision),
    /// Levels with scales.
    Levels(Levels),
}

impl Matrix {
    /// Takes a matrix out of a file; `scaled` is what must share a scale if it is one of levels.
    ///
    /// # Errors
    /// If it is missing, misshapen or scaled otherwise.
    pub(crate) fn take(
        file: &mut TensorFile,
        name: &str,
        shape: [usize; 2],
        scaled: Scaled,
        precision: PackedPrecision,
    ) -> Result<Self, FormatError> {
        let Some(levels) = file.levels.get(name) else {
            return Ok(Self::Floats(file.take(name, &shape)?, precision));
        };
        if levels.shape != shape || levels.scaled != scaled {
            let Levels { shape: has, scaled: by, .. } = levels;
            return Err(FormatError(format!(
                "the integers of `{name}` have shape {has:?} and scales of {by:?} instead of {shape:?} and \
                 {scaled:?}"
            )));
        }
        let levels = file.levels.remove(name);
        levels.map(Self::Levels).ok_or_else(|| FormatError(format!("`{name}` is missing")))
    }

    /// Packs [inputs, outputs], whose numbers stand at a place of the matrix each, or are 0; those of an output share a
    /// scale.
    pub(crate) fn pack(
        &self,
        shape: [usize; 2],
        place: impl Fn(usize, usize) -> Option<usize> + Sync,
    ) -> PackedWeights {
        match self {
            Self::Floats(values, precision) => {
                PackedWeights::pack(*precision, shape, |output, column| {
                    for (input, to) in column.iter_mut().enumerate() {
                        *to = place(output, input).map_or(0.0, |place| values[place]);
                    }
                })
            }
            Self::Levels(levels) => PackedWeights::pack_int8(shape, |output, column| {
                let mut scale = 0.0;
                for (input, to) in column.iter_mut().enumerate() {
                    let place = place(output, input);
                    *to = place.map_or(0, |place| levels.levels[place]);
                    scale = place.map_or(scale, |place| levels.scale(place));
                }
                scale
            }),
        }
    }
}
