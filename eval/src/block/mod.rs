//! Coding many chunks side by side, each from an empty context, into one stream of the range
//! coder: first token 0 of every chunk, then token 1 of every chunk that has one, and so on. A
//! decoder can follow because a network that steps all chunks at once needs nothing else. Between
//! [`Predictor`], [`quantize`] and [`coder`](crate::coder); the archive and the measurements stand
//! on it.

mod steps;

use std::ops::ControlFlow;

use rayon::prelude::*;

use crate::coder::{CoderError, Decoder, Encoder};
use crate::predictor::{Predictor, PredictorError};
use crate::quantize::{self, Interval, QuantizeError, RowTable};
use steps::Steps;

/// What a probability of 0 counts as: −log2 of the smallest number that f32 has. The coder spends
/// less than 31 bits on it.
const MOST_BITS: f64 = 149.0;

/// Called after each step with the tokens done of this block; a break stops.
pub type Pulse<'a> = dyn FnMut(u64) -> ControlFlow<()> + 'a;

/// A block, coded.
#[derive(Clone, Debug, PartialEq)]
pub struct CodedBlock {
    /// What the coder emitted.
    pub payload: Vec<u8>,
    /// Ideal bits of every token of each chunk, as [`Predictor::score`] gives them.
    pub bits: Vec<Vec<f32>>,
}

/// Why a block could not be coded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// A chunk that the network's context does not hold.
    #[error("a chunk has {tokens} tokens; the network's context holds {context}")]
    Context {
        /// Tokens of the chunk.
        tokens: usize,
        /// Tokens that fit.
        context: usize,
    },
    /// The network failed.
    #[error(transparent)]
    Predictor(#[from] PredictorError),
    /// The network gave rows of another shape than asked for.
    #[error("the network gave {found} probabilities where {expected} were asked for")]
    Shape {
        /// Entries that came.
        found: usize,
        /// Entries of [lanes, count, vocabulary].
        expected: usize,
    },
    /// The network gave a row that is no distribution, or a token is outside the vocabulary.
    #[error("chunk {chunk} of the block, token {position}: {source}")]
    Row {
        /// Chunk within the block.
        chunk: usize,
        /// Token within the chunk.
        position: usize,
        /// What is wrong.
        source: QuantizeError,
    },
    /// The payload is not what the encoder wrote.
    #[error(transparent)]
    Coder(#[from] CoderError),
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}

/// Codes chunks of tokens. An exact predictor is asked for whole chunks, any other one steps all of
/// them token by token, as the decoder will, so that both see the same numbers.
///
/// # Errors
/// As [`BlockError`] lists.
pub fn encode_block(
    predictor: &dyn Predictor,
    chunks: &[&[u32]],
    pulse: &mut Pulse,
) -> Result<CodedBlock, BlockError> {
    let lanes = if predictor.is_exact() {
        whole_lanes(predictor, chunks, pulse)?
    } else {
        stepped_lanes(predictor, chunks, pulse)?
    };
    let mut encoder = Encoder::default();
    let longest = lanes.iter().map(|lane| lane.intervals.len()).max().unwrap_or(0);
    for position in 0..longest {
        for interval in lanes.iter().filter_map(|lane| lane.intervals.get(position)) {
            encoder.encode(*interval);
        }
    }
    let bits = lanes.into_iter().map(|lane| lane.bits).collect();
    Ok(CodedBlock { payload: encoder.finish(), bits })
}

/// Every chunk's intervals, by whole chunks.
fn whole_lanes<'a>(
    predictor: &dyn Predictor,
    chunks: &[&'a [u32]],
    pulse: &mut Pulse,
) -> Result<Vec<Lane<'a>>, BlockError> {
    let context = predictor.context();
    if let Some(tokens) = chunks.iter().map(|chunk| chunk.len()).find(|&tokens| tokens > context) {
        return Err(BlockError::Context { tokens, context });
    }
    let vocabulary = predictor.vocabulary().max(1);
    let mut lanes: Vec<Lane> = chunks.iter().map(|chunk| Lane::new(chunk)).collect();
    let (mut done, mut failed) = (0, None);
    predictor.rows(chunks, &mut |chunk, first, rows| {
        let quantized = lanes[chunk].quantize(first, rows, vocabulary);
        done += (rows.len() / vocabulary) as u64;
        failed = match quantized {
            Err((position, source)) => Some(BlockError::Row { chunk, position, source }),
            Ok(()) if pulse(done).is_break() => Some(BlockError::Stopped),
            Ok(()) => return ControlFlow::Continue(()),
        };
        ControlFlow::Break(())
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let short = lanes.iter().find(|lane| lane.intervals.len() != lane.tokens.len());
    match short {
        None => Ok(lanes),
        Some(lane) => Err(BlockError::Shape {
            found: lane.intervals.len() * vocabulary,
            expected: lane.tokens.len() * vocabulary,
        }),
    }
}

/// Every chunk's intervals, token by token.
fn stepped_lanes<'a>(
    predictor: &dyn Predictor,
    chunks: &[&'a [u32]],
    pulse: &mut Pulse,
) -> Result<Vec<Lane<'a>>, BlockError> {
    let lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.len()).collect();
    let mut steps = Steps::start(predictor, &lengths)?;
    let mut lanes: Vec<Lane> = chunks.iter().map(|chunk| Lane::new(chunk)).collect();
    while steps.next(|lane, position| chunks[lane][position])? {
        let first = steps.position - 1;
        steps.for_each_lane(&mut lanes, |lane, row, vocabulary| {
            lane.quantize(first, row, vocabulary)
        })?;
        let done = lanes.iter().map(|lane| lane.intervals.len() as u64).sum();
        if pulse(done).is_break() {
            return Err(BlockError::Stopped);
        }
    }
    Ok(lanes)
}

/// Decodes what [`encode_block`] coded with the same predictor: chunks of these lengths.
///
/// # Errors
/// As [`BlockError`] lists. Damaged bytes are an error, or garbage of these lengths.
pub fn decode_block(
    predictor: &dyn Predictor,
    lengths: &[usize],
    payload: &[u8],
    pulse: &mut Pulse,
) -> Result<Vec<Vec<u32>>, BlockError> {
    let mut steps = Steps::start(predictor, lengths)?;
    let mut decoder = Decoder::new(payload);
    let mut chunks: Vec<Vec<u32>> = vec![Vec::new(); lengths.len()];
    let mut tables: Vec<(usize, RowTable)> =
        lengths.iter().map(|&length| (length, RowTable::default())).collect();
    let mut done = 0;
    while steps.next(|lane, position| chunks[lane][position])? {
        let position = steps.position - 1;
        steps.for_each_lane(&mut tables, |(length, table), row, _| {
            if position >= *length { Ok(()) } else { table.fill(row).map_err(|e| (position, e)) }
        })?;
        let rows = steps.rows.chunks_exact(steps.vocabulary);
        for (chunk, (row, (length, table))) in rows.zip(&tables).enumerate() {
            if position < *length {
                let found = table.find(row, decoder.target(table.total())?);
                let place = |source| BlockError::Row { chunk, position, source };
                let (token, interval) = found.map_err(place)?;
                decoder.consume(interval);
                chunks[chunk].push(token);
                done += 1;
            }
        }
        if pulse(done).is_break() {
            return Err(BlockError::Stopped);
        }
    }
    decoder.finish()?;
    Ok(chunks)
}

/// One chunk being encoded.
struct Lane<'a> {
    tokens: &'a [u32],
    /// Ideal bits of the tokens so far.
    bits: Vec<f32>,
    /// Intervals of the tokens so far.
    intervals: Vec<Interval>,
}

impl<'a> Lane<'a> {
    fn new(tokens: &'a [u32]) -> Self {
        let length = tokens.len();
        Self { tokens, bits: Vec::with_capacity(length), intervals: Vec::with_capacity(length) }
    }

    /// Takes the tokens from `first` on, as many as there are rows and the chunk still holds; in
    /// parallel where that pays.
    ///
    /// `rows`: [count, vocabulary].
    fn quantize(
        &mut self,
        first: usize,
        rows: &[f32],
        vocabulary: usize,
    ) -> Result<(), (usize, QuantizeError)> {
        let tokens = self.tokens.get(first..).unwrap_or_default();
        let one = |(offset, (row, &token)): (usize, (&[f32], &u32))| {
            let interval =
                quantize::interval(row, token).map_err(|source| (first + offset, source))?;
            Ok((interval, ideal_bits(row[token as usize])))
        };
        let quantized: Vec<(Interval, f32)> = if rows.len() < steps::PARALLEL_ENTRIES {
            rows.chunks_exact(vocabulary).zip(tokens).enumerate().map(one).collect::<Result<_, _>>()
        } else {
            let rows = rows.par_chunks_exact(vocabulary);
            rows.zip(tokens).enumerate().map(one).collect::<Result<_, _>>()
        }?;
        for (interval, bits) in quantized {
            self.intervals.push(interval);
            self.bits.push(bits);
        }
        Ok(())
    }
}

/// Bits that a symbol of this probability ideally takes.
#[expect(clippy::cast_possible_truncation, reason = "as a predictor's scores, f32")]
fn ideal_bits(probability: f32) -> f32 {
    (-f64::from(probability).log2()).clamp(0.0, MOST_BITS) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CountModel, text};
    use proptest::prelude::*;

    fn go(_: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn check_round_trip(model: &CountModel, chunks: &[Vec<u32>]) -> CodedBlock {
        let slices: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
        let coded = encode_block(model, &slices, &mut go).expect("codes");
        let lengths: Vec<usize> = chunks.iter().map(Vec::len).collect();
        let decoded = decode_block(model, &lengths, &coded.payload, &mut go).expect("decodes");
        assert_eq!(decoded, chunks);
        coded
    }

    fn chunks(lengths: &[usize], vocabulary: u32) -> Vec<Vec<u32>> {
        let chunk = |(seed, &length): (usize, &usize)| text(length, vocabulary, seed as u64);
        lengths.iter().enumerate().map(chunk).collect()
    }

    #[test]
    fn chunks_of_any_lengths_come_back() {
        let shapes: [&[usize]; 6] =
            [&[], &[0], &[1], &[0, 5, 0, 1], &[2048; 5], &[2048, 2048, 2048, 17]];
        for lengths in shapes {
            check_round_trip(&CountModel::exact(256), &chunks(lengths, 256));
            check_round_trip(&CountModel::inexact(256), &chunks(lengths, 256));
        }
        check_round_trip(&CountModel::exact(70_000), &chunks(&[40, 3, 60], 70_000));
    }

    #[test]
    fn overhead_is_small_and_bits_are_the_scores() {
        let model = CountModel::exact(256);
        let chunks = chunks(&[2048; 16], 256);
        let coded = check_round_trip(&model, &chunks);
        let slices: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
        assert_eq!(coded.bits, model.score(&slices).expect("scores"));
        let ideal: f64 = coded.bits.iter().flatten().map(|&bits| f64::from(bits)).sum();
        let overhead = coded.payload.len() as f64 * 8.0 / ideal - 1.0;
        assert!(overhead < 1e-4, "{overhead}");
    }

    #[test]
    fn an_exact_predictor_codes_the_same_however_it_is_stepped() {
        let chunks = chunks(&[300, 2048, 40], 256);
        let many = check_round_trip(&CountModel::exact(256), &chunks);
        let one_by_one = check_round_trip(&CountModel::exact(256).said_to_be_inexact(), &chunks);
        assert_eq!(many, one_by_one);
        let other = check_round_trip(&CountModel::inexact(256), &chunks);
        let forced = CountModel::inexact(256).said_to_be_exact();
        let slices: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
        let wrong = encode_block(&forced, &slices, &mut go).expect("codes");
        assert_ne!(wrong.payload, other.payload, "the fake would notice being fed many at once");
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let model = CountModel::exact(256);
        let error = |chunk: &[u32]| encode_block(&model, &[chunk], &mut go).expect_err("refused");
        assert!(matches!(error(&vec![0; 5000]), BlockError::Context { tokens: 5000, .. }));
        let message = error(&[1, 2, 256]).to_string();
        assert!(message.contains("token 2") && message.contains("256"), "{message}");
        let stop = encode_block(&model, &[&[1]], &mut |_| ControlFlow::Break(()));
        assert!(matches!(stop, Err(BlockError::Stopped)));
    }

    #[test]
    fn impossible_tokens_cost_a_finite_number_of_bits() {
        assert_eq!(ideal_bits(0.0), 149.0);
        assert_eq!(ideal_bits(1.0), 0.0);
        assert_eq!(ideal_bits(0.25), 2.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damaged_payloads_never_panic(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            lengths in prop::collection::vec(0_usize..100, 0..6),
        ) {
            if let Ok(chunks) = decode_block(&CountModel::exact(256), &lengths, &payload, &mut go) {
                prop_assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
            }
        }
    }
}
