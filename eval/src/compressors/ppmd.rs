//! PPMd, variant H, with the range coder, order and memory of 7-Zip's level 9, and an end mark.

use std::io::{self, Read, Write};

use ppmd_rust::Ppmd7Encoder;

use super::input::Input;

const ORDER: u32 = 32;
const MEMORY_BYTES: u32 = 192 << 20;
/// A byte adds at most so many contexts as the order, each of 12 bytes, and seldom as much again to their tables.
const MEMORY_OF_A_BYTE: u64 = 1024;
const LEAST_MEMORY_BYTES: u32 = 1 << 20;

/// Of a short input, the memory is no more than it can fill, which changes no size (a test holds it to that) and makes
/// chunks faster.
pub(super) fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    about: Input,
) -> io::Result<()> {
    let most = u32::try_from(about.length.saturating_mul(MEMORY_OF_A_BYTE)).unwrap_or(u32::MAX);
    compress_within(input, output, most.clamp(LEAST_MEMORY_BYTES, MEMORY_BYTES))
}

fn compress_within(
    input: &mut dyn Read,
    output: &mut dyn Write,
    memory_bytes: u32,
) -> io::Result<()> {
    let encoder = Ppmd7Encoder::new(output, ORDER, memory_bytes);
    let mut encoder = encoder.map_err(io::Error::other)?;
    io::copy(input, &mut encoder)?;
    encoder.finish(true).map(|_| ())
}

#[cfg(test)]
mod tests {
    use lmtrain_runs::random::SplitMix64;

    use super::*;

    #[test]
    fn less_memory_changes_nothing() {
        for (length, letters) in [(0, 1), (2048, 256), (2048, 3), (5000, 27), (150_000, 5)] {
            let mut random = SplitMix64::new(length);
            let bytes: Vec<u8> = (0..length).map(|_| random.below(letters) as u8).collect();
            let about = Input { medium: lmtrain_runs::Medium::Bytes, length };
            let [mut little, mut all] = [Vec::new(), Vec::new()];
            compress(&mut &bytes[..], &mut little, about).expect("compresses");
            compress_within(&mut &bytes[..], &mut all, MEMORY_BYTES).expect("compresses");
            assert!(little == all, "{length} bytes of {letters} letters");
        }
    }
}
