//! Generation by a compressor: p(b) ∝ 2^(ℓ(x) − ℓ(xb)) over all 256 bytes, where ℓ is in bits if the compressor knows
//! them and eight times its bytes if not (the paper's equation 2, and its section 3.4).

use std::io;

use lmtrain_runs::Medium;
use lmtrain_runs::random::SplitMix64;

use super::{Drawing, GenerateError, Pulse, Sampled, Stretch, lengths};
use crate::compressors::Compressor;

/// Beginnings that are looked further into, at each byte ahead.
const BEAM: usize = 16;
const BYTES: usize = 256;
/// Of what the beam leaves, a byte costs as much as one that is not compressed.
const UNKNOWN_BYTE_BITS: f64 = 8.0;

/// A compressor as a distribution of the next byte.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// The compressor.
    pub compressor: &'static Compressor,
    /// Bytes to look ahead: 1 is the next byte alone. Whole bytes of length leave most of those tied.
    pub look_ahead: usize,
    /// What the bytes are.
    pub medium: Medium,
}

impl Lengths {
    /// The probability of each byte after `beginning`, at a temperature.
    ///
    /// With more than one byte ahead, p(b) ∝ Σ 2^−ℓ(xbc) over continuations c. A beam of 16 finds the shortest; those of
    /// a beginning that it leaves count as if 8 bits a byte were added, which is 2^−ℓ of the beginning.
    ///
    /// # Errors
    /// If the compressor fails.
    pub fn next_byte(&self, beginning: &[u8], temperature: f64) -> io::Result<Vec<f64>> {
        let mut leaves = self.extended(beginning, &[Vec::new()])?;
        for _ in 1..self.look_ahead.max(1) {
            // Stable, so that ties fall the same way everywhere.
            leaves.sort_by(|one, other| one.1.total_cmp(&other.1));
            let rest = leaves.split_off(BEAM.min(leaves.len()));
            let begun: Vec<Vec<u8>> = leaves.into_iter().map(|(end, _)| end).collect();
            leaves = self.extended(beginning, &begun)?;
            leaves.extend(rest.into_iter().map(|(end, bits)| (end, bits + UNKNOWN_BYTE_BITS)));
        }
        // A leaf that was left stands for 256 continuations a byte, of 8 bits each: for 2^-bits before those.
        let longest = self.look_ahead.max(1);
        let bits = |end: &[u8], bits: f64| bits - UNKNOWN_BYTE_BITS * (longest - end.len()) as f64;
        let leaves = leaves.into_iter().map(|(end, length)| (end[0], bits(&end, length)));
        let leaves: Vec<(u8, f64)> = leaves.collect();
        let least = leaves.iter().map(|leaf| leaf.1).fold(f64::INFINITY, f64::min);
        let mut weights = vec![0.0; BYTES];
        for (byte, bits) in leaves {
            weights[usize::from(byte)] += (least - bits).exp2();
        }
        let most = weights.iter().copied().fold(0.0, f64::max);
        weights.iter_mut().for_each(|it: &mut f64| *it = (*it / most).powf(1.0 / temperature));
        let sum: f64 = weights.iter().sum();
        Ok(weights.into_iter().map(|weight| weight / sum).collect())
    }

    /// Each of some ends with each byte after it, and the bits of the whole.
    #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2^53")]
    fn extended(&self, beginning: &[u8], ends: &[Vec<u8>]) -> io::Result<Vec<(Vec<u8>, f64)>> {
        let with = |end: &Vec<u8>, byte| end.iter().copied().chain([byte]).collect::<Vec<u8>>();
        let ends: Vec<Vec<u8>> =
            ends.iter().flat_map(|end| (0..=u8::MAX).map(move |byte| with(end, byte))).collect();
        let slices: Vec<&[u8]> = ends.iter().map(Vec::as_slice).collect();
        let bits = self.compressor.bits_of_ends(beginning, &slices, self.medium)?;
        Ok(ends.into_iter().zip(bits.into_iter().map(|bits| bits as f64)).collect())
    }
}

/// Draws samples from a compressor.
///
/// # Errors
/// If the compressor fails, or the pulse stops it.
pub fn by_compressor(
    lengths_of: Lengths,
    stretches: &[Stretch],
    drawing: Drawing,
    pulse: &mut Pulse,
) -> Result<Vec<Sampled>, GenerateError> {
    let name = lengths_of.compressor.name;
    let length = lengths(stretches).0;
    let mut drawn = 0;
    let mut samples = Vec::new();
    for sample in 0..drawing.samples as u64 {
        let mut random = SplitMix64::stream(drawing.seed, sample);
        let mut sampled = Sampled { bytes: Vec::with_capacity(length), ..Default::default() };
        for stretch in stretches {
            let count = match stretch {
                Stretch::Given(bytes) => {
                    sampled.bytes.extend(bytes);
                    continue;
                }
                Stretch::Free(count) => *count,
            };
            for _ in 0..count {
                let distribution = lengths_of
                    .next_byte(&sampled.bytes, drawing.temperature)
                    .map_err(|source| GenerateError::Compressor { name, source })?;
                let byte = draw(&distribution, &mut random);
                sampled.bits -= distribution[usize::from(byte)].log2();
                sampled.bytes.push(byte);
                sampled.first_byte.get_or_insert(distribution);
                drawn += 1;
                if pulse(drawn).is_break() {
                    return Err(GenerateError::Stopped);
                }
            }
        }
        samples.push(sampled);
    }
    Ok(samples)
}

/// A byte of a distribution.
fn draw(distribution: &[f64], random: &mut SplitMix64) -> u8 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    let mut left = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    for (byte, &probability) in (0..=u8::MAX).zip(distribution) {
        left -= probability;
        if left < 0.0 {
            return byte;
        }
    }
    // Rounding left a little: the last byte that may come.
    let last = distribution.iter().rposition(|&probability| probability > 0.0).unwrap_or(0);
    u8::try_from(last).unwrap_or(u8::MAX)
}
