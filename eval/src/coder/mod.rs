//! The range coder: intervals of integers in, bytes out, and back. It is arithmetic coding with an integer range that
//! is renormalised one byte at a time (G. N. N. Martin, "Range encoding: an algorithm for removing redundancy from a
//! digitised message", 1979; the arithmetic is in R. Pasco's thesis of 1976; carries are propagated exactly, as in M.
//! Schindler's rngcod, rather than avoided).
//!
//! The range is kept at 2^56 or more and a total below 2^31, so that dividing the one by the other
//! loses less than 2^-25 of the range: 4e-8 bits a symbol.

mod decoder;

use crate::quantize::Interval;

pub use decoder::Decoder;

/// Why bytes are not what the encoder wrote for these intervals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoderError {
    /// The code points at no symbol.
    #[error("the coded bytes are damaged: no token has the code at byte {at}")]
    Damaged {
        /// Bytes read so far.
        at: usize,
    },
    /// More bytes were needed than there are.
    #[error("the coded bytes are truncated: {needed} are needed, but there are {length}")]
    Truncated {
        /// Bytes that decoding has needed.
        needed: usize,
        /// Bytes there are.
        length: usize,
    },
    /// More bytes are there than were needed.
    #[error("the coded bytes continue after the last token: only {needed} of {length} were needed")]
    Surplus {
        /// Bytes that decoding has needed.
        needed: usize,
        /// Bytes there are.
        length: usize,
    },
}

/// Turns intervals into bytes.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// What follows `bytes`: the code lies in [low, low + range), of 2^64. Their sum may pass 2^64;
    /// the carry is then still to come.
    low: u64,
    /// At least 2^56 between symbols.
    range: u64,
    bytes: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { low: 0, range: u64::MAX, bytes: Vec::new() }
    }
}

impl Encoder {
    /// Codes one symbol. The interval lies within its total, and is not empty.
    pub fn encode(&mut self, interval: Interval) {
        let unit = self.range / u64::from(interval.total);
        let (low, carry) = self.low.overflowing_add(unit * u64::from(interval.start));
        if carry {
            self.carry();
        }
        self.low = low;
        self.range = unit * u64::from(interval.size);
        let settled = settled_bytes(self.range);
        self.bytes.extend_from_slice(&self.low.to_be_bytes()[..settled]);
        self.low <<= 8 * settled;
        self.range <<= 8 * settled;
    }

    /// The bytes: as few as name a code in the last interval, which is at most one more than are
    /// settled.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        // The decoder reads zeros past the end, so a code of no further byte is `low` = 0, or 2^64
        // if the range reaches beyond it; else the next multiple of 2^56 is within the range.
        match self.low.overflowing_add(self.range) {
            _ if self.low == 0 => {}
            (1.., true) => self.carry(),
            _ => self.bytes.push((self.low + ((1 << 56) - 1)).to_be_bytes()[0]),
        }
        self.bytes
    }

    /// Adds 1 to the bytes already written. The code stays below 1, so it ends within them.
    fn carry(&mut self) {
        for byte in self.bytes.iter_mut().rev() {
            let (sum, carry) = byte.overflowing_add(1);
            *byte = sum;
            if !carry {
                break;
            }
        }
    }
}

/// Leading bytes of a 64-bit code that a range this short no longer changes, but for a carry.
fn settled_bytes(range: u64) -> usize {
    (range | 1).leading_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize;
    use lmtrain_runs::random::SplitMix64;
    use proptest::prelude::*;

    /// A distribution of one of the kinds that break coders, and an order-0 draw from it.
    fn row(kind: u64, vocabulary: usize, random: &mut SplitMix64) -> Vec<f32> {
        let hot = random.below(vocabulary as u64) as usize;
        let weight = |symbol| match kind % 4 {
            0 => 1.0,
            1 => f64::from(u8::from(symbol == hot)),
            2 => {
                if symbol == hot {
                    1.0
                } else {
                    1e-30
                }
            }
            _ => (random.next_u64() as f64 / 2e19).powi(4) + 1e-12,
        };
        let weights: Vec<f64> = (0..vocabulary).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| (weight / sum) as f32).collect()
    }

    fn encode(rows: &[Vec<f32>], symbols: &[u32]) -> Vec<u8> {
        let mut encoder = Encoder::default();
        for (index, &symbol) in symbols.iter().enumerate() {
            let row = &rows[index % rows.len()];
            encoder.encode(quantize::interval(row, symbol).expect("a distribution"));
        }
        encoder.finish()
    }

    fn decode(rows: &[Vec<f32>], count: usize, bytes: &[u8]) -> Result<Vec<u32>, CoderError> {
        let mut decoder = Decoder::new(bytes);
        let tables: Vec<quantize::RowTable> = rows
            .iter()
            .map(|row| {
                let mut table = quantize::RowTable::default();
                table.fill(row).expect("a distribution");
                table
            })
            .collect();
        let mut symbols = Vec::new();
        for index in 0..count {
            let (row, table) = (&rows[index % rows.len()], &tables[index % rows.len()]);
            let target = decoder.target(table.total())?;
            let (symbol, interval) = table.find(row, target).expect("below the total");
            decoder.consume(interval);
            symbols.push(symbol);
        }
        decoder.finish().map(|()| symbols)
    }

    fn symbols(count: usize, vocabulary: usize, random: &mut SplitMix64) -> Vec<u32> {
        (0..count).map(|_| random.below(vocabulary as u64) as u32).collect()
    }

    #[test]
    fn nothing_takes_no_bytes() {
        assert!(Encoder::default().finish().is_empty());
        assert_eq!(Decoder::new(&[]).finish(), Ok(()));
    }

    #[test]
    fn a_million_symbols_of_every_kind_of_row_come_back() {
        let mut random = SplitMix64::new(1);
        let rows: Vec<Vec<f32>> = (0..64).map(|kind| row(kind, 256, &mut random)).collect();
        let sent = symbols(1_000_000, 256, &mut random);
        let bytes = encode(&rows, &sent);
        assert_eq!(decode(&rows, sent.len(), &bytes), Ok(sent));
    }

    #[test]
    fn every_symbol_may_be_last_and_every_length_short() {
        let mut random = SplitMix64::new(2);
        for kind in 0..4 {
            let rows = [row(kind, 256, &mut random)];
            for last in 0..256 {
                let mut sent = symbols(usize::try_from(last % 7).expect("small"), 256, &mut random);
                sent.push(last);
                assert_eq!(decode(&rows, sent.len(), &encode(&rows, &sent)), Ok(sent));
            }
        }
    }

    #[test]
    fn flat_rows_cost_their_entropy_and_at_most_a_byte() {
        let (mut random, rows) = (SplitMix64::new(3), [vec![1.0 / 256.0; 256]]);
        for count in [0, 1, 2, 100, 2048] {
            let bytes = encode(&rows, &symbols(count, 256, &mut random)).len();
            assert!(bytes <= count + 1, "{bytes} bytes for {count}");
        }
    }

    #[test]
    fn a_carry_runs_through_all_bytes() {
        let mut encoder = Encoder { bytes: vec![0xff; 1000], low: u64::MAX - 9, range: 1 << 60 };
        encoder.bytes[0] = 0x7f;
        encoder.encode(Interval { start: 2, size: 1, total: 3 });
        assert_eq!(encoder.bytes[..1000], [&[0x80][..], &[0; 999]].concat());
        // To within 2^-56, the middle third again and again is 1/2 = 0.0111…; the upper third at
        // the end lies above it.
        let third = |start| Interval { start, size: 1, total: 3 };
        let sent: Vec<u32> = (0..30).map(|index| if index < 29 { 1 } else { 2 }).collect();
        let mut encoder = Encoder::default();
        sent[..29].iter().for_each(|&symbol| encoder.encode(third(symbol)));
        assert_eq!(encoder.bytes[..5], [0x7f, 0xff, 0xff, 0xff, 0xff]);
        encoder.encode(third(2));
        let bytes = encoder.finish();
        assert_eq!(bytes[..5], [0x80, 0, 0, 0, 0]);
        let mut decoder = Decoder::new(&bytes);
        for expected in sent {
            assert_eq!(decoder.target(3), Ok(expected));
            decoder.consume(third(expected));
        }
        assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn cut_and_lengthened_bytes_are_noticed() {
        let mut random = SplitMix64::new(4);
        let rows = [row(3, 256, &mut random), row(0, 256, &mut random)];
        let sent = symbols(500, 256, &mut random);
        let bytes = encode(&rows, &sent);
        for length in 0..bytes.len() - 1 {
            assert_ne!(decode(&rows, 500, &bytes[..length]), Ok(sent.clone()), "{length}");
        }
        assert!(matches!(decode(&rows, 500, &[]), Err(CoderError::Truncated { .. })));
        let longer = [&bytes[..], &[0, 0]].concat();
        assert!(matches!(decode(&rows, 500, &longer), Err(CoderError::Surplus { .. })));
    }

    proptest! {
        #[test]
        fn any_symbols_of_any_rows_come_back(
            seed: u64, count in prop::sample::select(vec![0, 1, 2, 17, 2048]),
            vocabulary in prop::sample::select(vec![1, 2, 3, 256, 1000]),
        ) {
            let mut random = SplitMix64::new(seed);
            let rows: Vec<_> = (0..9).map(|kind| row(kind, vocabulary, &mut random)).collect();
            let sent = symbols(count, vocabulary, &mut random);
            prop_assert_eq!(decode(&rows, count, &encode(&rows, &sent)), Ok(sent));
        }

        #[test]
        fn random_bytes_end_in_an_error_or_in_the_stated_length(
            seed: u64, bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut random = SplitMix64::new(seed);
            let rows: Vec<_> = (0..9).map(|kind| row(kind, 256, &mut random)).collect();
            if let Ok(garbage) = decode(&rows, 200, &bytes) {
                prop_assert_eq!(garbage.len(), 200);
            }
        }
    }
}
