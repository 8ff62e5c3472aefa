//! Embedding: gathering rows of a table, and the scatter-add that is its gradient, in index order of the rows.

use super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::level;
use super::parallel::{self, Shared};

/// y [tokens, width] = table [vocabulary, width] at each token, times `scale`.
pub fn embedding(width: usize, table: &[f32], tokens: &[u32], scale: f32, y: &mut [f32]) {
    assert_eq!(y.len(), tokens.len() * width, "y [{}, {width}]", tokens.len());
    let (level, shared) = (level::current(), Shared::new(y));
    parallel::for_pieces(tokens.len(), y.len(), |piece| {
        // SAFETY: pieces are disjoint ranges of rows.
        let y = unsafe { shared.part(piece.start * width, piece.len() * width) };
        dispatch(level, Gather { width, table, tokens: &tokens[piece], scale, y });
    });
}

/// Gathers the rows of a thread's tokens.
struct Gather<'a> {
    width: usize,
    table: &'a [f32],
    tokens: &'a [u32],
    scale: f32,
    y: &'a mut [f32],
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let scale = lanes.splat(self.scale);
        for (token, y) in self.tokens.iter().zip(self.y.chunks_exact_mut(self.width)) {
            let row = &self.table[*token as usize * self.width..][..self.width];
            for (y, x) in y.chunks_mut(LANES).zip(row.chunks(LANES)) {
                lanes.store_slice(y, lanes.mul(scale, lanes.load_slice(x, 0.0)));
            }
        }
    }
}

/// dtable [vocabulary, width] = Σ over tokens of dy [tokens, width]·scale, in index order.
pub fn embedding_backward(
    width: usize,
    tokens: &[u32],
    dy: &[f32],
    scale: f32,
    dtable: &mut [f32],
) {
    assert_eq!(dy.len(), tokens.len() * width, "dy [{}, {width}]", tokens.len());
    assert!(dtable.len().is_multiple_of(width), "dtable [vocabulary, {width}]");
    let vocabulary = dtable.len() / width;
    assert!(tokens.iter().all(|token| (*token as usize) < vocabulary), "a token ≥ {vocabulary}");
    dtable.fill(0.0);
    let (level, dtable) = (level::current(), Shared::new(dtable));
    parallel::for_pieces(width.div_ceil(LANES), dy.len(), |piece| {
        let (first, last) = (piece.start * LANES, width.min(piece.end * LANES));
        dispatch(level, Scatter { width, columns: first..last, tokens, dy, scale, dtable });
    });
}

/// Adds the rows of dy to the table's, in a thread's columns.
struct Scatter<'a> {
    width: usize,
    columns: std::ops::Range<usize>,
    tokens: &'a [u32],
    dy: &'a [f32],
    scale: f32,
    dtable: Shared,
}

impl Kernel for Scatter<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let scale = lanes.splat(self.scale);
        for (token, dy) in self.tokens.iter().zip(self.dy.chunks_exact(self.width)) {
            let start = *token as usize * self.width + self.columns.start;
            // SAFETY: the tokens are asserted to be inside the table; a thread keeps to its columns.
            let sums = unsafe { self.dtable.part(start, self.columns.len()) };
            for (sum, dy) in sums.chunks_mut(LANES).zip(dy[self.columns.clone()].chunks(LANES)) {
                let old = lanes.load_slice(sum, 0.0);
                lanes.store_slice(sum, lanes.fma(scale, lanes.load_slice(dy, 0.0), old));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Numbers, assert_close, assert_same_bits, wide};
    use super::*;

    #[test]
    fn gathers_and_scatters() {
        let mut numbers = Numbers::new(1);
        let (vocabulary, width, scale) = (11, 37, 1.5);
        let table = numbers.uniform(vocabulary * width);
        let tokens = numbers.tokens(200, vocabulary);
        let dy = numbers.uniform(tokens.len() * width);
        let mut y = vec![0.0; dy.len()];
        embedding(width, &table, &tokens, scale, &mut y);
        for (row, token) in y.chunks(width).zip(&tokens) {
            let expected = table[*token as usize * width..][..width].iter().map(|x| x * scale);
            assert!(row.iter().copied().eq(expected));
        }
        let mut dtable = vec![f32::NAN; table.len()];
        embedding_backward(width, &tokens, &dy, scale, &mut dtable);
        let mut expected = vec![0.0; table.len()];
        for (row, token) in wide(&dy).chunks(width).zip(&tokens) {
            for (sum, dy) in expected[*token as usize * width..].iter_mut().zip(row) {
                *sum += dy * 1.5;
            }
        }
        assert_close("dtable", &dtable, &expected, 1e-6);
    }

    #[test]
    fn levels_and_threads_agree() {
        let mut numbers = Numbers::new(2);
        for (count, vocabulary, width) in [(1, 1, 1), (10, 3, 17), (5000, 50, 64)] {
            let table = numbers.uniform(vocabulary * width);
            let tokens = numbers.tokens(count, vocabulary);
            let dy = numbers.uniform(count * width);
            assert_same_bits("embedding", || {
                let (mut y, mut dtable) = (vec![0.0; dy.len()], vec![0.0; table.len()]);
                embedding(width, &table, &tokens, 8.0, &mut y);
                embedding_backward(width, &tokens, &dy, 8.0, &mut dtable);
                [y, dtable].concat()
            });
        }
    }
}
