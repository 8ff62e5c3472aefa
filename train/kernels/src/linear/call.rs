//! A product of rows with packed weights, and what is done with the result.

use super::super::gate::{Gate, gate};
use super::super::lanes::{LANES, Lanes};
use super::tile::{PANEL, ZEROS};
use std::ops::Range;

/// What becomes of a product, in y.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// y = product.
    Plain,
    /// y += product.
    Add,
    /// y = gate(product).
    Gate(Gate),
    /// y = gate(y)·product.
    Multiply(Gate),
}

/// A product to compute.
pub(super) struct Call<'a> {
    pub(super) rows: usize,
    pub(super) x: &'a [f32],
    /// Columns of x.
    pub(super) inputs: usize,
    /// Filled up to whole panels.
    pub(super) bias: Option<&'a [f32]>,
    pub(super) panels: Range<usize>,
    pub(super) finish: After,
    pub(super) stride: usize,
    pub(super) first: usize,
    pub(super) y: &'a mut [f32],
}

impl Call<'_> {
    /// Columns of y that a panel fills.
    pub(super) fn columns(&self, panel: usize) -> Range<usize> {
        let start = panel * PANEL - self.first;
        start..self.stride.min(start + PANEL)
    }

    /// The bias of a panel, \[64\].
    pub(super) fn bias_of(&self, panel: usize) -> Option<&[f32]> {
        self.bias.map(|bias| &bias[panel * PANEL..][..PANEL])
    }

    /// What the chains of a panel start from.
    pub(super) fn start(&self, panel: usize) -> *const f32 {
        self.bias_of(panel).map_or(ZEROS.as_ptr(), <[f32]>::as_ptr)
    }

    /// Makes a row's part of y from its sums.
    #[inline(always)]
    pub(super) fn finish<L: Lanes>(
        &mut self,
        lanes: L,
        row: usize,
        columns: Range<usize>,
        sums: &[f32],
    ) {
        let start = row * self.stride;
        let y = &mut self.y[start + columns.start..start + columns.end];
        for (y, sums) in y.chunks_mut(LANES).zip(sums.chunks_exact(LANES)) {
            let sum = lanes.load_slice(sums, 0.0);
            let value = match self.finish {
                After::Plain => sum,
                After::Add => lanes.add(lanes.load_slice(y, 0.0), sum),
                After::Gate(kind) => gate(lanes, kind, sum),
                After::Multiply(kind) => {
                    lanes.mul(gate(lanes, kind, lanes.load_slice(y, 0.0)), sum)
                }
            };
            lanes.store_slice(y, value);
        }
    }
}
