//! A source whose entropy rate is known exactly: no correct compression rate can be below it.
//!
//! The last k symbols, the context, determine the probabilities of the next symbol. These are multiples of 1/65536,
//! drawn from a seed, and samples are drawn using integers only, so that a seed gives the same bytes on every machine.
//! The entropy rate is H = Σ π(c) H(row c) over contexts c, where π is the stationary distribution (Cover & Thomas,
//! "Elements of Information Theory", theorem 4.2.4).

use lmtrain_runs::random::SplitMix64;

use super::error::CorpusError;
use super::name::MarkovOptions;

/// A row's weights sum to 2^16.
const TOTAL_BITS: u32 = 16;
const TOTAL: u32 = 1 << TOTAL_BITS;
/// This part of a row is spread evenly: every symbol can follow every context, so that the chain
/// has one stationary distribution and reaches it fast.
const EVEN_PART: u32 = TOTAL / 16;
/// The change of one step, summed over contexts, at which the stationary distribution is found.
const STATIONARY_WITHIN: f64 = 1e-14;
const MOST_ITERATIONS: u32 = 100_000;
/// Symbols drawn and thrown away, so that a sample begins in the stationary distribution.
const BURN_IN: usize = 4096;

/// A Markov source of some order over some alphabet.
#[derive(Clone, Debug)]
pub struct MarkovSource {
    alphabet: usize,
    order: u32,
    /// The sum of a row's weights up to and with each symbol: [contexts, alphabet], each row
    /// strictly increasing and ending in `TOTAL`.
    cumulative: Vec<u32>,
    /// Probability of each context. The oldest symbol is its most significant digit.
    stationary: Vec<f64>,
    /// Draws the sample, having drawn the weights.
    sampler: SplitMix64,
}

impl MarkovSource {
    /// The source that these options name. (How many bytes they ask for plays no part.)
    ///
    /// # Errors
    /// [`CorpusError::Name`] if there can be no such source, or none that settles.
    pub fn new(options: &MarkovOptions) -> Result<Self, CorpusError> {
        let refuse = |reason| CorpusError::Name { name: options.to_string(), reason };
        options.check().map_err(refuse)?;
        let alphabet = options.alphabet as usize;
        let contexts = alphabet.pow(options.order);
        let mut generator = SplitMix64::new(options.seed);
        let mut weights = Vec::with_capacity(contexts * alphabet); // [contexts, alphabet]
        for _ in 0..contexts {
            weights.extend(draw_row(&mut generator, options.alphabet));
        }
        Self::from_weights(options.order, alphabet, &weights, generator)
            .ok_or_else(|| refuse("its stationary distribution is not found".to_owned()))
    }

    /// `weights`: [contexts, alphabet], each at least 1, each row summing to `TOTAL`.
    fn from_weights(
        order: u32,
        alphabet: usize,
        weights: &[u32],
        sampler: SplitMix64,
    ) -> Option<Self> {
        let stationary = stationary(weights, alphabet)?;
        let mut cumulative = weights.to_vec();
        for row in cumulative.chunks_exact_mut(alphabet) {
            for symbol in 1..alphabet {
                row[symbol] += row[symbol - 1];
            }
        }
        Some(Self { alphabet, order, cumulative, stationary, sampler })
    }

    /// Bits per byte that the source gives and no code can go below, on average.
    #[must_use]
    pub fn entropy_rate(&self) -> f64 {
        let rows = self.cumulative.chunks_exact(self.alphabet);
        rows.zip(&self.stationary).map(|(row, probability)| probability * entropy(row)).sum()
    }

    /// The first `bytes` bytes of the sample; fewer are a prefix of more.
    #[must_use]
    pub fn sample(&self, bytes: usize) -> Vec<u8> {
        let mut sampler = self.sampler.clone();
        let mut context = 0;
        for _ in 0..BURN_IN {
            context = self.after(context, self.draw(context, &mut sampler));
        }
        let draw = |_| {
            let symbol = self.draw(context, &mut sampler);
            context = self.after(context, symbol);
            self.byte_of(symbol)
        };
        (0..bytes).map(draw).collect()
    }

    /// −log2 of the probability that the source gives exactly these bytes, in bits: the length of the best possible
    /// code for them. None if the source never gives them.
    #[must_use]
    pub fn code_length(&self, bytes: &[u8]) -> Option<f64> {
        let symbols: Option<Vec<usize>> = bytes.iter().map(|&byte| self.symbol_of(byte)).collect();
        let symbols = symbols?;
        let (start, rest) = symbols.split_at(symbols.len().min(self.order as usize));
        let mut context = start.iter().fold(0, |context, symbol| context * self.alphabet + symbol);
        // Contexts that begin with `start`: all of them if it is empty, one if it is a context.
        let beginning = self.stationary.len() / self.alphabet.pow(start.len() as u32);
        let here = &self.stationary[context * beginning..(context + 1) * beginning];
        let mut bits = -here.iter().sum::<f64>().log2();
        for &symbol in rest {
            let row = self.row(context);
            let below = if symbol == 0 { 0 } else { row[symbol - 1] };
            bits += f64::from(TOTAL_BITS) - f64::from(row[symbol] - below).log2();
            context = self.after(context, symbol);
        }
        Some(bits)
    }

    fn row(&self, context: usize) -> &[u32] {
        &self.cumulative[context * self.alphabet..(context + 1) * self.alphabet]
    }

    fn draw(&self, context: usize, sampler: &mut SplitMix64) -> usize {
        // TOTAL is a power of two, so no value is likelier than another.
        let value = (sampler.next_u64() >> (u64::BITS - TOTAL_BITS)) as u32;
        self.row(context).partition_point(|&end| end <= value)
    }

    fn after(&self, context: usize, symbol: usize) -> usize {
        (context * self.alphabet + symbol) % self.stationary.len()
    }

    /// Small alphabets are letters; those of more than 26 symbols are the bytes from 0 on.
    fn first_byte(&self) -> usize {
        if self.alphabet <= 26 { usize::from(b'a') } else { 0 }
    }

    fn byte_of(&self, symbol: usize) -> u8 {
        (self.first_byte() + symbol) as u8
    }

    fn symbol_of(&self, byte: u8) -> Option<usize> {
        let symbol = usize::from(byte).checked_sub(self.first_byte())?;
        (symbol < self.alphabet).then_some(symbol)
    }
}

/// Weights of what follows one context: an even part, and the rest shared out by numbers from 1 to
/// 2^13 whose logarithms are uniform, so that a few symbols carry most, as in text.
fn draw_row(generator: &mut SplitMix64, alphabet: u32) -> Vec<u32> {
    let magnitudes: Vec<u64> = (0..alphabet)
        .map(|_| {
            let exponent = generator.next_u64() % 13;
            (1 << exponent) + generator.next_u64() % (1 << exponent)
        })
        .collect();
    let sum: u64 = magnitudes.iter().sum();
    let even = EVEN_PART / alphabet;
    let shared = u64::from(TOTAL - even * alphabet);
    let mut row: Vec<u32> =
        magnitudes.iter().map(|magnitude| even + (magnitude * shared / sum) as u32).collect();
    // What rounding down left over, less than one per symbol.
    let left_over = TOTAL - row.iter().sum::<u32>();
    row[..left_over as usize].iter_mut().for_each(|weight| *weight += 1);
    row
}

/// The stationary distribution over contexts, by power iteration; none if it does not converge.
fn stationary(weights: &[u32], alphabet: usize) -> Option<Vec<f64>> {
    let contexts = weights.len() / alphabet;
    let mut now = vec![1.0 / contexts as f64; contexts];
    for _ in 0..MOST_ITERATIONS {
        let mut next = vec![0.0; contexts];
        for (context, row) in weights.chunks_exact(alphabet).enumerate() {
            let share = now[context] / f64::from(TOTAL);
            let first = context * alphabet % contexts;
            for (symbol, &weight) in row.iter().enumerate() {
                next[(first + symbol) % contexts] += share * f64::from(weight);
            }
        }
        let sum: f64 = next.iter().sum();
        next.iter_mut().for_each(|probability| *probability /= sum);
        let change: f64 = next.iter().zip(&now).map(|(next, now)| (next - now).abs()).sum();
        now = next;
        if change <= STATIONARY_WITHIN {
            return Some(now);
        }
    }
    None
}

/// Entropy of a row of cumulative weights, in bits: log2 T − Σ w log2 w / T.
fn entropy(cumulative: &[u32]) -> f64 {
    let mut below = 0;
    let mut sum = 0.0;
    for &end in cumulative {
        let weight = f64::from(end - below);
        sum += weight * weight.log2();
        below = end;
    }
    f64::from(TOTAL_BITS) - sum / f64::from(TOTAL)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn source(order: u32, alphabet: u32, seed: u64) -> MarkovSource {
        let options = MarkovOptions { order, alphabet, seed, ..MarkovOptions::default() };
        MarkovSource::new(&options).expect("it settles")
    }

    #[test]
    fn rows_are_distributions() {
        for (order, alphabet) in [(0, 2), (2, 16), (1, 256), (3, 27), (8, 3)] {
            let source = source(order, alphabet, 5);
            for row in source.cumulative.chunks_exact(alphabet as usize) {
                assert!(row[0] > 0 && row.is_sorted_by(|left, right| left < right));
                assert_eq!(row.last(), Some(&TOTAL));
            }
            assert!((source.stationary.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn an_even_source_gives_exactly_the_logarithm_of_its_alphabet() {
        for alphabet in [2u32, 4, 16, 256] {
            let even = vec![TOTAL / alphabet; alphabet as usize];
            let source =
                MarkovSource::from_weights(0, alphabet as usize, &even, SplitMix64::new(0));
            assert_eq!(source.expect("settles").entropy_rate(), f64::from(alphabet.ilog2()));
        }
    }

    #[test]
    fn two_states_agree_with_the_closed_form() {
        // Leave `a` with probability p = 1/4, `b` with q = 1/16: π(a) = q/(p + q) = 1/5 and
        // H = π(a) h(p) + π(b) h(q).
        let weights = [TOTAL / 4 * 3, TOTAL / 4, TOTAL / 16, TOTAL / 16 * 15];
        let source = MarkovSource::from_weights(1, 2, &weights, SplitMix64::new(0)).expect("it");
        let binary = |p: f64| -p * p.log2() - (1.0 - p) * (1.0 - p).log2();
        let expected = 0.2 * binary(0.25) + 0.8 * binary(1.0 / 16.0);
        assert!((source.entropy_rate() - expected).abs() < 1e-12);
        // P(ba) = π(b) q = 1/20; P(b) = 4/5; the empty text is certain.
        for (text, probability) in [(&b"ba"[..], 0.05), (b"b", 0.8), (b"", 1.0)] {
            let bits = source.code_length(text).expect("it can happen");
            assert!((bits + f64::log2(probability)).abs() < 1e-12, "{bits}");
        }
        assert_eq!(source.code_length(b"abc"), None);
    }

    #[test]
    fn a_long_sample_costs_what_the_rate_says() {
        const LENGTH: usize = 1_000_000;
        for (order, alphabet, seed) in [(0, 16, 0), (1, 2, 1), (2, 16, 0), (3, 30, 2), (1, 256, 3)]
        {
            let source = source(order, alphabet, seed);
            let sample = source.sample(LENGTH);
            let bits = source.code_length(&sample).expect("its own bytes");
            let difference = bits / LENGTH as f64 - source.entropy_rate();
            // A symbol's cost has a deviation below 2.5 bits, so the mean of independent ones
            // would have one below 0.0025; costs of neighbours are correlated. Six such.
            assert!(difference.abs() < 0.015, "order {order}: {difference}");
            assert_eq!(source.sample(1000), sample[..1000]);
        }
    }

    #[test]
    fn the_widest_sources_settle() {
        for (order, alphabet) in [(19, 2), (11, 3), (4, 16), (1, 256), (9, 4)] {
            let rate = source(order, alphabet, 1).entropy_rate();
            assert!(rate > 0.3 && rate < f64::from(alphabet).log2(), "{order}: {rate}");
        }
    }

    #[test]
    fn the_usual_source_is_pinned() {
        // Both from markov_reference.py, which shares no code with this file. The rates differ by
        // rounding alone, in sums of 256 terms.
        let source = source(2, 16, 0);
        let digest = format!("{:x}", Sha256::digest(source.sample(100_000)));
        assert_eq!(digest, "d47b009d88785a92f43c9fe9b6c054881720f3d9db35ad7f23729bc4df344760");
        assert!((source.entropy_rate() - 2.603_799_069_929_234).abs() < 1e-12);
    }
}
