//! Whole chunks: scores and rows of probabilities. Sequences are distributed over the threads; if there are fewer
//! sequences than threads, a sequence is split. The split changes no bit.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use lmtrain_runs::units::BITS_PER_NAT;
use rayon::prelude::*;

use super::rows::TileScratch;
use super::stream::{Outputs, Tails};
use super::{Engine, current_level};
use lmtrain_kernels::{
    Level, attention_whole, head_nats, head_probabilities, norm_rows, on_this_thread,
};

/// Rows of the residual stream that go through the head together, for losses.
const HEAD_ROWS: usize = 256;
/// Probabilities that are made at a time: 2 MiB, or 32 rows.
const PART_ENTRIES: usize = 1 << 19;

/// Receives rows of probabilities: sequence, first token, [count, vocabulary]. It is called from several threads,
/// but for one sequence in order; a break stops them all.
pub type PartSink<'a> = dyn Fn(usize, usize, &[f32]) -> ControlFlow<()> + Sync + 'a;

/// Memory for one sequence, kept from one to the next.
#[derive(Default)]
struct Space {
    /// The residual stream, [time, width].
    x: Vec<f32>,
    /// [time, heads.row()].
    qkv: Vec<f32>,
    /// [time, heads.width()].
    mixed: Vec<f32>,
    tile: TileScratch,
    tails: Tails,
    outputs: Outputs,
    inputs: Vec<u32>,
    logits: Vec<f32>,
}

impl Engine {
    /// Bits, −log2 p, of every token of each sequence, which begins with `begin`, a token that is fed but not coded.
    #[must_use]
    pub fn score(&self, begin: u32, sequences: &[&[u32]]) -> Vec<Vec<f32>> {
        let bits: Vec<Mutex<Vec<f32>>> = sequences.iter().map(|_| Mutex::default()).collect();
        self.for_each(begin, sequences, |index, level, targets, space| {
            let mut nats = vec![0.0; targets.len()];
            let rows = space.x.chunks(HEAD_ROWS * self.network.width);
            let parts = rows.zip(targets.chunks(HEAD_ROWS)).zip(nats.chunks_mut(HEAD_ROWS));
            for ((h, targets), nats) in parts {
                head_nats(level, self.head(), h, targets, &mut space.logits, nats);
            }
            let bits_of = |nats: f32| (f64::from(nats) * BITS_PER_NAT) as f32;
            *lock(&bits[index]) = nats.into_iter().map(bits_of).collect();
        });
        bits.into_iter().map(|bits| std::mem::take(&mut *lock(&bits))).collect()
    }

    /// Probabilities of every token of each sequence, to `sink` in parts.
    pub fn rows(&self, begin: u32, sequences: &[&[u32]], sink: &PartSink<'_>) {
        let vocabulary = self.vocabulary();
        let part = (PART_ENTRIES / vocabulary).clamp(32, HEAD_ROWS);
        let stopped = AtomicBool::new(false);
        self.for_each(begin, sequences, |index, level, targets, space| {
            for (i, h) in space.x.chunks(part * self.network.width).enumerate() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let rows = part.min(targets.len() - i * part);
                space.logits.resize(rows * vocabulary, 0.0);
                head_probabilities(level, self.head(), h, &mut space.logits);
                if sink(index, i * part, &space.logits).is_break() {
                    stopped.store(true, Ordering::Relaxed);
                }
            }
        });
    }

    /// Runs all sequences up to the head, and `work` on each: its index and tokens, and what the head reads in the
    /// space's x. Sequences side by side on the threads, then what does not share out evenly, one by one on all.
    fn for_each(
        &self,
        begin: u32,
        sequences: &[&[u32]],
        work: impl Fn(usize, Level, &[u32], &mut Space) + Sync,
    ) {
        let level = current_level();
        let threads = rayon::current_num_threads();
        let spaces: Mutex<Vec<Space>> = Mutex::default();
        let side_by_side = sequences.len() / threads * threads;
        let one = |index: usize, alone: bool| {
            let tokens = sequences[index];
            if tokens.is_empty() {
                return;
            }
            let mut space = lock(&spaces).pop().unwrap_or_default();
            space.inputs.clear();
            space.inputs.push(begin);
            space.inputs.extend_from_slice(&tokens[..tokens.len() - 1]);
            self.hidden(level, alone, &mut space);
            work(index, level, tokens, &mut space);
            lock(&spaces).push(space);
        };
        let many = (0..side_by_side).into_par_iter().with_max_len(1);
        many.for_each(|index| on_this_thread(|| one(index, true)));
        (side_by_side..sequences.len()).for_each(|index| one(index, threads == 1));
    }

    /// The space's inputs through all layers: what the head reads, in its x.
    fn hidden(&self, level: Level, alone: bool, space: &mut Space) {
        let network = &self.network;
        let (width, time) = (network.width, space.inputs.len());
        let Space { x, qkv, mixed, tile, tails, outputs, inputs, .. } = space;
        x.resize(time * width, 0.0);
        network.embed(level, inputs, [0, time], x);
        tails.clear();
        network.begin(level, 1, tails, outputs, x);
        for (index, layer) in network.layers.iter().enumerate() {
            network.enter(level, [index, 1], tails, outputs, x);
            let (row, out) = (layer.heads.row(), layer.heads.width());
            qkv.resize(time * row, 0.0);
            mixed.resize(time * out, 0.0);
            let apart = layer.between.convolution.is_some();
            let prepare = |scratch: &mut TileScratch, (i, qkv): (usize, &mut [f32])| {
                let first = i * self.tile;
                let tokens = &inputs[first..time.min(first + self.tile)];
                network.prepare(level, layer, tokens, [first, time], scratch, qkv);
            };
            let before = |scratch: &mut TileScratch,
                          (i, (x, qkv)): (usize, (&[f32], &mut [f32]))| {
                network.project(level, layer, x, scratch, qkv);
                if !apart {
                    prepare(scratch, (i, qkv));
                }
            };
            let after = |scratch: &mut TileScratch, (mixed, x): (&[f32], &mut [f32])| {
                network.after_attention(level, layer, mixed, scratch, x);
            };
            let sizes = [width, row, out].map(|size| size * self.tile);
            if alone {
                let parts = x.chunks(sizes[0]).zip(qkv.chunks_mut(sizes[1])).enumerate();
                parts.for_each(|part| before(tile, part));
                if apart {
                    network.convolve_qkv(level, [index, 1], tails, qkv);
                    qkv.chunks_mut(sizes[1]).enumerate().for_each(|part| prepare(tile, part));
                }
                attention_whole(level, &layer.heads, qkv, mixed);
                let parts = mixed.chunks(sizes[2]).zip(x.chunks_mut(sizes[0]));
                parts.for_each(|part| after(tile, part));
            } else {
                let parts = x.par_chunks(sizes[0]).zip(qkv.par_chunks_mut(sizes[1])).enumerate();
                parts.for_each_init(TileScratch::default, before);
                if apart {
                    network.convolve_qkv(level, [index, 1], tails, qkv);
                    let parts = qkv.par_chunks_mut(sizes[1]).enumerate();
                    parts.for_each_init(TileScratch::default, prepare);
                }
                attention_whole(level, &layer.heads, qkv, mixed);
                let parts = mixed.par_chunks(sizes[2]).zip(x.par_chunks_mut(sizes[0]));
                parts.for_each_init(TileScratch::default, after);
            }
            network.keep(index, outputs, x);
        }
        if let Some(norm) = &network.final_norm {
            norm_rows(level, norm, width, x);
        }
    }
}

/// A lock whose holder may have panicked: what it guards is overwritten whole, or dropped.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
