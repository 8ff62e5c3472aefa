//! The register tile of the matrix products: a few rows by up to 64 columns, each output one chain.
//!
//! A tile of 6×64 (AVX-512) or 6×16 (the others) stays in registers for the whole depth. Its size never changes a bit,
//! since every output is a separate chain of fused multiply-adds in index order.

use super::super::factors::Numbers;
use super::super::lanes::{LANES, Lanes};

/// The most rows of a tile.
pub(super) const TILE_ROWS: usize = 6;
/// Columns of a panel: the widest tile.
pub(super) const PANEL: usize = 64;

/// What chains start from that start from nothing.
pub(super) static ZEROS: [f32; PANEL] = [0.0; PANEL];

/// One tile of c = start + a·b. All strides count `f32`, or places of pairs.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// Places in each chain.
    pub(super) depth: usize,
    /// First element of a.
    pub(super) a: *const f32,
    /// From one row of a to the next; where a is transposed, from one depth to the next.
    pub(super) a_stride: usize,
    /// First element of b; the columns of one depth lie side by side.
    pub(super) b: *const f32,
    /// From one depth of b to the next.
    pub(super) b_stride: usize,
    /// What the chains start from, laid out as c.
    pub(super) start: *const f32,
    /// From one row of `start` to the next: 0 for a bias.
    pub(super) start_stride: usize,
    /// The outputs.
    pub(super) c: *mut f32,
    /// From one row of c to the next.
    pub(super) c_stride: usize,
}

impl Tile {
    /// The tile `columns` further right.
    ///
    /// # Safety
    /// That tile must lie inside b, `start` and c.
    #[inline(always)]
    unsafe fn right(self, columns: usize) -> Self {
        // SAFETY: granted by the caller.
        unsafe {
            Tile {
                b: self.b.add(columns),
                start: self.start.add(columns),
                c: self.c.add(columns),
                ..self
            }
        }
    }
}

/// Computes a tile of `rows` (1 to 6) by `columns` (1 to 64).
///
/// # Safety
/// a, `start` and c must be valid for the tile, b for the tile rounded up to 16 columns; no other task may touch c.
#[inline(always)]
pub(super) unsafe fn compute<L: Lanes, N: Numbers, const TRANSPOSED: bool>(
    lanes: L,
    tile: Tile,
    rows: usize,
    columns: usize,
) {
    // SAFETY: the parts lie inside the tile that the caller grants; `partial` keeps to its columns.
    unsafe {
        let mut done = 0;
        if L::WIDE {
            if columns == PANEL {
                return with_rows::<L, N, 4, TRANSPOSED>(lanes, tile, rows);
            }
            if columns >= 2 * LANES {
                with_rows::<L, N, 2, TRANSPOSED>(lanes, tile, rows);
                done = 2 * LANES;
            }
        }
        while done + LANES <= columns {
            with_rows::<L, N, 1, TRANSPOSED>(lanes, tile.right(done), rows);
            done += LANES;
        }
        if done < columns {
            partial::<L, N, TRANSPOSED>(lanes, tile.right(done), rows, columns - done);
        }
    }
}

/// A tile of fewer than 16 columns, by way of a buffer.
///
/// # Safety
/// As for `compute`.
#[inline(always)]
unsafe fn partial<L: Lanes, N: Numbers, const TRANSPOSED: bool>(
    lanes: L,
    tile: Tile,
    rows: usize,
    columns: usize,
) {
    let mut buffer = [[0.0_f32; LANES]; TILE_ROWS];
    // SAFETY: the caller grants `columns` columns of `start` and c; the buffer holds 16 of six rows.
    unsafe {
        for (row, line) in buffer.iter_mut().enumerate().take(rows) {
            let start = tile.start.add(row * tile.start_stride);
            std::ptr::copy_nonoverlapping(start, line.as_mut_ptr(), columns);
        }
        let (start, c) = (buffer.as_ptr().cast(), buffer.as_mut_ptr().cast());
        let inside = Tile { start, start_stride: LANES, c, c_stride: LANES, ..tile };
        with_rows::<L, N, 1, TRANSPOSED>(lanes, inside, rows);
        for (row, line) in buffer.iter().enumerate().take(rows) {
            let c = tile.c.add(row * tile.c_stride);
            std::ptr::copy_nonoverlapping(line.as_ptr(), c, columns);
        }
    }
}

/// Chooses the tile compiled for a number of rows.
///
/// # Safety
/// As for `compute`, with `VECTORS`·16 columns.
#[inline(always)]
unsafe fn with_rows<L: Lanes, N: Numbers, const VECTORS: usize, const TRANSPOSED: bool>(
    lanes: L,
    tile: Tile,
    rows: usize,
) {
    // SAFETY: granted by the caller.
    unsafe {
        match rows {
            1 => chains::<L, N, 1, VECTORS, TRANSPOSED>(lanes, tile),
            2 => chains::<L, N, 2, VECTORS, TRANSPOSED>(lanes, tile),
            3 => chains::<L, N, 3, VECTORS, TRANSPOSED>(lanes, tile),
            4 => chains::<L, N, 4, VECTORS, TRANSPOSED>(lanes, tile),
            5 => chains::<L, N, 5, VECTORS, TRANSPOSED>(lanes, tile),
            _ => chains::<L, N, 6, VECTORS, TRANSPOSED>(lanes, tile),
        }
    }
}

/// The inner loop: `ROWS`·`VECTORS` registers of chains.
///
/// # Safety
/// As for `compute`, with `ROWS` rows and `VECTORS`·16 columns.
#[inline(always)]
unsafe fn chains<
    L: Lanes,
    N: Numbers,
    const ROWS: usize,
    const VECTORS: usize,
    const TRANSPOSED: bool,
>(
    lanes: L,
    tile: Tile,
) {
    // SAFETY: every address is inside the tile that the caller grants.
    unsafe {
        let mut sums = [[lanes.zero(); VECTORS]; ROWS];
        for row in 0..ROWS {
            for v in 0..VECTORS {
                sums[row][v] = lanes.load(tile.start.add(row * tile.start_stride + v * LANES));
            }
        }
        let (mut a, mut b) = (tile.a, tile.b);
        for _ in 0..tile.depth {
            let mut columns = [lanes.zero(); VECTORS];
            for v in 0..VECTORS {
                columns[v] = lanes.load(b.add(v * LANES));
            }
            for row in 0..ROWS {
                let offset = if TRANSPOSED { row } else { row * tile.a_stride };
                let factor = lanes.splat(*a.add(offset));
                for v in 0..VECTORS {
                    sums[row][v] = N::fma(lanes, factor, columns[v], sums[row][v]);
                }
            }
            a = a.add(if TRANSPOSED { tile.a_stride } else { 1 });
            b = b.add(tile.b_stride);
        }
        for row in 0..ROWS {
            for v in 0..VECTORS {
                lanes.store(tile.c.add(row * tile.c_stride + v * LANES), sums[row][v]);
            }
        }
    }
}
