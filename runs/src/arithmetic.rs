//! The version of the arithmetic by which networks compute probabilities. Archives name it, since they can be decoded
//! only with the same arithmetic. Records and journals name it, since another version may give other numbers.

/// What networks compute with today. It goes up when a change of weights' packing, kernels,
/// quantiser or coder changes a single bit of a probability, of a frequency, or of what is coded,
/// whatever else stays: archives of the versions before then need the program of their time.
///
/// | version | what it is |
/// | --: | --- |
/// | 4 | f32 in one order; keys and values of runs as bytes, weights of values in 8 bits |
///
/// Archives of format 4 and earlier have one number for format and arithmetic, so that the count
/// goes on from there.
pub const ARITHMETIC: u16 = 4;
