//! Sampling: coding a sample gives its random bits back; frequencies of samples match the distribution; given bytes
//! stay unchanged; and gzip's distribution agrees with an independent count of bits.

use lmtrain_runs::Medium;
use lmtrain_runs::random::SplitMix64;
use lmtrain_tokenizers::ByteTokenizer;

use super::random_bits::pages;
use super::*;
use crate::block::{Layout, encode_block};
use crate::compressors;
use crate::testing::CountModel;

fn never_stop(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn drawing(samples: usize, seed: u64) -> Drawing {
    Drawing { samples, temperature: 1.0, seed }
}

fn generated(model: &CountModel, stretches: &[Stretch], drawing: Drawing) -> Vec<Sampled> {
    by_predictor(model, &ByteTokenizer, stretches, drawing, &mut never_stop).expect("generates")
}

#[test]
fn coding_what_was_generated_gives_the_random_bits_back() {
    for model in [CountModel::exact(256), CountModel::inexact(256)] {
        let samples = generated(&model, &[Stretch::Free(400)], drawing(3, 5));
        for (index, sample) in (0..).zip(&samples) {
            let tokens: Vec<u32> = sample.bytes.iter().map(|&byte| u32::from(byte)).collect();
            let coded = encode_block(&model, Layout::default(), &[&tokens], &mut never_stop);
            let coded = coded.expect("codes");
            // One stream, so the payload is its code alone, or its length and its code.
            let bits = &pages(5, index, 8 * 400 + 64)[0];
            let code = coded.payload.windows(8).position(|window| window == &bits[..8]);
            let code = &coded.payload[code.expect("the code begins with the random bits")..];
            let same = code.iter().zip(bits).take_while(|(one, other)| one == other).count();
            assert!(code.len() > 150 && same + 2 >= code.len(), "{same} of {}", code.len());
            let ideal: f64 = coded.bits[0].iter().map(|&bits| f64::from(bits)).sum();
            assert!((ideal - sample.bits).abs() < 1e-2, "{ideal} {}", sample.bits);
        }
        assert_ne!(samples[0].bytes, samples[1].bytes);
    }
}

#[test]
fn frequencies_are_those_of_the_distribution() {
    let model = CountModel::exact(256);
    let stretches = [Stretch::Given(b"aab".to_vec()), Stretch::Free(1)];
    for temperature in [1.0, 0.5] {
        let drawing = Drawing { samples: 6000, temperature, seed: 1 };
        let samples = generated(&model, &stretches, drawing);
        let mut weights = [1.0_f64; 256];
        weights[usize::from(b'a')] += 64.0;
        weights[usize::from(b'b')] += 32.0;
        // The last token is expected once more, by a quarter.
        weights[usize::from(b'b')] += f64::from((256 + 96) / 4);
        let weights = weights.map(|weight| weight.powf(1.0 / temperature));
        let sum: f64 = weights.iter().sum();
        let first = samples[0].first_byte.as_ref().expect("bytes");
        for byte in [b'a', b'b', b'c'] {
            let expected = weights[usize::from(byte)] / sum;
            assert!((first[usize::from(byte)] / expected - 1.0).abs() < 1e-5);
            let found = samples.iter().filter(|sample| sample.bytes[3] == byte).count() as f64;
            let deviation = (expected * (1.0 - expected) * 6000.0).sqrt();
            assert!((found - expected * 6000.0).abs() < 4.5 * deviation, "{byte} {found}");
        }
        assert!(samples.iter().all(|sample| sample.bytes.starts_with(b"aab")));
    }
}

#[test]
fn what_is_given_stays_where_it_is() {
    let given = |text: &[u8]| Stretch::Given(text.to_vec());
    let stretches =
        [given(b"one"), Stretch::Free(2), given(b""), given(b"two"), Stretch::Free(3), given(b"!")];
    let gzip = compressors::by_name("gzip").expect("there");
    let by_gzip = by_compressor(
        Lengths { compressor: gzip, look_ahead: 1, medium: Medium::Bytes },
        &stretches,
        drawing(2, 0),
        &mut never_stop,
    );
    for sample in generated(&CountModel::exact(256), &stretches, drawing(2, 0))
        .into_iter()
        .chain(by_gzip.expect("generates"))
    {
        let bytes = &sample.bytes;
        assert_eq!(
            (&bytes[..3], &bytes[5..8], &bytes[11..]),
            (&b"one"[..], &b"two"[..], &b"!"[..])
        );
        assert!(sample.bits > 0.0 && lengths(&stretches) == (12, 5));
    }
    let error = by_predictor(
        &CountModel::exact(256).of_context(11),
        &ByteTokenizer,
        &stretches,
        drawing(1, 0),
        &mut never_stop,
    );
    assert!(matches!(error, Err(GenerateError::Block(BlockError::Context { tokens: 12, .. }))));
    let stop = &mut |_| ControlFlow::Break(());
    let stopped =
        by_predictor(&CountModel::exact(256), &ByteTokenizer, &stretches, drawing(1, 0), stop);
    assert!(matches!(stopped, Err(GenerateError::Stopped)));
}

/// Bits of a deflate stream with the fixed or with own codes, up to the end of its last block: an inflater that only
/// counts (RFC 1951).
struct Counter<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Counter<'_> {
    fn take(&mut self, count: usize) -> usize {
        (0..count).fold(0, |value, index| {
            let bit = (self.bytes[self.at / 8] >> (self.at % 8)) & 1;
            self.at += 1;
            value | usize::from(bit) << index
        })
    }

    /// The next symbol of a canonical code of these lengths.
    fn symbol(&mut self, lengths: &[usize]) -> usize {
        let (mut code, mut first) = (0, 0);
        for bits in 1..16 {
            code = code << 1 | self.take(1);
            let of_length = || (0..lengths.len()).filter(|&symbol| lengths[symbol] == bits);
            let count = of_length().count();
            if code < first + count {
                return of_length().nth(code - first).expect("there are so many");
            }
            first = (first + count) << 1;
        }
        panic!("no such code")
    }

    fn codes(&mut self) -> (Vec<usize>, Vec<usize>) {
        let [literals, distances, sent] = [self.take(5) + 257, self.take(5) + 1, self.take(4) + 4];
        let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let mut of_lengths = vec![0; 19];
        for &symbol in &order[..sent] {
            of_lengths[symbol] = self.take(3);
        }
        let mut lengths = Vec::new();
        while lengths.len() < literals + distances {
            let (value, count) = match self.symbol(&of_lengths) {
                16 => (*lengths.last().expect("one before"), 3 + self.take(2)),
                17 => (0, 3 + self.take(3)),
                18 => (0, 11 + self.take(7)),
                length => (length, 1),
            };
            lengths.extend(std::iter::repeat_n(value, count));
        }
        let distances = lengths.split_off(literals);
        (lengths, distances)
    }

    fn bits(mut self) -> usize {
        loop {
            let last = self.take(1) == 1;
            let (literals, distances) = match self.take(2) {
                0 => {
                    self.at = self.at.next_multiple_of(8);
                    let length = self.take(16);
                    self.at += 16 + 8 * length;
                    if last {
                        return self.at;
                    }
                    continue;
                }
                1 => {
                    let fixed = [(8, 144), (9, 112), (7, 24), (8, 8)];
                    let fixed = fixed.map(|(bits, count)| vec![bits; count]).concat();
                    (fixed, vec![5; 30])
                }
                _ => self.codes(),
            };
            loop {
                match self.symbol(&literals) {
                    256 => break,
                    symbol @ 265..285 => drop(self.take((symbol - 261) / 4)),
                    0..256 => continue,
                    _ => {}
                }
                let distance = self.symbol(&distances);
                self.take((distance / 2).saturating_sub(1));
            }
            if last {
                return self.at;
            }
        }
    }
}

#[test]
fn gzips_distribution_is_that_of_counted_bits() {
    let gzip = compressors::by_name("gzip").expect("there");
    let mut random = SplitMix64::new(3);
    let noise: Vec<u8> = (0..40).map(|_| random.below(256) as u8).collect();
    let text = b"the cat sat on the mat, and the dog sat on the cat; the ".repeat(9);
    for beginning in [b"".as_slice(), b"a", &noise, &text, b"abababababababab"] {
        let lengths: Vec<f64> = (0..=u8::MAX)
            .map(|byte| {
                let whole = [beginning, &[byte]].concat();
                let bytes = gzip.compress_chunk(&whole, Medium::Bytes).expect("compresses");
                Counter { bytes: &bytes[10..bytes.len() - 8], at: 0 }.bits() as f64
            })
            .collect();
        let least = lengths.iter().copied().fold(f64::INFINITY, f64::min);
        let sum: f64 = lengths.iter().map(|bits| (least - bits).exp2()).sum();
        let found = Lengths { compressor: gzip, look_ahead: 1, medium: Medium::Bytes }
            .next_byte(beginning, 1.0);
        for (bits, found) in lengths.iter().zip(found.expect("a distribution")) {
            assert!(((least - bits).exp2() / sum / found - 1.0).abs() < 1e-9);
        }
    }
}

#[test]
fn looking_ahead_unties_whole_bytes() {
    let lzma2 = compressors::by_name("lzma2").expect("there");
    let text = b"one two three four one two three four one two three fo";
    let distribution = |look_ahead| {
        let lengths = Lengths { compressor: lzma2, look_ahead, medium: Medium::Bytes };
        lengths.next_byte(text, 1.0).expect("a distribution")
    };
    for look_ahead in [1, 3] {
        let sum: f64 = distribution(look_ahead).iter().sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }
    let distinct = |look_ahead| {
        let mut values = distribution(look_ahead);
        values.sort_by(f64::total_cmp);
        values.dedup();
        values.len()
    };
    assert!(distinct(3) > distinct(1), "{} {}", distinct(3), distinct(1));
}
