//! LayerNorm (Ba et al., 2016), with scale and offset.

use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level::{self, Level};
use super::super::parallel::{self, Shared};
use super::{check, for_rows};

/// Added to the variance.
const LAYER_EPSILON: f32 = 1e-5;

/// y = (x − mean)/√(variance + 1e-5)·scale + offset; x, y [rows, width], scale, offset \[width\].
pub fn layer_norm(
    rows: usize,
    width: usize,
    x: &[f32],
    scale: &[f32],
    offset: &[f32],
    y: &mut [f32],
) {
    check(rows, width, &[x.len(), y.len()]);
    check(1, width, &[scale.len(), offset.len()]);
    let (level, shared) = (level::current(), Shared::new(y));
    for_rows(rows, width, |row, count| {
        let range = row * width..(row + count) * width;
        // SAFETY: pieces are disjoint ranges of rows.
        let y = unsafe { shared.part(range.start, range.len()) };
        dispatch(level, LayerNorm { x: &x[range], scale, offset, y });
    });
}

/// The gradients of `layer_norm`: dx = residual + …; dscale and doffset sum rows in index order.
#[allow(clippy::too_many_arguments)] // Six tensors in and out are what the operation has.
pub fn layer_norm_backward(
    rows: usize,
    width: usize,
    x: &[f32],
    scale: &[f32],
    dy: &[f32],
    residual: Option<&[f32]>,
    dx: &mut [f32],
    dscale: &mut [f32],
    doffset: &mut [f32],
) {
    check(rows, width, &[x.len(), dy.len(), residual.map_or(dx.len(), <[f32]>::len), dx.len()]);
    check(1, width, &[scale.len(), dscale.len(), doffset.len()]);
    let level = level::current();
    let mut moments = vec![0.0; rows * 2];
    let (shared, shared_moments) = (Shared::new(dx), Shared::new(&mut moments));
    for_rows(rows, width, |row, count| {
        let range = row * width..(row + count) * width;
        // SAFETY: pieces are disjoint ranges of rows.
        let (dx, moments) = unsafe {
            (shared.part(range.start, range.len()), shared_moments.part(row * 2, count * 2))
        };
        let residual = residual.map(|residual| &residual[range.clone()]);
        let (x, dy) = (&x[range.clone()], &dy[range]);
        dispatch(level, LayerBackward { x, scale, dy, residual, dx, moments });
    });
    parameter_gradients(level, x, dy, &moments, dscale, doffset);
}

/// dscale = Σ dy·(x − mean)·inverse and doffset = Σ dy, over rows in index order; columns are cut over threads.
fn parameter_gradients(
    level: Level,
    x: &[f32],
    dy: &[f32],
    moments: &[f32],
    dscale: &mut [f32],
    doffset: &mut [f32],
) {
    let width = dscale.len();
    let (dscale, doffset) = (Shared::new(dscale), Shared::new(doffset));
    parallel::for_pieces(width.div_ceil(LANES), x.len() * 4, |piece| {
        let columns = piece.start * LANES..width.min(piece.end * LANES);
        // SAFETY: pieces are disjoint ranges of columns.
        let (dscale, doffset) = unsafe {
            (dscale.part(columns.start, columns.len()), doffset.part(columns.start, columns.len()))
        };
        let first = columns.start;
        dispatch(level, ParameterSums { width, first, x, dy, moments, dscale, doffset });
    });
}

/// Mean and 1/√(variance + ε) of a row.
#[inline(always)]
fn layer_moments<L: Lanes>(lanes: L, x: &[f32]) -> [f32; 2] {
    let mut total = lanes.zero();
    for part in x.chunks(LANES) {
        total = lanes.add(total, lanes.load_slice(part, 0.0));
    }
    let mean = lanes.sum(total) / x.len() as f32;
    let splat = lanes.splat(mean);
    let mut squares = lanes.zero();
    for part in x.chunks(LANES) {
        // Absent lanes hold the mean, so they add nothing.
        let centred = lanes.sub(lanes.load_slice(part, mean), splat);
        squares = lanes.fma(centred, centred, squares);
    }
    [mean, 1.0 / (lanes.sum(squares) / x.len() as f32 + LAYER_EPSILON).sqrt()]
}

/// LayerNorm of a thread's rows.
struct LayerNorm<'a> {
    x: &'a [f32],
    scale: &'a [f32],
    offset: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let width = self.scale.len();
        for (x, y) in self.x.chunks_exact(width).zip(self.y.chunks_exact_mut(width)) {
            let [mean, inverse] = layer_moments(lanes, x).map(|moment| lanes.splat(moment));
            for (i, y) in y.chunks_mut(LANES).enumerate() {
                let load = |from: &[f32]| lanes.load_slice(&from[i * LANES..], 0.0);
                let unit = lanes.mul(lanes.sub(load(x), mean), inverse);
                lanes.store_slice(y, lanes.fma(unit, load(self.scale), load(self.offset)));
            }
        }
    }
}

/// dx and the moments of a thread's rows.
struct LayerBackward<'a> {
    x: &'a [f32],
    scale: &'a [f32],
    dy: &'a [f32],
    residual: Option<&'a [f32]>,
    dx: &'a mut [f32],
    moments: &'a mut [f32],
}

impl Kernel for LayerBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let width = self.scale.len();
        for (row, dx) in self.dx.chunks_exact_mut(width).enumerate() {
            let range = row * width..(row + 1) * width;
            let (x, dy) = (&self.x[range.clone()], &self.dy[range.clone()]);
            let moments = layer_moments(lanes, x);
            self.moments[row * 2..][..2].copy_from_slice(&moments);
            let [mean, inverse] = moments.map(|moment| lanes.splat(moment));
            // The upstream through the scale, and the unit row.
            let parts = |i: usize| {
                let load = |from: &[f32]| lanes.load_slice(&from[i * LANES..], 0.0);
                let unit = lanes.mul(lanes.sub(load(x), mean), inverse);
                (lanes.mul(load(dy), load(self.scale)), unit)
            };
            let (mut total, mut along) = (lanes.zero(), lanes.zero());
            for i in 0..width.div_ceil(LANES) {
                let (upstream, unit) = parts(i);
                total = lanes.add(total, upstream);
                along = lanes.fma(upstream, unit, along);
            }
            let total = lanes.splat(lanes.sum(total) / width as f32);
            let along = lanes.splat(-(lanes.sum(along) / width as f32));
            let residual = self.residual.map(|residual| &residual[range]);
            for (i, out) in dx.chunks_mut(LANES).enumerate() {
                let (upstream, unit) = parts(i);
                let across = lanes.fma(along, unit, lanes.sub(upstream, total));
                let result = match residual {
                    None => lanes.mul(inverse, across),
                    Some(r) => lanes.fma(inverse, across, lanes.load_slice(&r[i * LANES..], 0.0)),
                };
                lanes.store_slice(out, result);
            }
        }
    }
}

/// The sums over rows for a thread's columns, from `first` on.
struct ParameterSums<'a> {
    width: usize,
    first: usize,
    x: &'a [f32],
    dy: &'a [f32],
    moments: &'a [f32],
    dscale: &'a mut [f32],
    doffset: &'a mut [f32],
}

impl Kernel for ParameterSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let count = self.dscale.len();
        self.dscale.fill(0.0);
        self.doffset.fill(0.0);
        let rows = self.x.chunks_exact(self.width).zip(self.dy.chunks_exact(self.width));
        for ((x, dy), moments) in rows.zip(self.moments.chunks_exact(2)) {
            let (x, dy) = (&x[self.first..][..count], &dy[self.first..][..count]);
            let (mean, inverse) = (lanes.splat(moments[0]), lanes.splat(moments[1]));
            for (i, sum) in self.dscale.chunks_mut(LANES).enumerate() {
                let at = i * LANES;
                let unit = lanes.mul(lanes.sub(lanes.load_slice(&x[at..], 0.0), mean), inverse);
                let dy = lanes.load_slice(&dy[at..], 0.0);
                lanes.store_slice(sum, lanes.fma(dy, unit, lanes.load_slice(sum, 0.0)));
                let offset = &mut self.doffset[at..];
                lanes.store_slice(offset, lanes.add(lanes.load_slice(offset, 0.0), dy));
            }
        }
    }
}
