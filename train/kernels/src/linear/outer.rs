//! The product of a gradient of weights: c[inputs, outputs] = Σ over rows of a[row, inputs]ᵀ·b[row, outputs].
//!
//! Threads split the outputs, never the rows. A task goes through the rows in blocks, which it copies side by side for
//! the CPU caches; each sum continues from block to block, so the rows are summed in index order.

use super::super::aligned::with_scratch;
use super::super::factors::{Factors, Numbers, Pairs, Singles};
use super::super::lanes::{Kernel, Lanes, dispatch};
use super::super::level::Level;
use super::super::parallel::{self, Shared};
use super::tile::{PANEL, TILE_ROWS, Tile, ZEROS, compute};
use std::ops::Range;

/// Places of a block of rows, one row or a pair each: a panel of them takes 32 KiB.
const BLOCK: usize = 128;
/// Panels whose block of rows is copied at once.
const PANELS_AT_ONCE: usize = 8;
/// Inputs from which their rows are copied too: at larger strides they would fight for the same cache sets.
const COPIED_INPUTS: usize = 256;
/// Keeps the copied rows off equal offsets of a page.
const PADDING: usize = 16;

/// c (+)= aᵀ·b for [rows, inputs, outputs]; with `accumulate`, the chains go on from what c holds.
pub(super) fn multiply_transposed(
    level: Level,
    factors: Factors,
    [rows, inputs, outputs]: [usize; 3],
    a: &[f32],
    b: &[f32],
    accumulate: bool,
    c: &mut [f32],
) {
    assert_eq!(a.len(), rows * inputs, "left matrix [{rows}, {inputs}]");
    assert_eq!(b.len(), rows * outputs, "right matrix [{rows}, {outputs}]");
    assert_eq!(c.len(), inputs * outputs, "result [{inputs}, {outputs}]");
    let (tiles, panels) = (inputs.div_ceil(TILE_ROWS), outputs.div_ceil(PANEL));
    let threads = parallel::threads();
    let wanted = if threads == 1 { 1 } else { 2 * threads };
    // Each task streams the rows of its own inputs and outputs: cut the longer side.
    let (tile_groups, panel_groups) = if inputs >= outputs {
        let groups = wanted.min(tiles).max(1);
        (groups, wanted.div_ceil(groups).min(panels))
    } else {
        let groups = wanted.min(panels).max(1);
        (wanted.div_ceil(groups).min(tiles), groups)
    };
    let c = Shared::new(c);
    parallel::for_each(tile_groups * panel_groups, rows * inputs * outputs, |task| {
        let own = parallel::piece(task / panel_groups, tile_groups, tiles);
        let own = own.start * TILE_ROWS..inputs.min(own.end * TILE_ROWS);
        let panels = parallel::piece(task % panel_groups, panel_groups, panels);
        let copied = inputs > COPIED_INPUTS || factors != Factors::Single;
        let copied = if copied { (own.len() + PADDING) * BLOCK } else { 0 };
        with_scratch([copied, PANELS_AT_ONCE * PANEL * BLOCK], |scratch| {
            let shape = [rows, inputs, outputs];
            let outer = Outer { shape, a, b, accumulate, c, own, panels, scratch };
            match factors {
                Factors::Single => dispatch(level, Of(Singles, outer)),
                Factors::Bfloat => dispatch(level, Of(Pairs, outer)),
            }
        });
    });
}

/// One task: some inputs by some panels of outputs.
struct Outer<'a> {
    shape: [usize; 3],
    a: &'a [f32],
    b: &'a [f32],
    accumulate: bool,
    c: Shared,
    /// The task's inputs.
    own: Range<usize>,
    panels: Range<usize>,
    /// Copies of a block of rows: of its inputs, where they are copied, and of its panels.
    scratch: [&'a mut [f32]; 2],
}

/// A matrix inside another: where it starts and how far its rows are apart.
#[derive(Clone, Copy)]
struct View(*const f32, usize);

/// The same for the numbers that it multiplies.
struct Of<'a, N>(N, Outer<'a>);

impl<N: Numbers> Kernel for Of<'_, N> {
    type Output = ();
    const PAIRS: bool = N::IN_PLACE == 2;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Of(_, mut outer) = self;
        let (rows, all) = (outer.shape[0], outer.panels.clone());
        let mut first = all.start;
        while first < all.end {
            let panels = first..all.end.min(first + PANELS_AT_ONCE);
            first = panels.end;
            for row in (0..rows.max(1)).step_by(BLOCK * N::IN_PLACE) {
                let depth = BLOCK.min((rows - row).div_ceil(N::IN_PLACE));
                let a = outer.inputs::<L, N>(lanes, row, depth);
                for panel in panels.clone() {
                    let b = outer.outputs::<L, N>(lanes, row, depth, panel, panel - panels.start);
                    outer.block::<L, N>(lanes, row, depth, panel, [a, b]);
                }
            }
        }
    }
}

impl Outer<'_> {
    /// A block's inputs of this task: in place, or copied.
    #[inline(always)]
    fn inputs<L: Lanes, N: Numbers>(&mut self, lanes: L, row: usize, depth: usize) -> View {
        let (inputs, width) = (self.shape[1], self.own.len());
        let from = &self.a[(row * inputs + self.own.start).min(self.a.len())..];
        if N::IN_PLACE == 1 && inputs <= COPIED_INPUTS {
            return View(from.as_ptr(), inputs);
        }
        let lines = self.scratch[0].chunks_exact_mut(width + PADDING);
        for (line, k) in lines.zip(0..depth) {
            let rows = &from[k * N::IN_PLACE * inputs..];
            N::fill_line(lanes, rows, inputs, &mut line[..width]);
        }
        View(self.scratch[0].as_ptr(), width + PADDING)
    }

    /// A block's outputs of one panel: in place where they lie side by side, else copied.
    #[inline(always)]
    fn outputs<L: Lanes, N: Numbers>(
        &mut self,
        lanes: L,
        row: usize,
        depth: usize,
        panel: usize,
        place: usize,
    ) -> View {
        let outputs = self.shape[2];
        let from = &self.b[(row * outputs + panel * PANEL).min(self.b.len())..];
        if N::IN_PLACE == 1 && outputs == PANEL {
            return View(from.as_ptr(), PANEL);
        }
        let columns = PANEL.min(outputs - panel * PANEL);
        let copy = &mut self.scratch[1][place * PANEL * BLOCK..][..PANEL * BLOCK];
        for (line, k) in copy.chunks_exact_mut(PANEL).zip(0..depth) {
            let rows = &from[k * N::IN_PLACE * outputs..];
            N::fill_line(lanes, rows, outputs, &mut line[..columns]);
        }
        View(copy.as_ptr(), PANEL)
    }

    /// Adds a block of rows to one panel of the task's outputs.
    #[inline(always)]
    fn block<L: Lanes, N: Numbers>(
        &self,
        lanes: L,
        row: usize,
        depth: usize,
        panel: usize,
        [a, b]: [View; 2],
    ) {
        let (outputs, first_column) = (self.shape[2], panel * PANEL);
        let columns = PANEL.min(outputs - first_column);
        let goes_on = self.accumulate || row > 0;
        for input in self.own.clone().step_by(TILE_ROWS) {
            // SAFETY: rows, inputs and columns are inside the matrices whose lengths `multiply_transposed` asserts;
            // b has whole vectors, being copied or 64 wide; tasks are disjoint, so c is this task's.
            unsafe {
                let c = self.c.pointer().add(input * outputs + first_column);
                let tile = Tile {
                    depth,
                    a: a.0.add(input - self.own.start),
                    a_stride: a.1,
                    b: b.0,
                    b_stride: b.1,
                    start: if goes_on { c.cast_const() } else { ZEROS.as_ptr() },
                    start_stride: if goes_on { outputs } else { 0 },
                    c,
                    c_stride: outputs,
                };
                let rows = TILE_ROWS.min(self.own.end - input);
                compute::<L, N, true>(lanes, tile, rows, columns);
            }
        }
    }
}
