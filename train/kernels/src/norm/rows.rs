//! The norms of inference, in place: with or without scale and offset, and with any ε.

use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level::Level;
use super::dot;

/// A norm of the first columns of rows, as many as its scale has; the rest, fewer than 16, is filled up with zeros
/// and stays so. Without a scale all columns count.
#[derive(Clone, Debug, PartialEq)]
pub enum RowNorm {
    /// x / √(mean square + ε), times the scale if there is one.
    Rms {
        /// \[width\].
        scale: Option<Vec<f32>>,
        /// ε.
        epsilon: f32,
    },
    /// (x − mean) / √(variance + ε) · scale + offset.
    Layer {
        /// \[width\].
        scale: Vec<f32>,
        /// \[width\].
        offset: Vec<f32>,
        /// ε.
        epsilon: f32,
    },
}

/// Norms rows [rows, width] in place, on this thread.
pub fn norm_rows(level: Level, norm: &RowNorm, width: usize, rows: &mut [f32]) {
    assert!(rows.len().is_multiple_of(width), "rows [.., {width}]: {}", rows.len());
    assert!(norm.fits(width), "scale or offset of a width of {width}");
    dispatch(level, Rows { norm, width, rows });
}

impl RowNorm {
    /// Whether it is for rows of this width.
    pub fn fits(&self, width: usize) -> bool {
        let filled = |columns: usize| columns > 0 && columns <= width && width < columns + LANES;
        match self {
            RowNorm::Rms { scale, .. } => scale.as_ref().is_none_or(|scale| filled(scale.len())),
            RowNorm::Layer { scale, offset, .. } => {
                filled(scale.len()) && offset.len() == scale.len()
            }
        }
    }

    /// Columns that count, of a width.
    fn columns(&self, width: usize) -> usize {
        match self {
            RowNorm::Rms { scale: None, .. } => width,
            RowNorm::Rms { scale: Some(scale), .. } | RowNorm::Layer { scale, .. } => scale.len(),
        }
    }
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
        let columns = self.norm.columns(self.width);
        for row in self.rows.chunks_exact_mut(self.width) {
            let row = &mut row[..columns];
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

    #[test]
    fn what_fills_a_row_up_changes_nothing_and_stays() {
        let mut numbers = Numbers::new(2);
        let (x, scale, offset) = (numbers.uniform(20), numbers.uniform(20), numbers.uniform(20));
        let rms = RowNorm::Rms { scale: Some(scale.clone()), epsilon: 1e-5 };
        for norm in [rms, RowNorm::Layer { scale, offset, epsilon: 1e-5 }] {
            let (mut alone, mut filled) = (x.clone(), [x.clone(), vec![0.0; 12]].concat());
            norm_rows(current(), &norm, 20, &mut alone);
            norm_rows(current(), &norm, 32, &mut filled);
            assert_eq!(filled, [alone, vec![0.0; 12]].concat());
            assert!(!norm.fits(48) && !norm.fits(19));
        }
    }
}
