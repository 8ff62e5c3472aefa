//! The version of the arithmetic by which networks compute probabilities. Archives name it, since they can be decoded
//! only with the same arithmetic. Records and journals name it, since another version may give other numbers.

/// The version of the arithmetic in use. It is raised when a change of the packing of weights, the kernels, the
/// quantizer or the coder changes a single bit of a probability, of a frequency, or of the coded bytes, for the same
/// weights and data. Archives of earlier versions then need a release of their time.
///
/// | version | what it is |
/// | --: | --- |
/// | 4 | f32 in one order; keys and values of runs as bytes, weights of values in 8 bits |
///
/// Archives of format 4 and earlier use one number for both format and arithmetic, so this count continues from there.
pub const ARITHMETIC: u16 = 4;
