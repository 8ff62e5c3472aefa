//! Sampling from a network: random bits are decoded, side by side for all samples, using a [`Predictor`], a tokenizer
//! and the range decoder.
//!
//! Tokens that stand for no byte are never sampled, since no encoder of bytes uses them. If given bytes follow a
//! sampled stretch, tokens that would reach into them are not sampled either. At the end, a token that is too long is
//! cut.

use std::collections::VecDeque;

use lmtrain_tokenizers::Tokenizer;

use super::random_bits::{DrawError, Draws, pages};
use super::{Drawing, GenerateError, Pulse, Sampled, Stretch, lengths};
use crate::block::BlockError;
use crate::predictor::{Predictor, Session};

/// Tokens that are given to an exact network at once.
const GIVEN_AT_ONCE: usize = 64;
/// Draws that may be rejected for each that is used.
const DRAWS_OF_A_BYTE: usize = 8;

/// Draws samples from a network.
///
/// # Errors
/// If more tokens may come than the context holds, what is given has no tokens, or the network fails.
pub fn by_predictor(
    predictor: &dyn Predictor,
    tokenizer: &dyn Tokenizer,
    stretches: &[Stretch],
    drawing: Drawing,
    pulse: &mut Pulse,
) -> Result<Vec<Sampled>, GenerateError> {
    let given = stretches.iter().map(|stretch| match stretch {
        Stretch::Given(bytes) => Ok(tokenizer.encode(bytes)?.len()),
        Stretch::Free(count) => Ok(*count),
    });
    let tokens = given.sum::<Result<usize, GenerateError>>()?;
    let context = predictor.context();
    if tokens > context {
        return Err(BlockError::Context { tokens, context }.into());
    }
    let spelling = Spelling::of(tokenizer);
    let free = lengths(stretches).1;
    let bits: Vec<_> = (0..drawing.samples as u64)
        .map(|it| pages(drawing.seed, it, DRAWS_OF_A_BYTE * free + 64))
        .collect();
    let lane = |pages| Lane::new(stretches, (tokenizer, &spelling), pages, drawing.temperature);
    let mut lanes: Vec<Lane> = bits.iter().map(|pages| lane(pages)).collect();
    let mut steps = LaneSteps {
        predictor,
        session: predictor.session(lanes.len().max(1), tokens).map_err(BlockError::from)?,
        rows: Vec::new(),
    };
    let mut inputs = vec![predictor.begin_token(); lanes.len()];
    steps.feed(&inputs, 1)?;
    // What all lanes are given first is fed at once, but for the last, whose rows are looked at.
    let mut first = Vec::new();
    for lane in &mut lanes {
        lane.give()?;
        first = lane.known();
    }
    if predictor.is_exact() {
        let fed = first.len().saturating_sub(1);
        for tokens in first[..fed].chunks(GIVEN_AT_ONCE) {
            let inputs: Vec<u32> = lanes.iter().flat_map(|_| tokens).copied().collect(); // [lanes, count]
            steps.feed(&inputs, tokens.len())?;
        }
        lanes.iter_mut().for_each(|lane| lane.skip(fed));
    }
    loop {
        let mut ended = true;
        for (index, lane) in lanes.iter_mut().enumerate() {
            let token = lane.next(steps.row(index))?;
            ended &= token.is_none();
            inputs[index] = token.unwrap_or(0);
        }
        if pulse(lanes.iter().map(|lane| lane.drawn).sum()).is_break() {
            return Err(GenerateError::Stopped);
        }
        if ended || lanes.iter().all(Lane::is_done) {
            break;
        }
        steps.feed(&inputs, 1)?;
    }
    Ok(lanes.into_iter().map(|lane| lane.sampled).collect())
}

/// A session with the rows of its last step.
struct LaneSteps<'a> {
    predictor: &'a dyn Predictor,
    session: Box<dyn Session + 'a>,
    rows: Vec<f32>,
}

impl LaneSteps<'_> {
    /// Feeds [lanes, count] tokens; keeps the rows after the last of each lane.
    fn feed(&mut self, inputs: &[u32], count: usize) -> Result<(), GenerateError> {
        self.session.step(inputs, count, &mut self.rows).map_err(BlockError::from)?;
        let vocabulary = self.predictor.vocabulary();
        let (found, expected) = (self.rows.len(), inputs.len() * vocabulary);
        if found != expected {
            return Err(BlockError::Shape { found, expected }.into());
        }
        if count > 1 {
            let last = self.rows.chunks_exact(vocabulary).skip(count - 1).step_by(count);
            self.rows = last.flatten().copied().collect(); // [lanes, vocabulary]
        }
        Ok(())
    }

    fn row(&self, lane: usize) -> &[f32] {
        let vocabulary = self.predictor.vocabulary();
        &self.rows[lane * vocabulary..(lane + 1) * vocabulary]
    }
}

/// How many bytes each token spells.
struct Spelling {
    bytes: Vec<usize>,
    is_bytes: bool,
}

impl Spelling {
    fn of(tokenizer: &dyn Tokenizer) -> Self {
        let count = tokenizer.vocabulary();
        let spelled = |token| tokenizer.decode_rest(&[token]).map_or(0, |bytes| bytes.len());
        let bytes: Vec<usize> = (0..).take(count).map(spelled).collect();
        let is_bytes = tokenizer.tokenization() == lmtrain_runs::Tokenization::Bytes;
        Self { bytes, is_bytes }
    }

    /// Whether a token may be drawn where there is room for so many bytes.
    fn fits(&self, token: usize, room: Option<usize>) -> bool {
        let bytes = self.bytes.get(token).copied().unwrap_or(0);
        bytes > 0 && room.is_none_or(|room| bytes <= room)
    }
}

/// A sample in the middle of being drawn.
struct Lane<'a> {
    tokenizer: &'a dyn Tokenizer,
    spelling: &'a Spelling,
    rest: VecDeque<&'a Stretch>,
    /// Known tokens that the network was not given yet.
    waiting: VecDeque<u32>,
    /// Bytes still to draw of the current stretch.
    room: usize,
    draws: Draws<'a>,
    temperature: f64,
    /// Bytes drawn.
    drawn: u64,
    sampled: Sampled,
}

impl<'a> Lane<'a> {
    fn new(
        stretches: &'a [Stretch],
        (tokenizer, spelling): (&'a dyn Tokenizer, &'a Spelling),
        pages: &'a [Vec<u8>],
        temperature: f64,
    ) -> Self {
        Self {
            tokenizer,
            spelling,
            rest: stretches.iter().collect(),
            waiting: VecDeque::new(),
            room: 0,
            draws: Draws::new(pages),
            temperature,
            drawn: 0,
            sampled: Sampled::default(),
        }
    }

    /// Takes up the next stretches, if the current one is done.
    fn give(&mut self) -> Result<(), GenerateError> {
        while self.room == 0 && self.waiting.is_empty() {
            match self.rest.pop_front() {
                None => break,
                Some(Stretch::Free(count)) => self.room = *count,
                Some(Stretch::Given(bytes)) => {
                    self.waiting.extend(self.tokenizer.encode(bytes)?);
                    self.sampled.bytes.extend(bytes);
                }
            }
        }
        Ok(())
    }

    /// The known tokens that come next.
    fn known(&self) -> Vec<u32> {
        self.waiting.iter().copied().collect()
    }

    /// The network was given so many of them.
    fn skip(&mut self, count: usize) {
        self.waiting.drain(..count);
    }

    fn is_done(&self) -> bool {
        self.room == 0
            && self.waiting.is_empty()
            && self.rest.iter().all(|stretch| match stretch {
                Stretch::Given(bytes) => bytes.is_empty(),
                Stretch::Free(count) => *count == 0,
            })
    }

    /// The next token: a known one, or one drawn from the row of probabilities; none at the end.
    fn next(&mut self, row: &[f32]) -> Result<Option<u32>, GenerateError> {
        self.give()?;
        if let Some(token) = self.waiting.pop_front() {
            return Ok(Some(token));
        }
        if self.room == 0 {
            return Ok(None);
        }
        let token = self.draw(row)?;
        let mut bytes = self.tokenizer.decode_rest(&[token])?;
        bytes.truncate(self.room);
        self.room -= bytes.len();
        self.drawn += bytes.len() as u64;
        self.sampled.bytes.extend(bytes);
        Ok(Some(token))
    }

    fn draw(&mut self, row: &[f32]) -> Result<u32, GenerateError> {
        let is_last = self.rest.is_empty();
        let room = (!is_last).then_some(self.room);
        let at = self.sampled.bytes.len();
        let row = self.usable(row, room).ok_or_else(|| {
            let why = "every token that fits here has probability 0".to_owned();
            GenerateError::Nothing { at, why }
        })?;
        if self.drawn == 0 && self.spelling.is_bytes {
            let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
            self.sampled.first_byte = Some(row.iter().map(|&p| f64::from(p) / sum).collect());
        }
        let failed = |error| match error {
            DrawError::Row(source) => BlockError::Row { chunk: 0, position: at, source }.into(),
            DrawError::Bits(error) => GenerateError::Nothing { at, why: error.to_string() },
        };
        self.draws.fill(&row).map_err(failed)?;
        loop {
            let (token, interval) = self.draws.draw(&row).map_err(failed)?;
            // Every symbol has a frequency of at least 1, those that do not fit too.
            if self.spelling.fits(token as usize, room) {
                self.sampled.bits += interval.bits();
                return Ok(token);
            }
        }
    }

    /// The row at the temperature, without what does not fit; none if nothing is left. At temperature 1 it is the
    /// coder's, if all fits.
    fn usable<'r>(
        &self,
        row: &'r [f32],
        room: Option<usize>,
    ) -> Option<std::borrow::Cow<'r, [f32]>> {
        let all_fit =
            (0..row.len()).all(|token| self.spelling.fits(token, room) || row[token] == 0.0);
        if all_fit && (self.temperature - 1.0).abs() < f64::EPSILON {
            return Some(row.into());
        }
        let fits = |token: usize| self.spelling.fits(token, room);
        let most = (0..row.len()).filter(|&it| fits(it)).map(|it| row[it]).fold(0.0, f32::max);
        if most <= 0.0 {
            return None;
        }
        let weight = |(token, &p): (usize, &f32)| match fits(token) {
            true => (f64::from(p) / f64::from(most)).powf(1.0 / self.temperature),
            false => 0.0,
        };
        let weights: Vec<f64> = row.iter().enumerate().map(weight).collect();
        let sum: f64 = weights.iter().sum();
        #[expect(clippy::cast_possible_truncation, reason = "rows are f32")]
        Some(weights.iter().map(|weight| (weight / sum) as f32).collect())
    }
}
