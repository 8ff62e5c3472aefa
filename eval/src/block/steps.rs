//! Stepping a session of the predictor through chunks of known lengths, and sharing the rows it
//! gives among threads: what encoder and decoder have in common. Between [`Predictor`] and the
//! rest of [`block`](super).

use rayon::prelude::*;

use super::BlockError;
use crate::predictor::{Predictor, Session};
use crate::quantize::QuantizeError;

/// Rows of fewer entries than this altogether are not worth sharing out among threads.
pub(super) const PARALLEL_ENTRIES: usize = 1 << 16;

/// A session of the predictor being stepped through chunks of known lengths.
pub(super) struct Steps<'a> {
    session: Option<Box<dyn Session + 'a>>,
    begin_token: u32,
    pub(super) vocabulary: usize,
    lengths: Vec<usize>,
    longest: usize,
    /// Tokens of each chunk predicted so far.
    pub(super) position: usize,
    inputs: Vec<u32>,
    /// [lanes, vocabulary] of the last step.
    pub(super) rows: Vec<f32>,
}

impl<'a> Steps<'a> {
    pub(super) fn start(
        predictor: &'a dyn Predictor,
        lengths: &[usize],
    ) -> Result<Self, BlockError> {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let context = predictor.context();
        if longest > context {
            return Err(BlockError::Context { tokens: longest, context });
        }
        let session = if longest > 0 { Some(predictor.session(lengths.len())?) } else { None };
        Ok(Self {
            session,
            begin_token: predictor.begin_token(),
            vocabulary: predictor.vocabulary().max(1),
            lengths: lengths.to_vec(),
            longest,
            position: 0,
            inputs: Vec::new(),
            rows: Vec::new(),
        })
    }

    /// Predicts the next token of each chunk; false after the last. `token` gives those already
    /// known, by chunk and position; a chunk that has ended is fed zeros, and nobody looks at its
    /// rows.
    pub(super) fn next(&mut self, token: impl Fn(usize, usize) -> u32) -> Result<bool, BlockError> {
        let more = self.position < self.longest;
        let Some(session) = self.session.as_mut().filter(|_| more) else { return Ok(false) };
        self.inputs.clear(); // [lanes]
        for (lane, &length) in self.lengths.iter().enumerate() {
            self.inputs.push(match self.position.checked_sub(1) {
                None => self.begin_token,
                Some(before) if self.position < length => token(lane, before),
                Some(_) => 0,
            });
        }
        session.step(&self.inputs, 1, &mut self.rows)?;
        let (found, expected) = (self.rows.len(), self.inputs.len() * self.vocabulary);
        if found != expected {
            return Err(BlockError::Shape { found, expected });
        }
        self.position += 1;
        Ok(true)
    }

    /// Gives every lane its row of the last step, and the vocabulary; in parallel where that pays.
    pub(super) fn for_each_lane<T: Send>(
        &self,
        lanes: &mut [T],
        work: impl Fn(&mut T, &[f32], usize) -> Result<(), (usize, QuantizeError)> + Sync,
    ) -> Result<(), BlockError> {
        let entries = self.rows.len() / lanes.len().max(1);
        let vocabulary = self.vocabulary;
        let one = |(chunk, (lane, rows)): (usize, (&mut T, &[f32]))| {
            let place = |(position, source)| BlockError::Row { chunk, position, source };
            work(lane, rows, vocabulary).map_err(place)
        };
        if self.rows.len() < PARALLEL_ENTRIES {
            let rows = self.rows.chunks_exact(entries);
            return lanes.iter_mut().zip(rows).enumerate().try_for_each(one);
        }
        let rows = self.rows.par_chunks_exact(entries);
        lanes.par_iter_mut().zip(rows).enumerate().try_for_each(one)
    }
}
