//! Stepping a session of the predictor through groups of chunks of known lengths: the part that encoder and decoder
//! share.

use super::error::BlockError;
use crate::predictor::{Predictor, Session};

/// A session of the predictor, stepped through one group of chunks after another.
pub(super) struct Steps<'a> {
    predictor: &'a dyn Predictor,
    /// Most tokens of a chunk.
    tokens: usize,
    session: Option<Box<dyn Session + 'a>>,
    /// Lengths of the group's chunks.
    lengths: Vec<usize>,
    /// Tokens of each chunk predicted so far.
    steps: usize,
    inputs: Vec<u32>,
    /// [lanes, vocabulary] of the last step.
    rows: Vec<f32>,
    vocabulary: usize,
}

impl<'a> Steps<'a> {
    /// For chunks of up to `tokens`.
    pub(super) fn new(predictor: &'a dyn Predictor, tokens: usize) -> Self {
        Self {
            predictor,
            tokens,
            session: None,
            lengths: Vec::new(),
            steps: 0,
            inputs: Vec::new(),
            rows: Vec::new(),
            vocabulary: predictor.vocabulary().max(1),
        }
    }

    /// Starts a group of chunks of these lengths.
    pub(super) fn start(&mut self, lengths: &[usize]) -> Result<(), BlockError> {
        match &mut self.session {
            Some(session) if self.lengths.len() == lengths.len() => session.restart(),
            session => {
                *session = None;
                *session = Some(self.predictor.session(lengths.len(), self.tokens)?);
            }
        }
        self.lengths.clear();
        self.lengths.extend_from_slice(lengths);
        self.steps = 0;
        Ok(())
    }

    /// Predicts the next token of each chunk; false after the last. `token` gives those already
    /// known, by chunk and position; a chunk that has ended is fed zeros, and nobody looks at its
    /// rows.
    pub(super) fn next(&mut self, token: impl Fn(usize, usize) -> u32) -> Result<bool, BlockError> {
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        let more = self.steps < longest;
        let Some(session) = self.session.as_mut().filter(|_| more) else { return Ok(false) };
        self.inputs.clear(); // [lanes]
        for (lane, &length) in self.lengths.iter().enumerate() {
            self.inputs.push(match self.steps.checked_sub(1) {
                None => self.predictor.begin_token(),
                Some(before) if self.steps < length => token(lane, before),
                Some(_) => 0,
            });
        }
        session.step(&self.inputs, 1, &mut self.rows)?;
        let (found, expected) = (self.rows.len(), self.inputs.len() * self.vocabulary);
        if found != expected {
            return Err(BlockError::Shape { found, expected });
        }
        self.steps += 1;
        Ok(true)
    }

    /// Position of the token that the last step predicted.
    pub(super) fn position(&self) -> usize {
        self.steps - 1
    }

    /// The chunks that have a token there, each with its row.
    pub(super) fn present(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let rows = self.rows.chunks_exact(self.vocabulary).enumerate();
        rows.filter(|(lane, _)| self.position() < self.lengths[*lane])
    }
}
