//! Cached steps: sequences side by side on one thread, with each new token attending to its sequence's KV cache. No
//! memory is allocated between steps.

use super::rows::TileScratch;
use super::stream::{Outputs, Tails};
use super::{Engine, current_level};
use lmtrain_kernels::{KeyValueCache, Level, attention_cached, head_probabilities, norm_rows};

/// Rows that go through the layers together when a step has many tokens.
const STEP_ROWS: usize = 64;

/// Sequences in the middle of being predicted, side by side.
pub struct EngineSession<'a> {
    engine: &'a Engine,
    level: Level,
    sequences: usize,
    /// Tokens that each may have.
    tokens: usize,
    /// Tokens that each has.
    position: usize,
    /// One a layer.
    caches: Vec<KeyValueCache>,
    tails: Tails,
    scratch: Scratch,
}

/// What a step needs between its operations; sized by the largest so far.
#[derive(Default)]
struct Scratch {
    x: Vec<f32>,
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    tile: TileScratch,
    outputs: Outputs,
}

impl Engine {
    /// Starts sequences of up to `tokens`, each from an empty context.
    ///
    /// # Panics
    /// If `tokens` exceeds the context.
    #[must_use]
    pub fn session(&self, sequences: usize, tokens: usize) -> EngineSession<'_> {
        assert!(tokens <= self.context(), "{tokens} tokens in a context of {}", self.context());
        let cache = |layer: &super::Layer| KeyValueCache::new(&layer.heads, sequences, tokens);
        EngineSession {
            engine: self,
            level: current_level(),
            sequences,
            tokens,
            position: 0,
            caches: self.network.layers.iter().map(cache).collect(),
            tails: Tails::default(),
            scratch: Scratch::default(),
        }
    }
}

impl EngineSession<'_> {
    /// Sequences side by side.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.sequences
    }

    /// What it runs.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.engine
    }

    /// Tokens that may still be fed to each sequence.
    #[must_use]
    pub fn room(&self) -> usize {
        self.tokens - self.position
    }

    /// Forgets all tokens: every sequence starts over.
    pub fn restart(&mut self) {
        self.position = 0;
        self.tails.clear();
    }

    /// Feeds `count` tokens to every sequence, `inputs` [sequences, count], on this thread; `rows` becomes [sequences,
    /// count, vocabulary], the probabilities of the tokens that follow each.
    ///
    /// # Panics
    /// If there is no room, or a token is unknown.
    pub fn step(&mut self, inputs: &[u32], count: usize, rows: &mut Vec<f32>) {
        assert_eq!(inputs.len(), self.sequences * count, "inputs of {} sequences", self.sequences);
        assert!(count <= self.room(), "{count} tokens where {} fit", self.room());
        let vocabulary = self.engine.vocabulary();
        rows.resize(inputs.len() * vocabulary, 0.0);
        if inputs.is_empty() {
            return;
        }
        let most = (STEP_ROWS / self.sequences).max(1);
        if count <= most {
            return self.some(inputs, count, rows);
        }
        let (mut part, mut part_rows) = (Vec::new(), Vec::new());
        for first in (0..count).step_by(most) {
            let new = most.min(count - first);
            part.clear();
            for inputs in inputs.chunks_exact(count) {
                part.extend_from_slice(&inputs[first..first + new]);
            }
            part_rows.resize(part.len() * vocabulary, 0.0);
            self.some(&part, new, &mut part_rows);
            let parts = part_rows.chunks_exact(new * vocabulary);
            for (to, from) in rows.chunks_exact_mut(count * vocabulary).zip(parts) {
                to[first * vocabulary..][..from.len()].copy_from_slice(from);
            }
        }
    }

    /// A step of a few rows.
    fn some(&mut self, inputs: &[u32], count: usize, rows: &mut [f32]) {
        let Self { engine, level, position, caches, tails, scratch, sequences, .. } = self;
        let (network, level, places) = (&engine.network, *level, [*position, count]);
        let Scratch { x, qkv, mixed, tile, outputs } = scratch;
        x.resize(inputs.len() * network.width, 0.0);
        network.embed(level, inputs, places, x);
        network.begin(level, *sequences, tails, outputs, x);
        for (index, (layer, cache)) in network.layers.iter().zip(caches).enumerate() {
            qkv.resize(inputs.len() * layer.heads.row(), 0.0);
            mixed.resize(inputs.len() * layer.heads.width(), 0.0);
            network.enter(level, [index, *sequences], tails, outputs, x);
            network.project(level, layer, x, tile, qkv);
            network.convolve_qkv(level, [index, *sequences], tails, qkv);
            network.prepare(level, layer, inputs, places, tile, qkv);
            attention_cached(level, &layer.heads, cache, places, qkv, mixed);
            network.after_attention(level, layer, mixed, tile, x);
            network.keep(index, outputs, x);
        }
        if let Some(norm) = &network.final_norm {
            norm_rows(level, norm, network.width, x);
        }
        head_probabilities(level, engine.head(), x, rows);
        *position += count;
    }
}
