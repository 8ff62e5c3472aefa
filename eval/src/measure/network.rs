//! Measuring a network: its ideal bits by [`Predictor::score`], or by the coder, which gives both the ideal bits and
//! the bytes that it emits. Chunks with more tokens than the network's context are split into pieces, each predicted
//! from an empty context. Overlapping windows are not coded.

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::time::Instant;

use lmtrain_runs::record::{Chunking, Mask};
use lmtrain_runs::sweep::Shard;
use lmtrain_runs::units::hex;
use lmtrain_runs::{ARITHMETIC, Bits, Bytes};
use lmtrain_tokenizers::{Tokenizer, TokenizerError};
use serde::{Deserialize, Serialize};

use super::journal::{Journal, fingerprint};
use super::mask::{Masked, masked};
use super::pieces::{Draw, Pieces, slice};
use super::positions::{Curve, positions, up_to};
use super::strided::{self, Text};
use super::{MeasureError, MeasureOutcome, MeasureProgress, Measured, ProgressCallback};
use crate::block::{BlockError, CodedBlock, Layout, encode_block};
use crate::interval::ChunkBits;
use crate::predictor::Predictor;
use crate::quantize;

/// What is to be measured, of which network, on what.
#[derive(Clone)]
pub struct Measurement<'a> {
    /// The network.
    pub predictor: &'a dyn Predictor,
    /// Its tokenizer.
    pub tokenizer: &'a dyn Tokenizer,
    /// The whole corpus.
    pub corpus: &'a [u8],
    /// Its identity, in hexadecimal.
    pub corpus_sha256: &'a str,
    /// The bytes of it to measure, or to draw from.
    pub span: Range<u64>,
    /// Chunks of this many bytes, each tokenized separately; or chunks of this many tokens, cut from the tokens of the
    /// whole span; or overlapping windows of these, for which only ideal bits are measured.
    pub chunking: Chunking,
    /// Some chunks, if not all; of bytes only.
    pub sample: Option<Draw>,
    /// The bits that are removed from bytes before the network sees them, as in the paper's code. Lost bits are
    /// counted separately: one for each byte of a chunk that the mask changed, since nothing says which bytes were
    /// changed. A byte that the tokenizer cannot spell even then is replaced, and lost entirely.
    pub mask: Option<Mask>,
    /// Whether to run the coder too.
    pub coding: bool,
    /// Whether to keep bits up to some positions of each chunk, which has bytes then.
    pub curve: bool,
    /// Chunks that are scored or coded together; after each such group the results are saved. This bounds memory,
    /// since coding keeps this many contexts at once.
    pub group_chunks: u64,
}

/// The ranges to go through; and if they are cut by tokens, all of these.
pub(super) type Cut = (Pieces, Option<Vec<u32>>);

/// A finished group, a line of the journal.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Group {
    /// Bits and raw bytes of each chunk.
    chunks: Vec<(f64, u64)>,
    tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    coded_bytes: Option<u64>,
    /// Σ −log2 p of the network's own distribution, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    cross_entropy: Option<f64>,
    /// Bits of each chunk up to each position, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    curve: Vec<Vec<f64>>,
    /// Chunks that were cut.
    #[serde(default)]
    cut: u64,
    /// Bits that the mask lost, and those that the paper's code counts.
    #[serde(default)]
    lost: u64,
    #[serde(default)]
    missed: u64,
    seconds: f64,
}

impl Measurement<'_> {
    /// A name for this measurement: the same only if everything that decides the result is.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mask = self.mask.map_or(String::new(), |mask| format!(", {mask}"));
        let curve = if self.curve { ", curve" } else { "" };
        fingerprint(&[
            format!("network 6, arithmetic {ARITHMETIC}{mask}{curve}"),
            hex(&self.predictor.identity()),
            format!("{} {}", self.tokenizer.tokenization(), hex(&self.tokenizer.identity())),
            format!("{} {:?}", self.corpus_sha256, self.span),
            format!("{:?} {:?} {} {}", self.chunking, self.sample, self.coding, self.group_chunks),
        ])
    }

    /// Measures what the journal does not already hold.
    ///
    /// # Errors
    /// As [`MeasureError`] lists.
    pub fn run(
        &self,
        journal: Option<&Path>,
        progress: &mut ProgressCallback,
    ) -> Result<MeasureOutcome, MeasureError> {
        self.whole(&self.pieces()?, journal, progress)
    }

    /// The journal, to go on with a share.
    pub(super) fn open(
        &self,
        journal: Option<&Path>,
        share: Shard,
    ) -> Result<Journal<Group>, MeasureError> {
        Journal::open(journal, share, self.fingerprint())
    }

    /// Takes a group from the journal or measures it, and tells the progress; nothing if stopped.
    pub(super) fn step(
        &self,
        (index, ranges): (u64, &[Range<u64>]),
        cut: &Cut,
        journal: &mut Journal<Group>,
        so_far: &mut MeasureProgress,
        progress: &mut ProgressCallback,
    ) -> Result<Option<Group>, MeasureError> {
        let mut pulse = || progress(*so_far);
        let found = self.found_or_measured((index, ranges), cut, journal, &mut pulse)?;
        let Some((group, resumed)) = found else { return Ok(None) };
        so_far.raw_bytes_resumed += resumed;
        so_far.raw_bytes_done += group.raw_bytes();
        so_far.bits += group.bits();
        so_far.position = ranges.last().map_or(so_far.position, |range| range.end);
        Ok(progress(*so_far).is_continue().then_some(group))
    }

    /// Chunks of a group.
    pub(super) fn in_group(&self) -> usize {
        in_memory(self.group_chunks.max(1))
    }

    /// A group as the journal has it, and its bytes; or measured, and no bytes; nothing if stopped.
    fn found_or_measured(
        &self,
        (index, ranges): (u64, &[Range<u64>]),
        (_, tokens): &Cut,
        journal: &mut Journal<Group>,
        pulse: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<(Group, u64)>, MeasureError> {
        let found = journal.take(index).filter(|group| group.raw_bytes() == length_of(ranges));
        if let Some(group) = found {
            let bytes = group.raw_bytes();
            return Ok(Some((group, bytes)));
        }
        let texts = self.tokens_of(ranges, index, self.in_group(), tokens.as_deref())?;
        let Some(group) = self.group(ranges, &texts, pulse)? else { return Ok(None) };
        journal.append(index, &group)?;
        Ok(Some((group, 0)))
    }

    /// Measures all that the journal does not hold.
    pub(super) fn whole(
        &self,
        cut: &Cut,
        journal: Option<&Path>,
        progress: &mut ProgressCallback,
    ) -> Result<MeasureOutcome, MeasureError> {
        let pieces = &cut.0;
        let mut journal = self.open(journal, Shard::WHOLE)?;
        let mut measured = Measured {
            tokens: Some(0),
            ideal_bits: Some(Bits(0.0)),
            cross_entropy_bits: Some(Bits(0.0)),
            coded_bytes: self.coding.then_some(Bytes(0)),
            sample: pieces.sample,
            lost_bits: self.mask.map(|_| Bits(0.0)),
            missed_bits: self.mask.map(|_| Bits(0.0)),
            curve: self.curve.then(|| Curve { ends: self.ends(), chunks: Vec::new() }),
            ..Default::default()
        };
        let mut so_far = MeasureProgress { raw_bytes: pieces.raw_bytes(), ..Default::default() };
        for group in (0_u64..).zip(pieces.ranges.chunks(self.in_group())) {
            match self.step(group, cut, &mut journal, &mut so_far, progress)? {
                Some(group) => group.add_to(&mut measured),
                None => return Ok(MeasureOutcome::Stopped),
            }
        }
        Ok(MeasureOutcome::Finished(measured))
    }

    /// The positions of a curve.
    fn ends(&self) -> Vec<u64> {
        match self.chunking {
            Chunking::Bytes(length) if self.curve => positions(length),
            _ => Vec::new(),
        }
    }

    /// The ranges to go through; and if they are cut by tokens, all of these.
    pub(super) fn pieces(&self) -> Result<Cut, MeasureError> {
        let refuse = |why| Err(MeasureError::Chunking { chunking: self.chunking, why });
        let length = match self.chunking {
            Chunking::Strided { window, stride } => return self.windows(window, stride),
            Chunking::Bytes(0) | Chunking::Tokens(0) => {
                return refuse("a chunk must have at least one byte or token");
            }
            Chunking::Whole => return refuse("a network's context is limited"),
            Chunking::Tokens(_) if self.sample.is_some() => {
                return refuse("sampling needs chunks of bytes");
            }
            Chunking::Tokens(_) if self.curve => {
                return refuse("a curve needs chunks of bytes");
            }
            Chunking::Tokens(_) if self.mask.is_some() => {
                return refuse("masking needs chunks of bytes");
            }
            Chunking::Bytes(length) => {
                return Ok((Pieces::cut(self.corpus, &self.span, length, self.sample)?, None));
            }
            Chunking::Tokens(length) => in_memory(length),
        };
        self.pieces_of_tokens(|tokens| {
            (0..tokens)
                .step_by(length)
                .map(|at| at..tokens.min(at.saturating_add(length)))
                .collect()
        })
    }

    /// The ranges that the tokens of the whole span are cut into, and these.
    fn pieces_of_tokens(
        &self,
        cut: impl Fn(usize) -> Vec<Range<usize>>,
    ) -> Result<Cut, MeasureError> {
        // For its check of the span.
        Pieces::cut(self.corpus, &self.span, u64::MAX, None)?;
        let failed = |error: TokenizerError| MeasureError::Tokens {
            span: self.span.clone(),
            what: error.to_string(),
        };
        let tokens = self.tokenizer.encode(slice(self.corpus, &self.span)).map_err(failed)?;
        let (mut ranges, mut start) = (Vec::new(), self.span.start);
        for chunk in cut(tokens.len()) {
            let first = start == self.span.start;
            let bytes = self.bytes_of(&tokens[chunk], first).map_err(failed)?;
            ranges.push(start..start + bytes.len() as u64);
            start += bytes.len() as u64;
        }
        if start != self.span.end {
            let what = format!("its tokens decode to {} bytes", start - self.span.start);
            return Err(MeasureError::Tokens { span: self.span.clone(), what });
        }
        Ok((Pieces { ranges, sample: None }, Some(tokens)))
    }

    /// The ranges that windows code, and the tokens of the whole span.
    fn windows(&self, window: u64, stride: u64) -> Result<Cut, MeasureError> {
        self.check_windows(window, stride)?;
        let [window, stride] = [window, stride].map(in_memory);
        self.pieces_of_tokens(|tokens| strided::coded(tokens, window, stride))
    }

    /// Refuses windows that cannot be.
    fn check_windows(&self, window: u64, stride: u64) -> Result<(), MeasureError> {
        let context = self.predictor.context() as u64;
        let why = if stride == 0 || stride > window {
            "the stride must be from 1 to the window's length"
        } else if window > context {
            "the window is longer than the network's context"
        } else if self.sample.is_some() {
            "sampling needs chunks of bytes"
        } else if self.mask.is_some() {
            "masking needs chunks of bytes"
        } else if self.coding {
            "overlapping windows cannot be coded"
        } else {
            return Ok(());
        };
        Err(MeasureError::Chunking { chunking: self.chunking, why })
    }

    /// The tokens of the chunks that a group's ranges are.
    fn tokens_of(
        &self,
        ranges: &[Range<u64>],
        index: u64,
        in_group: usize,
        tokens: Option<&[u32]>,
    ) -> Result<Vec<Text>, MeasureError> {
        let first = in_memory(index).saturating_mul(in_group);
        match (tokens, self.chunking) {
            (Some(tokens), Chunking::Tokens(length)) => {
                let chunks = tokens.chunks(in_memory(length)).skip(first).take(ranges.len());
                Ok(chunks.map(|chunk| Text { tokens: chunk.to_vec(), before: 0 }).collect())
            }
            (Some(tokens), Chunking::Strided { window, stride }) => {
                let [window, stride] = [window, stride].map(in_memory);
                let coded = strided::coded(tokens.len(), window, stride);
                let text = |coded: Range<usize>| {
                    let of = strided::window_of(&coded, window);
                    Text { before: coded.start - of.start, tokens: tokens[of].to_vec() }
                };
                Ok(coded.into_iter().skip(first).take(ranges.len()).map(text).collect())
            }
            _ => {
                let text = |range: &Range<u64>| {
                    let tokens = self.tokenizer.encode(&self.masked(range).bytes);
                    let text = tokens.map(|tokens| Text { tokens, before: 0 });
                    text.map_err(|error| MeasureError::Tokens {
                        span: range.clone(),
                        what: error.to_string(),
                    })
                };
                ranges.iter().map(text).collect()
            }
        }
    }

    /// Measures the chunks of some ranges; nothing if stopped.
    fn group(
        &self,
        ranges: &[Range<u64>],
        texts: &[Text],
        pulse: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Group>, MeasureError> {
        let started = Instant::now();
        let start = ranges.first().map_or(self.span.start, |range| range.start);
        let span = start..ranges.last().map_or(start, |range| range.end);
        let context = self.predictor.context().max(1);
        let pieces = texts.iter().flat_map(|text| text.pieces(context));
        let pieces: Vec<(&[u32], usize)> = pieces.collect();
        let Some(scores) = self.scores(&pieces, start, pulse)? else { return Ok(None) };
        let mut group = Group {
            coded_bytes: scores.coded_bytes,
            cross_entropy: Some(scores.cross_entropy_bits).filter(|bits| bits.is_finite()),
            cut: texts.iter().filter(|text| text.tokens.len() > context).count() as u64,
            ..Default::default()
        };
        for range in ranges {
            let masked = self.masked(range);
            group.lost += masked.lost;
            group.missed += masked.missed;
        }
        let mut bits = scores.bits.iter();
        for (text, range) in texts.iter().zip(ranges) {
            // Chunks of tokens are one text, of which only the first is the beginning.
            let alone = matches!(self.chunking, Chunking::Bytes(_));
            let first = alone || range.start == self.span.start;
            let pieces = text.pieces(context).zip(bits.by_ref().map(Vec::as_slice));
            let added = self.add_chunk(pieces, first, &mut group);
            let added = added.map_err(|error| error.to_string());
            added.map_err(|what| MeasureError::Tokens { span: span.clone(), what })?;
        }
        let raw_bytes = group.raw_bytes();
        if raw_bytes != length_of(ranges) {
            let what = format!("its tokens decode to {raw_bytes} bytes");
            return Err(MeasureError::Tokens { span, what });
        }
        group.seconds = started.elapsed().as_secs_f64();
        Ok(Some(group))
    }

    /// The cost of every token of some pieces, without the tokens that are only context; nothing if stopped.
    fn scores(
        &self,
        pieces: &[(&[u32], usize)],
        at: u64,
        pulse: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Scores>, MeasureError> {
        let chunks: Vec<&[u32]> = pieces.iter().map(|(tokens, _)| *tokens).collect();
        let chunks = &chunks[..];
        if self.coding {
            let longest = chunks.iter().map(|chunk| chunk.len()).max().unwrap_or(0);
            let layout = Layout::of_chunks(longest);
            return match encode_block(self.predictor, layout, chunks, &mut |_| pulse()) {
                Ok(CodedBlock { payload, bits, cross_entropy_bits }) => {
                    let coded_bytes = Some(payload.len() as u64);
                    Ok(Some(Scores { bits, cross_entropy_bits, coded_bytes }))
                }
                Err(BlockError::Stopped) => Ok(None),
                Err(source) => Err(MeasureError::Block { at, source }),
            };
        }
        let mut bits = self.predictor.score(chunks)?;
        if !bits.iter().map(Vec::len).eq(chunks.iter().map(|chunk| chunk.len())) {
            let what = "the network did not return one score for each token".to_owned();
            return Err(MeasureError::Score { at, what });
        }
        if let Some(bad) = bits.iter().flatten().find(|bits| !bits.is_finite()) {
            return Err(MeasureError::Score {
                at,
                what: format!("a token has a score of {bad} bits"),
            });
        }
        for (bits, (_, before)) in bits.iter_mut().zip(pieces) {
            bits.drain(..before);
        }
        let vocabulary = self.predictor.vocabulary();
        let mut cross_entropy_bits = 0.0;
        for bits in bits.iter_mut().flatten() {
            cross_entropy_bits += f64::from(*bits);
            *bits = quantize::bits_of(f64::from(*bits), vocabulary) as f32;
        }
        Ok(Some(Scores { bits, cross_entropy_bits, coded_bytes: None }))
    }

    /// The bytes of tokens, `first` if nothing is before them.
    fn bytes_of(&self, tokens: &[u32], first: bool) -> Result<Vec<u8>, TokenizerError> {
        if first { self.tokenizer.decode(tokens) } else { self.tokenizer.decode_rest(tokens) }
    }

    /// A chunk's bytes, masked if they are to be, and what that takes from them.
    fn masked(&self, range: &Range<u64>) -> Masked<'_> {
        let bytes = slice(self.corpus, range);
        match self.mask {
            None => Masked { bytes: Cow::Borrowed(bytes), lost: 0, missed: 0 },
            Some(mask) => masked(bytes, mask, self.tokenizer),
        }
    }

    /// Adds one chunk, that is the tokens of each of its pieces, how many of them are context alone, and the bits of the
    /// rest; `first` if its text begins there.
    fn add_chunk<'a>(
        &self,
        pieces: impl Iterator<Item = ((&'a [u32], usize), &'a [f32])>,
        first: bool,
        group: &mut Group,
    ) -> Result<(), TokenizerError> {
        let (mut total, mut raw_bytes, mut each) = (0.0, 0, Vec::new());
        for (index, ((tokens, before), bits)) in pieces.enumerate() {
            let (first, tokens) = (first && index == 0 && before == 0, &tokens[before..]);
            total += bits.iter().map(|&bits| f64::from(bits)).sum::<f64>();
            raw_bytes += self.bytes_of(tokens, first)?.len() as u64;
            group.tokens += tokens.len() as u64;
            for (place, (&token, &bits)) in
                tokens.iter().zip(bits).enumerate().filter(|_| self.curve)
            {
                let bytes = self.bytes_of(&[token], first && place == 0)?;
                each.push((bytes.len() as u64, f64::from(bits)));
            }
        }
        if self.curve {
            group.curve.push(up_to(&self.ends(), each.into_iter()));
        }
        group.chunks.push((total, raw_bytes));
        Ok(())
    }
}

/// A length as one in memory, or the most that there is.
pub(super) fn in_memory(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// Ideal bits of every token of some chunks, the coder's floor included, and what the coder made of
/// them if it ran.
struct Scores {
    bits: Vec<Vec<f32>>,
    /// For all tokens, without the floor; infinite if the coder's numbers do not determine it.
    cross_entropy_bits: f64,
    coded_bytes: Option<u64>,
}

pub(super) fn length_of(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

impl Group {
    pub(super) fn raw_bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.1).sum()
    }

    fn bits(&self) -> f64 {
        self.chunks.iter().map(|chunk| chunk.0).sum()
    }

    fn add_to(self, measured: &mut Measured) {
        measured.raw_bytes += Bytes(self.raw_bytes());
        *measured.ideal_bits.get_or_insert_default() += Bits(self.bits());
        // What one group does not know, the whole does not.
        let bits = measured.cross_entropy_bits.zip(self.cross_entropy);
        measured.cross_entropy_bits = bits.map(|(sum, more)| sum + Bits(more));
        *measured.tokens.get_or_insert_default() += self.tokens;
        if let Some(bytes) = self.coded_bytes {
            *measured.coded_bytes.get_or_insert_default() += Bytes(bytes);
        }
        let chunks = self.chunks.into_iter();
        measured.chunks.extend(chunks.map(|(bits, raw_bytes)| ChunkBits { bits, raw_bytes }));
        measured.cut_chunks += self.cut;
        #[expect(clippy::cast_precision_loss, reason = "lengths stay far below 2^53")]
        for (sum, bits) in
            [(&mut measured.lost_bits, self.lost), (&mut measured.missed_bits, self.missed)]
        {
            if let Some(sum) = sum {
                *sum += Bits(bits as f64);
            }
        }
        if let Some(curve) = &mut measured.curve {
            curve.chunks.extend(self.curve);
        }
        measured.seconds += self.seconds;
    }
}
