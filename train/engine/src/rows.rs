//! Operations on rows of the residual stream, whichever sequences they belong to: embeddings, and a layer before and
//! after its attention. Whole chunks and cached steps both use them.

use super::transformer::{Layer, Order, Transformer};
use lmtrain_kernels::{
    After, Level, PackedWeights, RowNorm, mix_rows, norm_rows, prepare_rows, product,
};

/// Memory for a tile of rows between the operations of a layer, kept from call to call.
#[derive(Default)]
pub(super) struct TileScratch {
    /// [rows, width].
    normed: Vec<f32>,
    /// [rows, inner].
    inner: Vec<f32>,
    /// A token's values.
    values: Vec<f32>,
    /// What the stream takes up, where it does not go straight there: [rows, width].
    added: Vec<f32>,
}

impl Transformer {
    /// x [rows, width] of tokens; row i is at position `first + i % period`.
    pub(super) fn embed(
        &self,
        level: Level,
        tokens: &[u32],
        [first, period]: [usize; 2],
        x: &mut [f32],
    ) {
        let table = self.embedding();
        for (i, (token, row)) in tokens.iter().zip(x.chunks_exact_mut(self.width)).enumerate() {
            table.column(*token as usize, row);
            if self.embedding_scale != 1.0 {
                row.iter_mut().for_each(|number| *number *= self.embedding_scale);
            }
            if let Some(positions) = &self.positions {
                let position = first + i % period;
                let learned = &positions[position * self.width..][..self.width];
                row.iter_mut().zip(learned).for_each(|(number, learned)| *number += learned);
            }
        }
        if let Some(norm) = &self.embedding_norm {
            norm_rows(level, norm, self.width, x);
        }
    }

    /// x [rows, width] → queries, keys and values [rows, heads.row()].
    pub(super) fn project(
        &self,
        level: Level,
        layer: &Layer,
        x: &[f32],
        scratch: &mut TileScratch,
        qkv: &mut [f32],
    ) {
        let rows = x.len() / self.width;
        let x = match self.order {
            Order::PostNorm => x,
            Order::PreNorm | Order::Parallel => {
                copy(x, &mut scratch.normed);
                if let Some(norm) = &layer.attention_norm {
                    norm_rows(level, norm, self.width, &mut scratch.normed);
                }
                &scratch.normed
            }
        };
        product(level, rows, x, &layer.qkv, After::Plain, qkv);
    }

    /// Queries, keys and values of tokens, [rows, heads.row()], as they meet.
    pub(super) fn prepare(
        &self,
        level: Level,
        layer: &Layer,
        tokens: &[u32],
        places: [usize; 2],
        scratch: &mut TileScratch,
        qkv: &mut [f32],
    ) {
        layer.add_values(tokens, &mut scratch.values, qkv);
        prepare_rows(level, &layer.heads, self.rotary_of(layer), places, qkv);
    }

    /// x [rows, width] goes on past the attention's output `mixed` [rows, heads.width()] and the MLP.
    pub(super) fn after_attention(
        &self,
        level: Level,
        layer: &Layer,
        mixed: &[f32],
        scratch: &mut TileScratch,
        x: &mut [f32],
    ) {
        let rows = x.len() / self.width;
        let TileScratch { normed, inner, added, .. } = scratch;
        let mut mix = |x: &mut [f32]| {
            self.take_up(level, mixed, &layer.mixing, &layer.attention_after, added, x);
        };
        let norm = |norm: &Option<_>, x: &mut [f32]| {
            if let Some(norm) = norm {
                norm_rows(level, norm, self.width, x);
            }
        };
        match self.order {
            Order::PreNorm => {
                mix(x);
                copy(x, normed);
                norm(&layer.mlp_norm, normed);
                layer.mlp(level, rows, normed, inner);
            }
            Order::Parallel => {
                copy(x, normed);
                norm(&layer.mlp_norm, normed);
                mix(x);
                layer.mlp(level, rows, normed, inner);
            }
            Order::PostNorm => {
                mix(x);
                norm(&layer.attention_norm, x);
                layer.mlp(level, rows, x, inner);
            }
        }
        self.take_up(level, inner, &layer.down, &layer.mlp_after, added, x);
        if self.order == Order::PostNorm {
            norm(&layer.mlp_norm, x);
        }
    }
}

impl Transformer {
    /// x [rows, width] takes up what these weights make of `from`, normed and scaled where that is so.
    fn take_up(
        &self,
        level: Level,
        from: &[f32],
        weights: &PackedWeights,
        after: &Option<RowNorm>,
        added: &mut Vec<f32>,
        x: &mut [f32],
    ) {
        let rows = x.len() / self.width;
        if after.is_none() && self.residual_scale == 1.0 {
            return product(level, rows, from, weights, After::Add, x);
        }
        added.resize(x.len(), 0.0);
        product(level, rows, from, weights, After::Plain, added);
        if let Some(norm) = after {
            norm_rows(level, norm, self.width, added);
        }
        mix_rows(level, [1.0, self.residual_scale], added, x);
    }
}

impl Layer {
    /// x [rows, width] → what `down` reads: [rows, inner].
    fn mlp(&self, level: Level, rows: usize, x: &[f32], inner: &mut Vec<f32>) {
        inner.resize(rows * self.up.stride(), 0.0);
        match &self.gate {
            None => product(level, rows, x, &self.up, After::Gate(self.activation), inner),
            Some(gate) => {
                product(level, rows, x, gate, After::Plain, inner);
                product(level, rows, x, &self.up, After::Multiply(self.activation), inner);
            }
        }
    }
}

fn copy(from: &[f32], to: &mut Vec<f32>) {
    to.clear();
    to.extend_from_slice(from);
}
