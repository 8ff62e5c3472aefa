//! RMSNorm without scale and LayerNorm, forward and backward, a row at a time.
//!
//! Sums over a row use 16 lanes and the fixed tree; gradients of scale and offset sum rows in index order.

use super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::level::{self, Level};
use super::parallel::{self, Shared};

/// Added to the mean square of RMSNorm.
pub(super) const RMS_EPSILON: f32 = 1e-6;
/// Added to the variance of LayerNorm.
const LAYER_EPSILON: f32 = 1e-5;

/// y [rows, width] = x / √(mean square of the row + 1e-6).
pub fn rms_norm(rows: usize, width: usize, x: &[f32], y: &mut [f32]) {
    check(rows, width, &[x.len(), y.len()]);
    let (level, shared) = (level::current(), Shared::new(y));
    for_rows(rows, width, |row, count| {
        let range = row * width..(row + count) * width;
        // SAFETY: pieces are disjoint ranges of rows.
        let y = unsafe { shared.part(range.start, range.len()) };
        dispatch(level, RmsNorm { width, x: &x[range], delta: None, y });
    });
}

/// sum = x + delta and y = `rms_norm`(sum), in one pass; all [rows, width].
pub fn add_rms_norm(
    rows: usize,
    width: usize,
    x: &[f32],
    delta: &[f32],
    sum: &mut [f32],
    y: &mut [f32],
) {
    check(rows, width, &[x.len(), delta.len(), sum.len(), y.len()]);
    let (level, y, sum) = (level::current(), Shared::new(y), Shared::new(sum));
    for_rows(rows, width, |row, count| {
        let range = row * width..(row + count) * width;
        // SAFETY: pieces are disjoint ranges of rows.
        let (y, sum) =
            unsafe { (y.part(range.start, range.len()), sum.part(range.start, range.len())) };
        let delta = Some((&delta[range.clone()], sum));
        dispatch(level, RmsNorm { width, x: &x[range], delta, y });
    });
}

/// dx = residual + the gradient of `rms_norm` at x for upstream dy; all [rows, width].
pub fn rms_norm_backward(
    rows: usize,
    width: usize,
    x: &[f32],
    dy: &[f32],
    residual: Option<&[f32]>,
    dx: &mut [f32],
) {
    check(rows, width, &[x.len(), dy.len(), residual.map_or(dx.len(), <[f32]>::len), dx.len()]);
    let (level, shared) = (level::current(), Shared::new(dx));
    for_rows(rows, width, |row, count| {
        let range = row * width..(row + count) * width;
        // SAFETY: pieces are disjoint ranges of rows.
        let dx = unsafe { shared.part(range.start, range.len()) };
        let residual = residual.map(|residual| &residual[range.clone()]);
        dispatch(level, RmsBackward { width, x: &x[range.clone()], dy: &dy[range], residual, dx });
    });
}

/// Asserts that every length is rows·width.
fn check(rows: usize, width: usize, lengths: &[usize]) {
    assert!(lengths.iter().all(|length| *length == rows * width), "[{rows}, {width}]: {lengths:?}");
}

/// Cuts rows over threads: `task` gets the first row and how many.
fn for_rows(rows: usize, width: usize, task: impl Fn(usize, usize) + Sync + Send) {
    parallel::for_pieces(rows, rows * width * 4, |piece| task(piece.start, piece.len()));
}

/// Σ a·b over a row: 16 lanes, then the tree.
#[inline(always)]
fn dot<L: Lanes>(lanes: L, a: &[f32], b: &[f32]) -> f32 {
    let mut total = lanes.zero();
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        total = lanes.fma(lanes.load_slice(a, 0.0), lanes.load_slice(b, 0.0), total);
    }
    lanes.sum(total)
}

/// 1 / √(mean square + ε) of a row.
#[inline(always)]
fn rms_inverse<L: Lanes>(lanes: L, x: &[f32]) -> f32 {
    1.0 / (dot(lanes, x, x) / x.len() as f32 + RMS_EPSILON).sqrt()
}

/// RMSNorm of a thread's rows; with `delta`, of x + delta, which it also keeps.
struct RmsNorm<'a> {
    width: usize,
    x: &'a [f32],
    delta: Option<(&'a [f32], &'a mut [f32])>,
    y: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let mut x = self.x;
        if let Some((delta, sum)) = self.delta {
            for ((s, x), d) in sum.chunks_mut(LANES).zip(x.chunks(LANES)).zip(delta.chunks(LANES)) {
                let total = lanes.add(lanes.load_slice(x, 0.0), lanes.load_slice(d, 0.0));
                lanes.store_slice(s, total);
            }
            x = sum;
        }
        for (x, y) in x.chunks_exact(self.width).zip(self.y.chunks_exact_mut(self.width)) {
            let inverse = lanes.splat(rms_inverse(lanes, x));
            for (x, y) in x.chunks(LANES).zip(y.chunks_mut(LANES)) {
                lanes.store_slice(y, lanes.mul(lanes.load_slice(x, 0.0), inverse));
            }
        }
    }
}

/// The gradient of a thread's rows.
struct RmsBackward<'a> {
    width: usize,
    x: &'a [f32],
    dy: &'a [f32],
    residual: Option<&'a [f32]>,
    dx: &'a mut [f32],
}

impl Kernel for RmsBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let width = self.width;
        for (row, dx) in self.dx.chunks_exact_mut(width).enumerate() {
            let range = row * width..(row + 1) * width;
            let (x, dy) = (&self.x[range.clone()], &self.dy[range.clone()]);
            let inverse = rms_inverse(lanes, x);
            // dx = inverse·(dy − x·inverse²·mean(x·dy)).
            let along = -(dot(lanes, x, dy) * inverse * inverse / width as f32);
            let (inverse, along) = (lanes.splat(inverse), lanes.splat(along));
            let residual = self.residual.map(|residual| &residual[range]);
            for (i, out) in dx.chunks_mut(LANES).enumerate() {
                let x = lanes.load_slice(&x[i * LANES..], 0.0);
                let across = lanes.fma(along, x, lanes.load_slice(&dy[i * LANES..], 0.0));
                let result = match residual {
                    None => lanes.mul(inverse, across),
                    Some(r) => lanes.fma(inverse, across, lanes.load_slice(&r[i * LANES..], 0.0)),
                };
                lanes.store_slice(out, result);
            }
        }
    }
}

/// y = (x − mean)/√(variance + 1e-5)·scale + offset; x, y [rows, width], scale, offset [width].
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

#[cfg(test)]
mod tests {
    use super::super::testing::{Numbers, assert_close, assert_same_bits, differences, wide};
    use super::*;

    const SHAPES: [[usize; 2]; 6] = [[1, 1], [3, 7], [5, 16], [9, 40], [4, 64], [300, 100]];

    fn exact_rms(x: &[f64], width: usize) -> Vec<f64> {
        let rows = x.chunks(width).flat_map(|row| {
            let square = row.iter().map(|x| x * x).sum::<f64>() / width as f64;
            row.iter().map(move |x| x / (square + 1e-6).sqrt())
        });
        rows.collect()
    }

    fn exact_layer(x: &[f64], scale: &[f64], offset: &[f64]) -> Vec<f64> {
        let width = scale.len();
        let rows = x.chunks(width).flat_map(|row| {
            let mean = row.iter().sum::<f64>() / width as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            let units = row.iter().map(move |x| (x - mean) / (variance + 1e-5).sqrt());
            units.zip(scale.iter().zip(offset)).map(|(unit, (s, o))| unit * s + o)
        });
        rows.collect()
    }

    fn weighed(y: &[f64], dy: &[f64]) -> f64 {
        y.iter().zip(dy).map(|(y, dy)| y * dy).sum()
    }

    #[test]
    fn rms_norm_and_its_gradient_are_exact_to_rounding() {
        let mut numbers = Numbers::new(1);
        for [rows, width] in SHAPES {
            let rows = rows.min(5);
            let (x, delta) = (numbers.scaled(rows * width, 3.0), numbers.uniform(rows * width));
            let dy = numbers.uniform(rows * width);
            let mut y = vec![0.0; x.len()];
            rms_norm(rows, width, &x, &mut y);
            assert_close("y", &y, &exact_rms(&wide(&x), width), 1e-6);
            let mut dx = vec![0.0; x.len()];
            rms_norm_backward(rows, width, &x, &dy, Some(&delta), &mut dx);
            let loss = |x: &[f64]| weighed(&exact_rms(x, width), &wide(&dy));
            let gradient = differences(&wide(&x), loss);
            let expected: Vec<f64> =
                gradient.iter().zip(&delta).map(|(g, d)| g + f64::from(*d)).collect();
            assert_close("dx", &dx, &expected, 2e-6);
            let mut sum = vec![0.0; x.len()];
            add_rms_norm(rows, width, &x, &delta, &mut sum, &mut y);
            let mut separate = vec![0.0; x.len()];
            super::super::activation::add(&x, &delta, &mut separate);
            assert_eq!(sum, separate);
            rms_norm(rows, width, &sum, &mut separate);
            assert_eq!(y, separate);
        }
    }

    #[test]
    fn layer_norm_and_its_gradients_are_exact_to_rounding() {
        let mut numbers = Numbers::new(2);
        for [rows, width] in SHAPES.map(|[rows, width]| [rows.min(5), width.max(7)]) {
            let x = numbers.scaled(rows * width, 3.0);
            let (scale, offset) = (numbers.uniform(width), numbers.uniform(width));
            let dy = numbers.uniform(rows * width);
            let mut y = vec![0.0; x.len()];
            layer_norm(rows, width, &x, &scale, &offset, &mut y);
            let (wide_x, wide_s, wide_o) = (wide(&x), wide(&scale), wide(&offset));
            assert_close("y", &y, &exact_layer(&wide_x, &wide_s, &wide_o), 3e-6);
            let (mut dx, mut ds, mut d_o) =
                (vec![0.0; x.len()], vec![0.0; width], vec![0.0; width]);
            layer_norm_backward(rows, width, &x, &scale, &dy, None, &mut dx, &mut ds, &mut d_o);
            let dy = wide(&dy);
            let by_x = differences(&wide_x, |x| weighed(&exact_layer(x, &wide_s, &wide_o), &dy));
            assert_close("dx", &dx, &by_x, 1e-5);
            let by_s = differences(&wide_s, |s| weighed(&exact_layer(&wide_x, s, &wide_o), &dy));
            assert_close("dscale", &ds, &by_s, 2e-6);
            let by_o = differences(&wide_o, |o| weighed(&exact_layer(&wide_x, &wide_s, o), &dy));
            assert_close("doffset", &d_o, &by_o, 2e-6);
        }
    }

    #[test]
    fn levels_and_threads_agree() {
        let mut numbers = Numbers::new(3);
        for [rows, width] in SHAPES {
            let x = numbers.scaled(rows * width, 3.0);
            let (dy, delta) = (numbers.uniform(rows * width), numbers.uniform(rows * width));
            let (scale, offset) = (numbers.uniform(width), numbers.uniform(width));
            assert_same_bits("norm", || {
                let mut r = vec![vec![0.0; rows * width]; 6];
                rms_norm(rows, width, &x, &mut r[0]);
                rms_norm_backward(rows, width, &x, &dy, None, &mut r[1]);
                rms_norm_backward(rows, width, &x, &dy, Some(&delta), &mut r[2]);
                layer_norm(rows, width, &x, &scale, &offset, &mut r[3]);
                let (mut ds, mut d_o) = (vec![0.0; width], vec![0.0; width]);
                let residual = Some(&delta[..]);
                layer_norm_backward(
                    rows, width, &x, &scale, &dy, residual, &mut r[4], &mut ds, &mut d_o,
                );
                r.extend([ds, d_o]);
                r.concat()
            });
        }
    }
}
