//! Preparing queries and keys: QK-norm (Henry et al., 2020) and rotation, and their gradients.
//!
//! Sixteen rows are processed side by side in the lanes, so every sum over a head's dimensions is one chain in index
//! order, whether the sixteen rows are tokens of a chunk or heads of one new token.

use super::super::factors::Numbers;
use super::super::lanes::{LANES, Lanes};
use super::super::norm::RMS_EPSILON;

/// Sixteen rows of D numbers, a vector for each dimension.
pub(super) type Columns<L, const D: usize> = [<L as Lanes>::Vector; D];

/// Loads sixteen rows of D numbers; absent rows are zero.
///
/// # Safety
/// Row i < `rows` must be readable at `from + i·stride`.
#[inline(always)]
pub(super) unsafe fn load_rows<L: Lanes, const D: usize>(
    lanes: L,
    from: *const f32,
    stride: usize,
    rows: usize,
) -> Columns<L, D> {
    let mut columns = [lanes.zero(); D];
    for block in 0..D / LANES {
        let mut square = [lanes.zero(); LANES];
        for (row, vector) in square.iter_mut().enumerate().take(rows) {
            // SAFETY: granted by the caller; D is a multiple of 16.
            *vector = unsafe { lanes.load(from.add(row * stride + block * LANES)) };
        }
        lanes.transpose(&mut square);
        columns[block * LANES..][..LANES].copy_from_slice(&square);
    }
    columns
}

/// Stores the first `rows` of sixteen rows.
///
/// # Safety
/// Row i < `rows` must be writable at `to + i·stride`, by this task alone.
#[inline(always)]
pub(super) unsafe fn store_rows<L: Lanes, const D: usize>(
    lanes: L,
    columns: &Columns<L, D>,
    to: *mut f32,
    stride: usize,
    rows: usize,
) {
    for block in 0..D / LANES {
        let mut square = [lanes.zero(); LANES];
        square.copy_from_slice(&columns[block * LANES..][..LANES]);
        lanes.transpose(&mut square);
        for (row, vector) in square.iter().enumerate().take(rows) {
            // SAFETY: granted by the caller; D is a multiple of 16.
            unsafe { lanes.store(to.add(row * stride + block * LANES), *vector) };
        }
    }
}

/// Stores sixteen rows as they are in the lanes: [D, 16] singles, or [D / 2, 16] pairs of neighbours.
#[inline(always)]
pub(super) fn store_columns<L: Lanes, N: Numbers, const D: usize>(
    lanes: L,
    columns: &Columns<L, D>,
    to: &mut [f32],
) {
    for (columns, to) in columns.chunks_exact(N::IN_PLACE).zip(to.chunks_exact_mut(LANES)) {
        lanes.store_slice(to, N::place(lanes, columns));
    }
}

/// Sixteen rows [16, D] as they are, or as pairs of rows: [8, D].
#[inline(always)]
pub(super) fn pair_rows<L: Lanes, N: Numbers, const D: usize>(
    lanes: L,
    rows: &[f32],
    to: &mut [f32],
) {
    for (rows, line) in rows.chunks_exact(N::IN_PLACE * D).zip(to.chunks_exact_mut(D)) {
        N::fill_line(lanes, rows, D, line);
    }
}

/// 1/√(mean square + 1e-6) of each row.
#[inline(always)]
fn inverse<L: Lanes, const D: usize>(lanes: L, x: &Columns<L, D>) -> L::Vector {
    let squares = x.iter().fold(lanes.zero(), |sum, x| lanes.fma(*x, *x, sum));
    let mean = lanes.fma(squares, lanes.splat(1.0 / D as f32), lanes.splat(RMS_EPSILON));
    lanes.div(lanes.splat(1.0), lanes.sqrt(mean))
}

/// Norms (if `norm`), scales and rotates sixteen rows. `angles(i)` gives table row i: cosines, then sines.
#[inline(always)]
pub(super) fn forward<L: Lanes, const D: usize>(
    lanes: L,
    x: &Columns<L, D>,
    norm: bool,
    scale: L::Vector,
    angles: impl Fn(usize) -> L::Vector,
) -> Columns<L, D> {
    let factor = if norm { lanes.mul(inverse(lanes, x), scale) } else { scale };
    let mut y = *x;
    for i in 0..D / 2 {
        let (low, high) = (lanes.mul(x[i], factor), lanes.mul(x[i + D / 2], factor));
        let (cosine, sine) = (angles(i), angles(i + D / 2));
        y[i] = lanes.sub(lanes.mul(low, cosine), lanes.mul(high, sine));
        y[i + D / 2] = lanes.fma(low, sine, lanes.mul(high, cosine));
    }
    y
}

/// The gradient of `forward` at x for upstream dy; and of the scale, summed over each row.
#[inline(always)]
pub(super) fn backward<L: Lanes, const D: usize>(
    lanes: L,
    x: &Columns<L, D>,
    dy: &Columns<L, D>,
    norm: bool,
    scale: f32,
    angles: impl Fn(usize) -> L::Vector,
) -> (Columns<L, D>, L::Vector) {
    let mut dx = *dy;
    for i in 0..D / 2 {
        let (low, high) = (dy[i], dy[i + D / 2]);
        let (cosine, sine) = (angles(i), angles(i + D / 2));
        dx[i] = lanes.fma(low, cosine, lanes.mul(high, sine));
        dx[i + D / 2] = lanes.sub(lanes.mul(high, cosine), lanes.mul(low, sine));
    }
    let scale = lanes.splat(scale);
    if !norm {
        return (dx.map(|dx| lanes.mul(dx, scale)), lanes.zero());
    }
    // With u = x·inverse: the scale gets Σ u·dx, and x gets scale·inverse·(dx − u·mean(u·dx)).
    let inverse = inverse(lanes, x);
    let along = x.iter().zip(&dx).fold(lanes.zero(), |sum, (x, dx)| lanes.fma(*x, *dx, sum));
    let along = lanes.mul(along, inverse);
    let mean = lanes.mul(along, lanes.mul(inverse, lanes.splat(-1.0 / D as f32)));
    let factor = lanes.mul(inverse, scale);
    for (dx, x) in dx.iter_mut().zip(x) {
        *dx = lanes.mul(factor, lanes.fma(mean, *x, *dx));
    }
    (dx, along)
}
