//! Sampling from a compressor: p(b) ∝ 2^(ℓ(x) − ℓ(xb)) over all 256 bytes, where ℓ is the compressed length in bits if
//! the compressor can give it, otherwise eight times the length in bytes (the paper's equation 2 and section 3.4).

use std::io;

use lmtrain_runs::Medium;
use lmtrain_runs::random::SplitMix64;

use super::{Drawing, GenerateError, Pulse, Sampled, Stretch, lengths};
use crate::compressors::Compressor;

/// Beginnings that are looked further into, at each byte ahead.
const BEAM: usize = 16;
const BYTES: usize = 256;

/// A compressor as a distribution of the next byte.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// The compressor.
    pub compressor: &'static Compressor,
    /// Bytes to look ahead: 1 considers only the next byte. Lengths in whole bytes then give most of the 256 the same
    /// probability.
    pub look_ahead: usize,
    /// What the bytes are.
    pub medium: Medium,
}

impl Lengths {
    /// The probability of each byte after `beginning`, at a temperature.
    ///
    /// With more than one byte ahead, p(b) ∝ Σ 2^−ℓ(xbc) over continuations c. A beam search keeps the 16 shortest
    /// prefixes of each length, and of equally short ones those whose last byte occurred more often in x. A dropped
    /// prefix counts as if its continuations cost as much as the most expensive of those kept.
    ///
    /// # Errors
    /// If the compressor fails.
    pub fn next_byte(&self, beginning: &[u8], temperature: f64) -> io::Result<Vec<f64>> {
        let mut counts = [0_usize; BYTES];
        beginning.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
        let seen = |end: &[u8]| end.last().map_or(0, |&byte| counts[usize::from(byte)]);
        let mut left: Vec<(u8, f64)> = Vec::new();
        let mut kept = self.extended(beginning, &[Vec::new()])?;
        for _ in 1..self.look_ahead.max(1) {
            kept.sort_by(|one, other| {
                one.1.total_cmp(&other.1).then(seen(&other.0).cmp(&seen(&one.0)))
            });
            let rest = kept.split_off(BEAM.min(kept.len()));
            left.extend(rest.into_iter().map(|(end, bits)| (end[0], bits)));
            let ends: Vec<Vec<u8>> = kept.iter().map(|(end, _)| end.clone()).collect();
            let longer = self.extended(beginning, &ends)?;
            let more = kept.iter().zip(longer.chunks(BYTES));
            let more =
                more.map(|((_, bits), longer)| bits_of_all(longer.iter().map(|it| it.1)) - bits);
            let dearest = more.fold(f64::NEG_INFINITY, f64::max);
            left.iter_mut().for_each(|leaf| leaf.1 += dearest);
            kept = longer;
        }
        left.extend(kept.into_iter().map(|(end, bits)| (end[0], bits)));
        Ok(distribution(&left, temperature))
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

/// Bits of a set of alternatives with the sum of their probabilities: −log2 Σ 2^−bits.
fn bits_of_all(bits: impl Iterator<Item = f64> + Clone) -> f64 {
    let least = bits.clone().fold(f64::INFINITY, f64::min);
    least - bits.map(|bits| (least - bits).exp2()).sum::<f64>().log2()
}

/// The distribution of the first bytes of some ends with their bits.
fn distribution(ends: &[(u8, f64)], temperature: f64) -> Vec<f64> {
    let least = ends.iter().map(|end| end.1).fold(f64::INFINITY, f64::min);
    let mut weights = vec![0.0; BYTES];
    for &(byte, bits) in ends {
        weights[usize::from(byte)] += (least - bits).exp2();
    }
    let most = weights.iter().copied().fold(0.0, f64::max);
    weights
        .iter_mut()
        .for_each(|weight: &mut f64| *weight = (*weight / most).powf(1.0 / temperature));
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
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
