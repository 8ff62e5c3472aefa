//! RMSNorm (Zhang and Sennrich, 2019), without scale.

use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level;
use super::super::parallel::Shared;
use super::{check, dot, for_rows};

/// Added to the mean square of RMSNorm.
pub(in super::super) const RMS_EPSILON: f32 = 1e-6;

/// y [rows, width] = x / √(mean square of the row + 1e-6).
pub fn rms_norm(rows: usize, width: usize, x: &[f32], y: &mut [f32]) {
    check(rows, width, &[x.len(), y.len()]);
    let (level, shared) = (level::current(), Shared::new(y));
    for_rows(rows, width, |row, count| {
        let range = row * width..(row + count) * width;
        // SAFETY: pieces are disjoint ranges of rows.
        let y = unsafe { shared.part(range.start, range.len()) };
        dispatch(level, RmsNorm { width, x: &x[range], y });
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

/// 1 / √(mean square + ε) of a row.
#[inline(always)]
fn rms_inverse<L: Lanes>(lanes: L, x: &[f32]) -> f32 {
    1.0 / (dot(lanes, x, x) / x.len() as f32 + RMS_EPSILON).sqrt()
}

/// RMSNorm of a thread's rows.
struct RmsNorm<'a> {
    width: usize,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for (x, y) in self.x.chunks_exact(self.width).zip(self.y.chunks_exact_mut(self.width)) {
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
