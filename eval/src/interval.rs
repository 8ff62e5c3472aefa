//! The percentile bootstrap (B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7,
//! 1979): how much a rate would vary if other chunks had been drawn. Chunks differ in length, so the resampled quantity
//! is the ratio Σ bits / Σ raw bytes, given as bits of the whole.

use lmtrain_runs::Bits;
use lmtrain_runs::random::SplitMix64;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Times that the chunks are drawn anew.
const RESAMPLES: u64 = 2000;

/// More chunks than this are resampled as runs of neighbours (a block bootstrap, as by H. R. Künsch, 1989). This is
/// faster by the length of the runs, and rather more conservative, since neighbouring chunks are similar.
const MAXIMUM_UNITS: usize = 1 << 14;

/// One chunk, measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkBits {
    /// What it was compressed to.
    pub bits: f64,
    /// Its length.
    pub raw_bytes: u64,
}

/// The 95 % interval of the total bits of these chunks. Absent if there are fewer than two, or no
/// bytes.
#[must_use]
pub fn bootstrap(chunks: &[ChunkBits], seed: u64) -> Option<[Bits; 2]> {
    let units = units(chunks);
    let (_, raw_bytes) = sum(units.iter().copied());
    if units.len() < 2 || raw_bytes <= 0.0 {
        return None;
    }
    let resample = |stream: u64| {
        let mut random = SplitMix64::stream(seed, stream);
        let draws = units.iter().map(|_| units[draw(&mut random, units.len())]);
        let (bits, bytes) = sum(draws);
        if bytes > 0.0 { bits / bytes * raw_bytes } else { 0.0 }
    };
    let mut totals: Vec<f64> = (0..RESAMPLES).into_par_iter().map(resample).collect();
    totals.sort_by(f64::total_cmp);
    let tail = totals.len() / 40;
    Some([Bits(totals[tail]), Bits(totals[totals.len() - 1 - tail])])
}

/// What is drawn: (bits, raw bytes) of a chunk, or of a run of neighbouring chunks.
fn units(chunks: &[ChunkBits]) -> Vec<(f64, f64)> {
    let run = chunks.len().div_ceil(MAXIMUM_UNITS).max(1);
    #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2^53")]
    let pair = |chunk: &ChunkBits| (chunk.bits, chunk.raw_bytes as f64);
    chunks.chunks(run).map(|run| sum(run.iter().map(pair))).collect()
}

fn sum(units: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    units.fold((0.0, 0.0), |(bits, bytes), unit| (bits + unit.0, bytes + unit.1))
}

/// An index below `length`, which is at most 2^14: the top of a 64-bit product is biased by less
/// than 2^-50.
fn draw(random: &mut SplitMix64, length: usize) -> usize {
    (((random.next_u64() >> 32) * length as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal_chunks(count: usize, seed: u64) -> Vec<ChunkBits> {
        let mut random = SplitMix64::new(seed);
        let bits = |random: &mut SplitMix64| 4000.0 + 500.0 * f64::from(random.truncated_normal());
        (0..count).map(|_| ChunkBits { bits: bits(&mut random), raw_bytes: 2048 }).collect()
    }

    fn total(chunks: &[ChunkBits]) -> f64 {
        chunks.iter().map(|chunk| chunk.bits).sum()
    }

    #[test]
    fn it_is_as_wide_as_theory_says() {
        let chunks = normal_chunks(400, 1);
        let [low, high] = bootstrap(&chunks, 7).expect("many chunks");
        // The deviation of a normal cut at 2 is 0.880; 1.96 deviations of the sum to either side.
        let expected = 1.96 * 500.0 * 0.88 * 20.0;
        assert!(low.0 < total(&chunks) && total(&chunks) < high.0);
        assert!(((high.0 - low.0) / 2.0 / expected - 1.0).abs() < 0.1, "{low:?} {high:?}");
        assert_eq!(bootstrap(&chunks, 7), Some([low, high]), "a seed gives the same interval");
    }

    #[test]
    fn it_covers_the_truth_about_as_often_as_it_says() {
        let covered = (0..200).filter(|&seed| {
            let [low, high] = bootstrap(&normal_chunks(60, seed), 0).expect("many chunks");
            low.0 <= 240_000.0 && 240_000.0 <= high.0
        });
        let count = covered.count();
        assert!((176..=199).contains(&count), "{count} of 200");
    }

    #[test]
    fn half_a_million_chunks_are_drawn_as_runs_of_neighbours_and_few_have_no_interval() {
        let chunks = normal_chunks(488_282, 3);
        // Runs of 30 are the shortest of which there are no more than may be drawn.
        let drawn = units(&chunks);
        assert_eq!(drawn.len(), 488_282_usize.div_ceil(30));
        assert!(drawn.len() <= MAXIMUM_UNITS && 488_282 / 29 > MAXIMUM_UNITS);
        let (bits, bytes) = sum(drawn.into_iter());
        assert!((bits / total(&chunks) - 1.0).abs() < 1e-12 && bytes == 488_282.0 * 2048.0);
        assert_eq!(units(&chunks[..400]).len(), 400, "few are drawn one by one");
        let [low, high] = bootstrap(&chunks, 0).expect("many chunks");
        assert!(low.0 < total(&chunks) && total(&chunks) < high.0);
        let half = 1.96 * 500.0 * 0.88 * 488_282_f64.sqrt();
        assert!(((high.0 - low.0) / 2.0 / half - 1.0).abs() < 0.1);
        assert_eq!(bootstrap(&chunks[..1], 0), None);
        assert_eq!(bootstrap(&[ChunkBits { bits: 1.0, raw_bytes: 0 }; 3], 0), None);
    }

    #[test]
    fn a_short_last_chunk_weighs_as_its_length() {
        let mut chunks = vec![ChunkBits { bits: 4096.0, raw_bytes: 2048 }; 50];
        chunks.push(ChunkBits { bits: 20.0, raw_bytes: 10 });
        let [low, high] = bootstrap(&chunks, 0).expect("many chunks");
        let total = total(&chunks);
        assert!((low.0 - total).abs() < 1e-6 && (high.0 - total).abs() < 1e-6, "all at one rate");
    }
}
