//! The blocked matrix product: rows times panels of columns, using the register tile.
//!
//! The loops follow Goto and van de Geijn's "Anatomy of High-Performance Matrix Multiplication": b is stored in panels
//! of 64 columns, and a slice of `DEPTH_BLOCK` of a panel stays in the first-level cache while row tiles pass over it.
//! Splitting the depth does not change a sum: the next slice continues from the stored value.

use super::super::activation::{Activation, Slope, activate_lanes, add_lanes, slope_lanes};
use super::super::aligned::with_scratch;
use super::super::factors::{Factors, Numbers, Pairs, Singles, pair_row};
use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level::Level;
use super::super::parallel::{self, Shared};
use super::tile::{PANEL, TILE_ROWS, Tile, ZEROS, compute};
use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::Range;

/// Depth of a panel's slice, in places: 64 columns of it take 32 KiB.
const DEPTH_BLOCK: usize = 128;
/// Rows that go through all panels together: they stay in the second cache.
const ROW_BLOCK: usize = 96;
/// Rows from which packing the right-hand matrix pays.
const PACKING_ROWS: usize = 32;
/// Keeps the pairs of rows off equal offsets of a page.
const PADDING: usize = LANES;

/// A right-hand matrix [depth, columns] as panels of 64 columns.
#[derive(Clone)]
pub(in super::super) struct Panels<'a> {
    /// Singles, or pairs of neighbours in the depth.
    factors: Factors,
    values: Cow<'a, [f32]>,
    depth: usize,
    columns: usize,
    /// From one panel to the next.
    panel_stride: usize,
    /// From one depth to the next.
    stride: usize,
}

impl<'a> Panels<'a> {
    /// The matrix as it lies: for a few rows, or where it lies well already.
    ///
    /// A tile reads whole vectors, so the columns must be a multiple of 16, or it would read past the end.
    fn direct(b: &'a [f32], depth: usize, columns: usize) -> Self {
        assert!(columns.is_multiple_of(16));
        let factors = Factors::Single;
        Panels { factors, values: b.into(), depth, columns, panel_stride: PANEL, stride: columns }
    }

    /// Places [panels, depth, 64] as a matrix.
    fn of_places(factors: Factors, values: Vec<f32>, depth: usize, columns: usize) -> Self {
        let panel_stride = values.len() / columns.div_ceil(PANEL).max(1);
        Panels { factors, values: values.into(), depth, columns, panel_stride, stride: PANEL }
    }

    /// The matrix copied into panels, the last filled up with zeros.
    fn packed(b: &[f32], depth: usize, columns: usize) -> Self {
        let mut values = vec![0.0; columns.div_ceil(PANEL) * depth * PANEL];
        for (index, panel) in values.chunks_mut(depth * PANEL).enumerate() {
            let first = index * PANEL;
            let width = PANEL.min(columns - first);
            for (k, line) in panel.chunks_mut(PANEL).enumerate() {
                line[..width].copy_from_slice(&b[k * columns + first..][..width]);
            }
        }
        Panels::of_places(Factors::Single, values, depth, columns)
    }

    /// The same in pairs, the depth filled up too.
    fn paired(level: Level, b: &[f32], depth: usize, columns: usize, transposed: bool) -> Self {
        let mut values = vec![0.0; columns.div_ceil(PANEL) * depth.div_ceil(2) * PANEL];
        dispatch(level, PackPairs { b, depth, columns, transposed, values: &mut values });
        Panels::of_places(Factors::Bfloat, values, depth, columns)
    }

    /// The transpose of b [columns, depth] in panels.
    pub(in super::super) fn transposed(
        level: Level,
        factors: Factors,
        b: &[f32],
        depth: usize,
        columns: usize,
    ) -> Self {
        if factors == Factors::Bfloat {
            return Panels::paired(level, b, depth, columns, true);
        }
        let mut values = vec![0.0; columns.div_ceil(PANEL) * depth * PANEL];
        for (index, panel) in values.chunks_mut(depth * PANEL).enumerate() {
            let first = index * PANEL;
            let width = PANEL.min(columns - first);
            // Eight depths at a time: both sides then move along their cache lines.
            for k in (0..depth).step_by(8) {
                for column in 0..width {
                    let from = &b[(first + column) * depth..][..depth];
                    for (offset, value) in from[k..].iter().take(8).enumerate() {
                        panel[(k + offset) * PANEL + column] = *value;
                    }
                }
            }
        }
        Panels::of_places(Factors::Single, values, depth, columns)
    }

    /// The form that suits a product with `rows` rows.
    pub(in super::super) fn for_rows(
        level: Level,
        factors: Factors,
        b: &'a [f32],
        [rows, depth, columns]: [usize; 3],
    ) -> Self {
        if factors == Factors::Bfloat {
            return Panels::paired(level, b, depth, columns, false);
        }
        if columns.is_multiple_of(16) && (rows < PACKING_ROWS || columns == PANEL) {
            return Panels::direct(b, depth, columns);
        }
        Panels::packed(b, depth, columns)
    }

    /// Places in a column.
    fn places(&self) -> usize {
        match self.factors {
            Factors::Single => self.depth,
            Factors::Bfloat => self.depth.div_ceil(2),
        }
    }

    /// How many panels.
    fn count(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }
}

/// Rounds a matrix [depth, columns], or [columns, depth], to pairs in panels.
struct PackPairs<'a> {
    b: &'a [f32],
    depth: usize,
    columns: usize,
    transposed: bool,
    /// Zeros: [panels, depth / 2, 64].
    values: &'a mut [f32],
}

impl Kernel for PackPairs<'_> {
    type Output = ();
    const PAIRS: bool = true;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let PackPairs { b, depth, columns, transposed, values } = self;
        let panel_size = depth.div_ceil(2).max(1) * PANEL;
        for (index, panel) in values.chunks_exact_mut(panel_size).enumerate() {
            let first = index * PANEL;
            let width = PANEL.min(columns - first);
            if !transposed {
                for (k, line) in panel.chunks_exact_mut(PANEL).enumerate() {
                    let rows = &b[2 * k * columns + first..];
                    Pairs::fill_line(lanes, rows, columns, &mut line[..width]);
                }
                continue;
            }
            for column in (0..width).step_by(LANES) {
                let rows = &b[(first + column) * depth..];
                let rows = &rows[..LANES.min(width - column) * depth];
                turn_pairs(lanes, rows, depth, &mut panel[column..]);
            }
        }
    }
}

/// Up to sixteen rows of numbers as columns of pairs, 64 places apart.
#[inline(always)]
fn turn_pairs<L: Lanes>(lanes: L, rows: &[f32], depth: usize, to: &mut [f32]) {
    for (block, first) in (0..depth).step_by(2 * LANES).enumerate() {
        let mut square = [lanes.zero(); LANES];
        for (row, pairs) in rows.chunks_exact(depth).zip(&mut square) {
            let mut places = [0.0; LANES];
            pair_row(lanes, &row[first..depth.min(first + 2 * LANES)], &mut places);
            *pairs = lanes.vector(&places);
        }
        lanes.transpose(&mut square);
        for (line, pairs) in to[block * LANES * PANEL..].chunks_mut(PANEL).zip(square) {
            lanes.store_slice(&mut line[..LANES], pairs);
        }
    }
}

/// What happens to a block of outputs while it is still in the cache.
#[derive(Clone, Copy)]
pub(super) enum Finish<'a> {
    /// Nothing.
    Plain,
    /// Adds a matrix of the same shape.
    Add(&'a [f32]),
    /// Multiplies by an activation's slope, from what was kept of it, a matrix of the same shape.
    Slope(Slope, &'a [f32]),
    /// Applies an activation; keeps the values before it where a place for them is given.
    Activate(Activation, Option<Shared>),
}

/// c[rows, columns] = bias + a[rows, depth]·b, then `finish`.
pub(super) fn multiply(
    level: Level,
    rows: usize,
    a: &[f32],
    b: &Panels<'_>,
    bias: Option<&[f32]>,
    finish: Finish<'_>,
    c: &mut [f32],
) {
    assert_eq!(a.len(), rows * b.depth, "left matrix [{rows}, {}]", b.depth);
    assert_eq!(c.len(), rows * b.columns, "result [{rows}, {}]", b.columns);
    let padded = bias.map(|bias| {
        assert_eq!(bias.len(), b.columns, "bias");
        let mut padded = bias.to_vec();
        padded.resize(b.count() * PANEL, 0.0);
        if b.factors == Factors::Bfloat {
            dispatch(level, Starts(&mut padded));
        }
        padded
    });
    let work = rows * b.depth * b.columns;
    // Many rows are cut by rows, a few rows by panels: each thread reads all of the other side.
    let threads = parallel::threads();
    let by_rows = rows >= ROW_BLOCK * threads || b.count() < 2 * threads;
    let unit = if rows >= 4 * ROW_BLOCK * threads { ROW_BLOCK } else { 2 * TILE_ROWS };
    let units = if by_rows { rows.div_ceil(unit) } else { b.count() };
    let c = Shared::new(c);
    parallel::for_pieces(units, work, |piece| {
        let (rows, panels) = if by_rows {
            (piece.start * unit..rows.min(piece.end * unit), 0..b.count())
        } else {
            (0..rows, piece)
        };
        let bias = padded.as_deref();
        match b.factors {
            Factors::Single => {
                let (numbers, pairs) = (PhantomData::<Singles>, Default::default());
                dispatch(level, Region { numbers, a, b, bias, finish, c, rows, panels, pairs });
            }
            Factors::Bfloat => {
                let length = ROW_BLOCK.min(rows.len()) * pair_stride(b.depth);
                with_scratch([length], |[pairs]| {
                    let numbers = PhantomData::<Pairs>;
                    dispatch(level, Region { numbers, a, b, bias, finish, c, rows, panels, pairs });
                });
            }
        }
    });
}

/// Makes numbers that chains of pairs may start from.
struct Starts<'a>(&'a mut [f32]);

impl Kernel for Starts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for part in self.0.chunks_mut(LANES) {
            lanes.store_slice(part, Pairs::start(lanes, lanes.load_slice(part, 0.0)));
        }
    }
}

/// From one row of pairs to the next.
fn pair_stride(depth: usize) -> usize {
    depth.div_ceil(2 * LANES) * LANES + PADDING
}

/// One thread's part of a product.
struct Region<'a, N> {
    numbers: PhantomData<N>,
    a: &'a [f32],
    b: &'a Panels<'a>,
    bias: Option<&'a [f32]>,
    finish: Finish<'a>,
    c: Shared,
    rows: Range<usize>,
    panels: Range<usize>,
    /// A place for a block of rows as pairs, if these are multiplied.
    pairs: &'a mut [f32],
}

impl<N: Numbers> Kernel for Region<'_, N> {
    type Output = ();
    const PAIRS: bool = N::IN_PLACE == 2;

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let mut first = self.rows.start;
        while first < self.rows.end {
            let rows = first..self.rows.end.min(first + ROW_BLOCK);
            first = rows.end;
            let a = self.left(lanes, rows.clone());
            for depth in (0..self.b.places().max(1)).step_by(DEPTH_BLOCK) {
                for panel in self.panels.clone() {
                    self.panel(lanes, rows.clone(), a, depth, panel);
                    if depth + DEPTH_BLOCK >= self.b.places() {
                        self.finish(lanes, rows.clone(), panel);
                    }
                }
            }
        }
    }
}

impl<N: Numbers> Region<'_, N> {
    /// A block of rows of a, in place or as pairs, and from one to the next.
    #[inline(always)]
    fn left<L: Lanes>(&mut self, lanes: L, rows: Range<usize>) -> (*const f32, usize) {
        let depth = self.b.depth;
        let rows = &self.a[rows.start * depth..rows.end * depth];
        if N::IN_PLACE == 1 {
            return (rows.as_ptr(), depth);
        }
        let stride = pair_stride(depth);
        let pairs = self.pairs.chunks_exact_mut(stride);
        for (row, pairs) in rows.chunks_exact(depth.max(1)).zip(pairs) {
            pair_row(lanes, row, pairs);
        }
        (self.pairs.as_ptr(), stride)
    }

    /// One slice of a panel, for a block of rows.
    #[inline(always)]
    fn panel<L: Lanes>(
        &self,
        lanes: L,
        rows: Range<usize>,
        (a, a_stride): (*const f32, usize),
        first_depth: usize,
        panel: usize,
    ) {
        let (b, first_column) = (self.b, panel * PANEL);
        let columns = PANEL.min(b.columns - first_column);
        for row in rows.clone().step_by(TILE_ROWS) {
            // SAFETY: rows, depth and columns are inside the matrices whose lengths `multiply` asserts (of pairs, `left`
            // filled each row's), and b has whole vectors (`direct` asserts it, packing fills up). Regions are disjoint, so c is this task's.
            unsafe {
                let c = self.c.pointer().add(row * b.columns + first_column);
                let (start, start_stride) = if first_depth > 0 {
                    (c.cast_const(), b.columns)
                } else {
                    (self.bias.map_or(ZEROS.as_ptr(), |bias| bias.as_ptr().add(first_column)), 0)
                };
                let tile = Tile {
                    depth: DEPTH_BLOCK.min(b.places() - first_depth),
                    a: a.add((row - rows.start) * a_stride + first_depth),
                    a_stride,
                    b: b.values.as_ptr().add(panel * b.panel_stride + first_depth * b.stride),
                    b_stride: b.stride,
                    start,
                    start_stride,
                    c,
                    c_stride: b.columns,
                };
                compute::<L, N, false>(lanes, tile, TILE_ROWS.min(rows.end - row), columns);
            }
        }
    }

    /// What comes after the sums, on a block of rows of a panel, which is still in the first cache.
    #[inline(always)]
    fn finish<L: Lanes>(&self, lanes: L, rows: Range<usize>, panel: usize) {
        if matches!(self.finish, Finish::Plain) {
            return;
        }
        let columns = panel * PANEL..self.b.columns.min((panel + 1) * PANEL);
        for row in rows {
            let start = row * self.b.columns + columns.start;
            // SAFETY: this row's columns are inside c and belong to this task alone.
            let c = unsafe { self.c.part(start, columns.len()) };
            match self.finish {
                Finish::Plain => {}
                Finish::Slope(slope, kept) => {
                    slope_lanes(lanes, slope, &kept[start..][..columns.len()], c);
                }
                Finish::Add(matrix) => add_lanes(lanes, c, &matrix[start..][..columns.len()]),
                Finish::Activate(activation, before) => {
                    if let Some(before) = before {
                        // SAFETY: as above; `before` has the shape of c.
                        unsafe { before.part(start, columns.len()) }.copy_from_slice(c);
                    }
                    activate_lanes(lanes, activation, c);
                }
            }
        }
    }
}
