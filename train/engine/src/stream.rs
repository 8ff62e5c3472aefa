//! Operations between a network's blocks: mixing with the embedding and with earlier blocks, causal convolutions, and
//! value embeddings. Whole chunks and cached steps both use them; the earlier tokens that sequences must remember are
//! in [`Tails`].

use lmtrain_kernels::{Level, TAPS, convolve_rows, mix_rows};

use super::transformer::{Entry, Layer, Transformer};

/// The last three inputs of each convolution, of sequences side by side: [sequences, 3, width] each.
#[derive(Default)]
pub(super) struct Tails {
    embedding: Vec<f32>,
    /// Of the stream, and of queries, keys and values.
    layers: Vec<[Vec<f32>; 2]>,
}

/// What later layers read again: the embeddings, and what came out of some layers; empty where nothing does.
#[derive(Default)]
pub(super) struct Outputs {
    first: Vec<f32>,
    kept: Vec<Vec<f32>>,
}

impl Tails {
    /// Every sequence starts over.
    pub(super) fn clear(&mut self) {
        self.embedding.clear();
        self.layers.clear();
    }
}

impl Transformer {
    /// Whether a later layer reads what comes out of this one.
    fn is_skipped_from(&self, layer: usize) -> bool {
        let from = |later: &Layer| later.entry.skip.is_some_and(|(from, _)| from == layer);
        self.layers.iter().any(from)
    }

    /// Convolves embeddings x [sequences, count, width], and keeps them where layers read them again.
    pub(super) fn begin(
        &self,
        level: Level,
        sequences: usize,
        tails: &mut Tails,
        outputs: &mut Outputs,
        x: &mut [f32],
    ) {
        convolve(level, &self.embedding_convolution, sequences, &mut tails.embedding, x);
        tails.layers.resize_with(self.layers.len(), Default::default);
        outputs.kept.resize_with(self.layers.len(), Vec::new);
        if self.layers.iter().any(|layer| layer.entry.residual.is_some()) {
            outputs.first.clear();
            outputs.first.extend_from_slice(x);
        }
    }

    /// What a layer reads, of the stream x [sequences, count, width], in place.
    pub(super) fn enter(
        &self,
        level: Level,
        [index, sequences]: [usize; 2],
        tails: &mut Tails,
        outputs: &Outputs,
        x: &mut [f32],
    ) {
        let Entry { residual, skip, convolution } = &self.layers[index].entry;
        if let Some(weights) = residual {
            mix_rows(level, *weights, &outputs.first, x);
        }
        if let Some((from, weights)) = skip {
            mix_rows(level, *weights, &outputs.kept[*from], x);
        }
        convolve(level, convolution, sequences, &mut tails.layers[index][0], x);
    }

    /// Convolves a layer's queries, keys and values [sequences, count, heads.row()].
    pub(super) fn convolve_qkv(
        &self,
        level: Level,
        [index, sequences]: [usize; 2],
        tails: &mut Tails,
        qkv: &mut [f32],
    ) {
        let weights = &self.layers[index].between.convolution;
        convolve(level, weights, sequences, &mut tails.layers[index][1], qkv);
    }

    /// Keeps what came out of a layer, if a later one reads it.
    pub(super) fn keep(&self, index: usize, outputs: &mut Outputs, x: &[f32]) {
        if self.is_skipped_from(index) {
            outputs.kept[index].clear();
            outputs.kept[index].extend_from_slice(x);
        }
    }
}

impl Layer {
    /// Adds the tokens' embeddings to their values: qkv [rows, heads.row()].
    pub(super) fn add_values(&self, tokens: &[u32], scratch: &mut Vec<f32>, qkv: &mut [f32]) {
        let Some(table) = &self.between.values else { return };
        let (row, width) = (self.heads.row(), table.inputs());
        scratch.resize(width, 0.0);
        for (token, row) in tokens.iter().zip(qkv.chunks_exact_mut(row)) {
            table.column(*token as usize, scratch);
            let values = &mut row[self.heads.row() - width..];
            values.iter_mut().zip(&*scratch).for_each(|(number, more)| *number += more);
        }
    }
}

/// Convolves rows [sequences, count, width] in place, if there are weights [4, width].
fn convolve(
    level: Level,
    weights: &Option<Vec<f32>>,
    sequences: usize,
    tails: &mut Vec<f32>,
    rows: &mut [f32],
) {
    let Some(weights) = weights else { return };
    let tail = (TAPS - 1) * weights.len() / TAPS;
    tails.resize(sequences * tail, 0.0);
    let each = rows.len() / sequences;
    for (tail, rows) in tails.chunks_exact_mut(tail).zip(rows.chunks_exact_mut(each)) {
        convolve_rows(level, weights, tail, rows);
    }
}
