//! The norms of inference, in place: with or without scale and offset, and with any epsilon.

use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level::Level;
use super::dot;

/// A norm of rows of the width that its scale has.
#[derive(Clone, Debug, PartialEq)]
pub enum RowNorm {
    /// x / √(mean square + ε), times the scale if there is one.
    Rms {
        /// [width].
        scale: Option<Vec<f32>>,
        /// ε.
        epsilon: f32,
    },
    /// (x − mean) / √(variance + ε) · scale + offset.
    Layer {
        /// [width].
        scale: Vec<f32>,
        /// [width].
        offset: Vec<f32>,
        /// ε.
        epsilon: f32,
    },
}

/// Norms rows [rows, width] in place, on this thread.
pub fn norm_rows(level: Level, norm: &RowNorm, width: usize, rows: &mut [f32]) {
    assert!(rows.len().is_multiple_of(width), "rows [.., {width}]: {}", rows.len());
    let fits = match norm {
        RowNorm::Rms { scale, .. } => scale.as_ref().is_none_or(|scale| scale.len() == width),
        RowNorm::Layer { scale, offset, .. } => scale.len() == width && offset.len() == width,
    };
    assert!(fits, "scale or offset of a width of {width}");
    dispatch(level, Rows { norm, width, rows });
}

struct Rows<'a> {
    norm: &'a RowNorm,
    width: usize,
    rows: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for row in self.rows.chunks_exact_mut(self.width) {
            match self.norm {
                RowNorm::Rms { scale, epsilon } => {
                    let mean = dot(lanes, row, row) / row.len() as f32;
                    let inverse = lanes.splat(1.0 / (mean + epsilon).sqrt());
                    for (i, part) in row.chunks_mut(LANES).enumerate() {
                        let mut y = lanes.mul(lanes.load_slice(part, 0.0), inverse);
                        if let Some(scale) = scale {
                            y = lanes.mul(y, lanes.load_slice(&scale[i * LANES..], 0.0));
                        }
                        lanes.store_slice(part, y);
                    }
                }
                RowNorm::Layer { scale, offset, epsilon } => {
                    layer(lanes, row, scale, offset, *epsilon);
                }
            }
        }
    }
}

#[inline(always)]
fn layer<L: Lanes>(lanes: L, row: &mut [f32], scale: &[f32], offset: &[f32], epsilon: f32) {
    let mut total = lanes.zero();
    for part in row.chunks(LANES) {
        total = lanes.add(total, lanes.load_slice(part, 0.0));
    }
    let mean = lanes.sum(total) / row.len() as f32;
    let splat = lanes.splat(mean);
    let mut squares = lanes.zero();
    for part in row.chunks(LANES) {
        // Absent lanes hold the mean, so they add nothing.
        let centred = lanes.sub(lanes.load_slice(part, mean), splat);
        squares = lanes.fma(centred, centred, squares);
    }
    let variance = lanes.sum(squares) / row.len() as f32;
    let inverse = lanes.splat(1.0 / (variance + epsilon).sqrt());
    for (i, part) in row.chunks_mut(LANES).enumerate() {
        let unit = lanes.mul(lanes.sub(lanes.load_slice(part, 0.0), splat), inverse);
        let scale = lanes.load_slice(&scale[i * LANES..], 0.0);
        lanes
            .store_slice(part, lanes.fma(unit, scale, lanes.load_slice(&offset[i * LANES..], 0.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::level::current;
    use super::super::super::testing::{Numbers, assert_close, assert_same_bits, wide};
    use super::*;

    #[test]
    fn norms_are_exact_to_rounding_at_every_level() {
        let mut numbers = Numbers::new(1);
        for width in [1, 16, 48, 100, 768] {
            let x = numbers.scaled(3 * width, 4.0);
            let (scale, offset) = (numbers.uniform(width), numbers.uniform(width));
            let epsilon = 1e-3;
            for kind in 0..3 {
                let norm = match kind {
                    0 => RowNorm::Rms { scale: None, epsilon },
                    1 => RowNorm::Rms { scale: Some(scale.clone()), epsilon },
                    _ => RowNorm::Layer { scale: scale.clone(), offset: offset.clone(), epsilon },
                };
                let run = || {
                    let mut y = x.clone();
                    norm_rows(current(), &norm, width, &mut y);
                    y
                };
                let mut expected = Vec::new();
                for row in wide(&x).chunks(width) {
                    let mean = row.iter().sum::<f64>() / width as f64;
                    let mean = if kind == 2 { mean } else { 0.0 };
                    let square = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
                    let inverse = 1.0 / (square + f64::from(epsilon)).sqrt();
                    expected.extend(row.iter().enumerate().map(|(i, x)| {
                        let unit = (x - mean) * inverse;
                        let scaled = if kind == 0 { unit } else { unit * f64::from(scale[i]) };
                        scaled + if kind == 2 { f64::from(offset[i]) } else { 0.0 }
                    }));
                }
                assert_close("norm", &run(), &expected, 1e-6);
                assert_same_bits("norm", run);
            }
        }
    }
}
