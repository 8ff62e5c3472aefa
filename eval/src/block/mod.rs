//! Coding the chunks of a block, each predicted from an empty context.
//!
//! The chunks are divided into *streams* of some dozens, each a range-coder stream of its own, so that all cores can
//! decode. Within a stream, the chunks are processed in *groups* of a few chunks that are predicted side by side: first
//! token 0 of every chunk of the group, then token 1 of every chunk that has one, and so on, then the next group. So a
//! decoder keeps only as many contexts as a group has chunks, for each core. This module is built on [`Predictor`],
//! [`quantize`] and [`coder`](crate::coder); the archive and the measurements use it.
//!
//! The payload: the length of every stream but the last, in LEB128, then the streams.

mod decode;
mod error;
mod layout;
mod steps;

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::coder::Encoder;
use crate::predictor::Predictor;
use crate::quantize::{self, Interval, QuantizeError};
use steps::Steps;

pub use decode::decode_block;
pub use error::BlockError;
pub use layout::Layout;

/// Called now and then with the tokens done of this block; a break stops.
pub type Pulse<'a> = dyn FnMut(u64) -> ControlFlow<()> + 'a;

/// A block, coded.
#[derive(Clone, Debug, PartialEq)]
pub struct CodedBlock {
    /// What the coder emitted.
    pub payload: Vec<u8>,
    /// The ideal cost of every token of each chunk: log2(total / frequency), including the coder's floor.
    pub bits: Vec<Vec<f32>>,
    /// Σ −log2 p of the network's own distribution, as [`Predictor::score`] gives it; infinite if a
    /// probability was so small that f32 has 0 for it.
    pub cross_entropy_bits: f64,
}

/// Codes chunks of tokens. An exact predictor evaluates whole chunks. Any other predictor steps each group token by
/// token, as the decoder will, so that both see the same numbers.
///
/// # Errors
/// As [`BlockError`] lists.
pub fn encode_block(
    predictor: &dyn Predictor,
    layout: Layout,
    chunks: &[&[u32]],
    pulse: &mut Pulse,
) -> Result<CodedBlock, BlockError> {
    let (longest, context) = (chunks.iter().map(|chunk| chunk.len()).max(), predictor.context());
    if let Some(tokens) = longest.filter(|&tokens| tokens > context) {
        return Err(BlockError::Context { tokens, context });
    }
    let lanes = if predictor.is_exact() {
        whole_lanes(predictor, chunks, pulse)?
    } else {
        stepped_lanes(predictor, layout, chunks, pulse)?
    };
    let streams = layout.streams(chunks.len()).into_par_iter();
    let streams: Vec<Vec<u8>> = streams.map(|range| stream(layout, &lanes[range])).collect();
    let cross_entropy_bits = lanes.iter().map(|lane| lane.cross_entropy_bits).sum();
    let bits = lanes.into_iter().map(|lane| lane.bits).collect();
    Ok(CodedBlock { payload: layout::join(&streams), bits, cross_entropy_bits })
}

/// Codes the chunks of a stream, group by group.
fn stream(layout: Layout, lanes: &[Lane]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for group in lanes.chunks(layout.group()) {
        let longest = group.iter().map(|lane| lane.intervals.len()).max().unwrap_or(0);
        for position in 0..longest {
            for interval in group.iter().filter_map(|lane| lane.intervals.get(position)) {
                encoder.encode(*interval);
            }
        }
    }
    encoder.finish()
}

/// Every chunk's intervals, by whole chunks: a few for each thread, then a pulse, and again.
fn whole_lanes<'a>(
    predictor: &dyn Predictor,
    chunks: &[&'a [u32]],
    pulse: &mut Pulse,
) -> Result<Vec<Lane<'a>>, BlockError> {
    let vocabulary = predictor.vocabulary().max(1);
    let mut lanes = Vec::new();
    let (mut done, wave) = (0, 2 * rayon::current_num_threads());
    for chunks in chunks.chunks(wave) {
        let first = lanes.len();
        let slots: Vec<Mutex<Lane>> =
            chunks.iter().map(|chunk| Mutex::new(Lane::new(chunk))).collect();
        let failed = Mutex::new(None);
        predictor.rows(chunks, &|chunk, start, rows| match unlocked(&slots[chunk])
            .quantize(start, rows, vocabulary)
        {
            Ok(()) => ControlFlow::Continue(()),
            Err((position, source)) => {
                *unlocked(&failed) =
                    Some(BlockError::Row { chunk: first + chunk, position, source });
                ControlFlow::Break(())
            }
        })?;
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        for slot in slots {
            let lane = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
            let [found, expected] =
                [lane.intervals.len(), lane.tokens.len()].map(|count| count * vocabulary);
            if found != expected {
                return Err(BlockError::Shape { found, expected });
            }
            done += lane.tokens.len() as u64;
            lanes.push(lane);
        }
        if pulse(done).is_break() {
            return Err(BlockError::Stopped);
        }
    }
    Ok(lanes)
}

/// What a lock guards; whoever panicked with it takes the whole block down anyway.
fn unlocked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every chunk's intervals, token by token, in the groups that a decoder will have.
fn stepped_lanes<'a>(
    predictor: &dyn Predictor,
    layout: Layout,
    chunks: &[&'a [u32]],
    pulse: &mut Pulse,
) -> Result<Vec<Lane<'a>>, BlockError> {
    let lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.len()).collect();
    let mut lanes: Vec<Lane> = chunks.iter().map(|chunk| Lane::new(chunk)).collect();
    let mut steps = Steps::new(predictor, lengths.iter().copied().max().unwrap_or(0));
    let mut done = 0;
    for group in layout.groups(chunks.len()) {
        steps.start(&lengths[group.clone()])?;
        while steps.next(|lane, position| chunks[group.start + lane][position])? {
            for (lane, row) in steps.present() {
                let chunk = group.start + lane;
                let place = |(position, source)| BlockError::Row { chunk, position, source };
                lanes[chunk].quantize(steps.position(), row, row.len()).map_err(place)?;
                done += 1;
            }
            if pulse(done).is_break() {
                return Err(BlockError::Stopped);
            }
        }
    }
    Ok(lanes)
}

/// One chunk being encoded.
struct Lane<'a> {
    tokens: &'a [u32],
    /// What each of the tokens so far costs.
    bits: Vec<f32>,
    /// Σ −log2 p of them.
    cross_entropy_bits: f64,
    /// Intervals of the tokens so far.
    intervals: Vec<Interval>,
}

impl<'a> Lane<'a> {
    fn new(tokens: &'a [u32]) -> Self {
        let length = tokens.len();
        let (bits, intervals) = (Vec::with_capacity(length), Vec::with_capacity(length));
        Self { tokens, bits, cross_entropy_bits: 0.0, intervals }
    }

    /// Takes the tokens from `first` on, as many as there are rows and the chunk still holds.
    ///
    /// `rows`: [count, vocabulary].
    fn quantize(
        &mut self,
        first: usize,
        rows: &[f32],
        vocabulary: usize,
    ) -> Result<(), (usize, QuantizeError)> {
        let tokens = self.tokens.get(first..).unwrap_or_default();
        for (offset, (row, &token)) in rows.chunks_exact(vocabulary).zip(tokens).enumerate() {
            let interval =
                quantize::interval(row, token).map_err(|source| (first + offset, source))?;
            self.intervals.push(interval);
            self.bits.push(narrow(interval.bits()));
            self.cross_entropy_bits -= f64::from(row[token as usize]).log2();
        }
        Ok(())
    }
}

/// Bits as a predictor's scores are.
#[expect(clippy::cast_possible_truncation, reason = "it is meant")]
fn narrow(bits: f64) -> f32 {
    bits as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CountModel, ScriptedModel, text};
    use proptest::prelude::*;

    fn go(_: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn check_round_trip(model: &CountModel, chunks: &[Vec<u32>]) -> CodedBlock {
        let slices: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
        let coded = encode_block(model, Layout::default(), &slices, &mut go).expect("codes");
        let lengths: Vec<usize> = chunks.iter().map(Vec::len).collect();
        let decoded = decode_block(model, Layout::default(), &lengths, &coded.payload, &mut go)
            .expect("decodes");
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
        let sum = |bits: &[Vec<f32>]| bits.iter().flatten().map(|&bits| f64::from(bits)).sum();
        let (ideal, scored): (f64, f64) =
            (sum(&coded.bits), sum(&model.score(&slices).expect("scores")));
        assert!((coded.cross_entropy_bits / scored - 1.0).abs() < 1e-7);
        assert!((ideal / scored - 1.0).abs() < 1e-6, "no token is near the floor");
        let overhead = coded.payload.len() as f64 * 8.0 / ideal - 1.0;
        assert!((0.0..1e-4).contains(&overhead), "{overhead}");
    }

    #[test]
    fn a_sure_and_wrong_network_costs_what_the_coder_spends() {
        for probability in [1e-12, 0.0] {
            let model = ScriptedModel { sure_of: 3, others: probability };
            let chunks: Vec<Vec<u32>> = vec![vec![7; 500]; 20];
            let slices: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
            let coded = encode_block(&model, Layout::default(), &slices, &mut go).expect("codes");
            let ideal: f64 = coded.bits.iter().flatten().map(|&bits| f64::from(bits)).sum();
            assert!((ideal / (30.0 * 10_000.0) - 1.0).abs() < 1e-6, "{ideal}");
            let overhead = coded.payload.len() as f64 * 8.0 / ideal - 1.0;
            assert!((0.0..1e-3).contains(&overhead), "{overhead}");
            let own = -f64::from(probability).log2() * 10_000.0;
            assert!(
                coded.cross_entropy_bits == own
                    || (coded.cross_entropy_bits / own - 1.0).abs() < 1e-6
            );
        }
    }

    #[test]
    fn any_number_of_threads_decodes_any_layout() {
        let model = CountModel::exact(256);
        let chunks = chunks(&[90; 21], 256);
        let slices: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
        let lengths: Vec<usize> = chunks.iter().map(Vec::len).collect();
        for (stream_chunks, group_chunks) in [(1, 1), (32, 4), (5, 3), (2, 64), (7, 1)] {
            let layout = Layout { stream_chunks, group_chunks };
            let coded = encode_block(&model, layout, &slices, &mut go).expect("codes");
            for threads in [1, 2, 7] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let decode = || {
                    let again = encode_block(&model, layout, &slices, &mut go).expect("codes");
                    assert_eq!(again, coded);
                    decode_block(&model, layout, &lengths, &coded.payload, &mut go)
                };
                assert_eq!(pool.expect("a pool").install(decode).expect("decodes"), chunks);
            }
        }
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
        let wrong = encode_block(&forced, Layout::default(), &slices, &mut go).expect("codes");
        assert_ne!(wrong.payload, other.payload, "the fake would notice being fed many at once");
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let model = CountModel::exact(256);
        let error = |chunk: &[u32]| {
            encode_block(&model, Layout::default(), &[chunk], &mut go).expect_err("refused")
        };
        assert!(matches!(error(&vec![0; 5000]), BlockError::Context { tokens: 5000, .. }));
        let message = error(&[1, 2, 256]).to_string();
        assert!(message.contains("token 2") && message.contains("256"), "{message}");
        let stop =
            encode_block(&model, Layout::default(), &[&[1]], &mut |_| ControlFlow::Break(()));
        assert!(matches!(stop, Err(BlockError::Stopped)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damaged_payloads_never_panic(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            lengths in prop::collection::vec(0_usize..100, 0..6),
        ) {
            if let Ok(chunks) = decode_block(&CountModel::exact(256), Layout::default(), &lengths, &payload, &mut go) {
                prop_assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
            }
        }
    }
}
