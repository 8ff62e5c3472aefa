//! Weights packed once for inference, in the precision in which they are stored, and their product with rows.
//!
//! The matrix is stored in panels of 64 columns. For few rows (decoding), numbers are converted to `f32` as they are
//! loaded; for many rows, a slice of a panel is converted once into scratch memory. In both cases each output is one
//! chain of operations in index order, starting from its bias or 0, so both give the same bits.

use super::super::aligned::{Aligned, with_scratch};
use super::super::factors::Singles;
use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level::Level;
use super::call::{After, Call};
use super::int8::Int8Matrix;
use super::tile::{PANEL, TILE_ROWS, Tile, compute};
use half::{bf16, f16};
use rayon::prelude::*;
use std::ops::Range;

/// Rows up to which widening at every load is less work than widening into scratch.
const FEW_ROWS: usize = 12;
/// Depth of a slice: its 64 columns take 32 KiB, widened.
const DEPTH_BLOCK: usize = 128;

/// How the numbers of a matrix are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackedPrecision {
    /// IEEE single precision, 4 bytes.
    Single,
    /// IEEE half precision, 2 bytes.
    Half,
    /// The upper half of a single, 2 bytes.
    Bfloat,
}

/// A matrix [inputs, outputs], and a bias \[outputs\], in panels.
#[derive(Clone)]
pub struct PackedWeights {
    inputs: usize,
    outputs: usize,
    values: Values,
    /// Filled up to whole panels.
    bias: Option<Aligned>,
}

/// The numbers of a matrix.
#[derive(Clone)]
enum Values {
    /// [panel, input, 64], the last panel filled up with zeros.
    Float(PackedPrecision, Aligned),
    /// Whole numbers, with a scale for each output.
    Int8(Int8Matrix),
}

impl PackedWeights {
    /// Packs a matrix that `column` gives output by output: the weights of that output, \[inputs\], rounded to nearest
    /// where the precision does not hold them.
    pub fn pack(
        precision: PackedPrecision,
        [inputs, outputs]: [usize; 2],
        column: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let count = outputs.div_ceil(PANEL) * inputs * PANEL;
        let halves = precision != PackedPrecision::Single;
        let mut values = Aligned::zeros(if halves { count / 2 } else { count });
        let panel_size = (inputs * PANEL).max(1);
        // The columns of a panel, each with its place in every line.
        let columns = |panel: usize, place: &mut dyn FnMut(usize, f32)| {
            let mut weights = vec![0.0; inputs];
            for (i, output) in (panel * PANEL..outputs.min((panel + 1) * PANEL)).enumerate() {
                column(output, &mut weights);
                for (k, weight) in weights.iter().enumerate() {
                    place(k * PANEL + i, *weight);
                }
            }
        };
        if halves {
            let round = match precision {
                PackedPrecision::Bfloat => |weight| bf16::from_f32(weight).to_bits(),
                _ => |weight| f16::from_f32(weight).to_bits(),
            };
            let panels = values.as_mut_halves().par_chunks_mut(panel_size);
            panels.enumerate().for_each(|(index, panel)| {
                columns(index, &mut |place, weight| panel[place] = round(weight));
            });
        } else {
            let panels = values.as_mut_slice().par_chunks_mut(panel_size);
            panels.enumerate().for_each(|(index, panel)| {
                columns(index, &mut |place, weight| panel[place] = weight);
            });
        }
        PackedWeights { inputs, outputs, values: Values::Float(precision, values), bias: None }
    }

    /// Packs a matrix of whole numbers within ±127, which are the weights once they are multiplied by their output's
    /// scale: `column` gives the numbers of an output, \[inputs\], and its scale. Rows that it is multiplied with are
    /// rounded to such numbers too ([`product`]).
    pub fn pack_int8(
        [inputs, outputs]: [usize; 2],
        column: impl Fn(usize, &mut [i8]) -> f32,
    ) -> Self {
        let values = Values::Int8(Int8Matrix::pack([inputs, outputs], column));
        PackedWeights { inputs, outputs, values, bias: None }
    }

    /// The same with a bias \[outputs\].
    pub fn with_bias(mut self, bias: &[f32]) -> Self {
        assert_eq!(bias.len(), self.outputs, "bias");
        let mut padded = Aligned::zeros(self.outputs.next_multiple_of(PANEL));
        padded.as_mut_slice()[..bias.len()].copy_from_slice(bias);
        self.bias = Some(padded);
        self
    }

    /// Columns of x.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Columns of the matrix.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of a product: the outputs, and zeros up to whole vectors.
    pub fn stride(&self) -> usize {
        self.outputs.next_multiple_of(LANES)
    }

    /// The bias, \[outputs\].
    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_ref().map(|bias| &bias.as_slice()[..self.outputs])
    }

    /// Memory that the numbers take.
    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::Float(_, values) => 4 * values.as_slice().len(),
            Values::Int8(matrix) => matrix.bytes(),
        }
    }

    /// The weights of one output, \[inputs\].
    pub fn column(&self, output: usize, into: &mut [f32]) {
        assert!(output < self.outputs && into.len() == self.inputs, "column {output}");
        let first = output / PANEL * self.inputs * PANEL + output % PANEL;
        let places = (first..).step_by(PANEL);
        match &self.values {
            Values::Float(PackedPrecision::Single, values) => {
                let values = values.as_slice();
                into.iter_mut().zip(places).for_each(|(weight, i)| *weight = values[i]);
            }
            Values::Float(PackedPrecision::Half, values) => {
                let values = values.as_halves();
                let wide = |i: usize| f16::from_bits(values[i]).to_f32();
                into.iter_mut().zip(places).for_each(|(weight, i)| *weight = wide(i));
            }
            Values::Float(PackedPrecision::Bfloat, values) => {
                let values = values.as_halves();
                let wide = |i: usize| bf16::from_bits(values[i]).to_f32();
                into.iter_mut().zip(places).for_each(|(weight, i)| *weight = wide(i));
            }
            Values::Int8(matrix) => matrix.column(output, into),
        }
    }
}

/// y [rows, stride] from x [rows, inputs]·w + bias, on this thread.
pub fn product(
    level: Level,
    rows: usize,
    x: &[f32],
    w: &PackedWeights,
    finish: After,
    y: &mut [f32],
) {
    let panels = 0..w.outputs.div_ceil(PANEL);
    product_panels(level, rows, x, w, panels, finish, [w.stride(), 0], y);
}

/// `product` of some panels; y [rows, `stride`] holds the columns from `first` on, as many as there are of both.
#[allow(clippy::too_many_arguments)] // Two matrices and the part of the third.
pub(in super::super) fn product_panels(
    level: Level,
    rows: usize,
    x: &[f32],
    w: &PackedWeights,
    panels: Range<usize>,
    finish: After,
    [stride, first]: [usize; 2],
    y: &mut [f32],
) {
    assert_eq!(x.len(), rows * w.inputs, "x [{rows}, {}]", w.inputs);
    assert_eq!(y.len(), rows * stride, "y [{rows}, {stride}]");
    assert!(panels.end <= w.outputs.div_ceil(PANEL) && first <= panels.start * PANEL);
    let (inputs, bias) = (w.inputs, w.bias.as_ref().map(Aligned::as_slice));
    let call = Call { rows, x, inputs, bias, panels, finish, stride, first, y };
    match &w.values {
        Values::Float(PackedPrecision::Single, values) => run::<Single>(call, level, values),
        Values::Float(PackedPrecision::Half, values) => run::<Half>(call, level, values),
        Values::Float(PackedPrecision::Bfloat, values) => run::<Bfloat>(call, level, values),
        Values::Int8(matrix) => matrix.product(level, call),
    }
}

/// Chooses how rows are multiplied by stored numbers.
fn run<E: Element>(call: Call<'_>, level: Level, values: &Aligned) {
    let values = E::of(values);
    if call.rows <= FEW_ROWS {
        return dispatch(level, FewRows::<E> { call, values });
    }
    let sums = call.rows * PANEL;
    with_scratch([DEPTH_BLOCK * PANEL, sums], |[slice, sums]| {
        dispatch(level, ManyRows::<E> { call, values, slice, sums });
    });
}

/// A stored number, and how sixteen of them are widened.
trait Element: 'static {
    type Stored: Copy;
    /// # Safety
    /// `from` must be valid for reading sixteen.
    unsafe fn load<L: Lanes>(lanes: L, from: *const Self::Stored) -> L::Vector;
    /// All stored numbers.
    fn of(values: &Aligned) -> &[Self::Stored];
    /// The same where they are `f32` already.
    fn singles(_values: &[Self::Stored]) -> Option<&[f32]> {
        None
    }
}

struct Single;
struct Half;
struct Bfloat;

impl Element for Single {
    type Stored = f32;

    #[inline(always)]
    unsafe fn load<L: Lanes>(lanes: L, from: *const f32) -> L::Vector {
        // SAFETY: granted by the caller.
        unsafe { lanes.load(from) }
    }

    fn of(values: &Aligned) -> &[f32] {
        values.as_slice()
    }

    fn singles(values: &[f32]) -> Option<&[f32]> {
        Some(values)
    }
}

impl Element for Half {
    type Stored = u16;

    #[inline(always)]
    unsafe fn load<L: Lanes>(lanes: L, from: *const u16) -> L::Vector {
        // SAFETY: granted by the caller.
        unsafe { lanes.load_half(from) }
    }

    fn of(values: &Aligned) -> &[u16] {
        values.as_halves()
    }
}

impl Element for Bfloat {
    type Stored = u16;

    #[inline(always)]
    unsafe fn load<L: Lanes>(lanes: L, from: *const u16) -> L::Vector {
        // SAFETY: granted by the caller.
        unsafe { lanes.load_bfloat(from) }
    }

    fn of(values: &Aligned) -> &[u16] {
        values.as_halves()
    }
}

/// Many rows: a slice of a panel at a time, widened, against all of them.
struct ManyRows<'a, E: Element> {
    call: Call<'a>,
    values: &'a [E::Stored],
    /// [128, 64].
    slice: &'a mut [f32],
    /// [rows, 64].
    sums: &'a mut [f32],
}

impl<E: Element> Kernel for ManyRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let depth = self.call.inputs;
        for panel in self.call.panels.clone() {
            for first in (0..depth.max(1)).step_by(DEPTH_BLOCK) {
                let count = DEPTH_BLOCK.min(depth - first);
                let start = (panel * depth + first) * PANEL;
                let stored = &self.values[start..][..count * PANEL];
                let slice = match E::singles(stored) {
                    Some(slice) => slice,
                    None => {
                        for (i, to) in
                            self.slice[..stored.len()].chunks_exact_mut(LANES).enumerate()
                        {
                            // SAFETY: `stored` has as many numbers as there are places.
                            let wide = unsafe { E::load(lanes, stored.as_ptr().add(i * LANES)) };
                            lanes.store_slice(to, wide);
                        }
                        &self.slice[..stored.len()]
                    }
                };
                slice_of_panel(lanes, &mut self.call, panel, first, slice, self.sums);
            }
        }
    }
}

/// Adds a slice's products to the sums of all rows; the last slice finishes them.
#[inline(always)]
fn slice_of_panel<L: Lanes>(
    lanes: L,
    call: &mut Call<'_>,
    panel: usize,
    first: usize,
    slice: &[f32],
    sums: &mut [f32],
) {
    let depth = call.inputs;
    let last = first + slice.len() / PANEL == depth;
    let columns = call.columns(panel);
    for row in (0..call.rows).step_by(TILE_ROWS) {
        let rows = TILE_ROWS.min(call.rows - row);
        let sums = &mut sums[row * PANEL..][..rows * PANEL];
        let (start, start_stride) =
            if first == 0 { (call.start(panel), 0) } else { (sums.as_ptr(), PANEL) };
        let tile = Tile {
            depth: slice.len() / PANEL,
            a: call.x[row * depth + first..].as_ptr(),
            a_stride: depth,
            b: slice.as_ptr(),
            b_stride: PANEL,
            start,
            start_stride,
            c: sums.as_mut_ptr(),
            c_stride: PANEL,
        };
        // SAFETY: x holds the rows, the slice its depth of whole panels, `start` a panel or the sums, which hold
        // the rows; nobody else has them.
        unsafe {
            compute::<L, Singles, false>(lanes, tile, rows, columns.len().next_multiple_of(LANES))
        };
        if last {
            for (i, sums) in sums.chunks_exact(PANEL).enumerate() {
                call.finish(lanes, row + i, columns.clone(), sums);
            }
        }
    }
}

/// A few rows: numbers are widened as they are loaded.
struct FewRows<'a, E: Element> {
    call: Call<'a>,
    values: &'a [E::Stored],
}

impl<E: Element> Kernel for FewRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self { mut call, values } = self;
        let mut sums = [0.0_f32; 4 * PANEL];
        for panel in call.panels.clone() {
            let columns = call.columns(panel);
            let mut row = 0;
            while row < call.rows {
                let rows = 4.min(call.rows - row);
                // Whole panels are there, whatever columns of them count.
                for first in (0..columns.len()).step_by(if L::WIDE { PANEL } else { LANES }) {
                    few::<L, E>(lanes, &call, values, panel, [row, rows], first, &mut sums);
                }
                for (i, sums) in sums.chunks_exact(PANEL).enumerate().take(rows) {
                    call.finish(lanes, row + i, columns.clone(), sums);
                }
                row += rows;
            }
        }
    }
}

/// Chooses the chains compiled for a number of rows.
#[inline(always)]
fn few<L: Lanes, E: Element>(
    lanes: L,
    call: &Call<'_>,
    values: &[E::Stored],
    panel: usize,
    [row, rows]: [usize; 2],
    first: usize,
    sums: &mut [f32; 4 * PANEL],
) {
    match (L::WIDE, rows) {
        (true, 1) => few_rows::<L, E, 1, 4>(lanes, call, values, panel, row, first, sums),
        (true, 2) => few_rows::<L, E, 2, 4>(lanes, call, values, panel, row, first, sums),
        (true, 3) => few_rows::<L, E, 3, 4>(lanes, call, values, panel, row, first, sums),
        (true, _) => few_rows::<L, E, 4, 4>(lanes, call, values, panel, row, first, sums),
        (false, 1) => few_rows::<L, E, 1, 1>(lanes, call, values, panel, row, first, sums),
        (false, 2) => few_rows::<L, E, 2, 1>(lanes, call, values, panel, row, first, sums),
        (false, 3) => few_rows::<L, E, 3, 1>(lanes, call, values, panel, row, first, sums),
        (false, _) => few_rows::<L, E, 4, 1>(lanes, call, values, panel, row, first, sums),
    }
}

/// `ROWS`·`VECTORS` registers of chains, into the sums.
#[inline(always)]
fn few_rows<L: Lanes, E: Element, const ROWS: usize, const VECTORS: usize>(
    lanes: L,
    call: &Call<'_>,
    values: &[E::Stored],
    panel: usize,
    row: usize,
    first: usize,
    sums: &mut [f32; 4 * PANEL],
) {
    let depth = call.inputs;
    let stored = &values[panel * depth * PANEL..][..depth * PANEL];
    let x = &call.x[row * depth..][..ROWS * depth];
    assert!(first + VECTORS * LANES <= PANEL && ROWS <= 4);
    // SAFETY: the rows of x, the panel, its start and the sums are as long as this, as the slices and the assertion
    // show.
    unsafe {
        let start = call.start(panel).add(first);
        let mut chains = [[lanes.zero(); VECTORS]; ROWS];
        for v in 0..VECTORS {
            let start = lanes.load(start.add(v * LANES));
            for chain in &mut chains {
                chain[v] = start;
            }
        }
        let mut line = stored.as_ptr().wrapping_add(first);
        for k in 0..depth {
            let mut weights = [lanes.zero(); VECTORS];
            for v in 0..VECTORS {
                weights[v] = E::load(lanes, line.add(v * LANES));
            }
            for r in 0..ROWS {
                let factor = lanes.splat(*x.get_unchecked(r * depth + k));
                for v in 0..VECTORS {
                    chains[r][v] = lanes.fma(factor, weights[v], chains[r][v]);
                }
            }
            line = line.wrapping_add(PANEL);
        }
        for r in 0..ROWS {
            for v in 0..VECTORS {
                let to = sums.as_mut_ptr().add(r * PANEL + first + v * LANES);
                lanes.store(to, chains[r][v]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::gate::Gate;
    use super::super::super::level::current;
    use super::super::super::testing::{Numbers, assert_same_bits, bits};
    use super::*;

    fn packed(
        precision: PackedPrecision,
        w: &[f32],
        inputs: usize,
        outputs: usize,
    ) -> PackedWeights {
        PackedWeights::pack(precision, [inputs, outputs], |output, column| {
            column.iter_mut().enumerate().for_each(|(i, weight)| *weight = w[i * outputs + output]);
        })
    }

    #[test]
    fn products_are_chains_of_the_rounded_weights() {
        let mut numbers = Numbers::new(1);
        for precision in [PackedPrecision::Single, PackedPrecision::Half, PackedPrecision::Bfloat] {
            for [rows, inputs, outputs] in [
                [1, 16, 16],
                [3, 48, 70],
                [7, 300, 64],
                [12, 16, 257],
                [13, 64, 40],
                [50, 400, 130],
            ] {
                let w = numbers.uniform(inputs * outputs);
                let (x, bias) = (numbers.uniform(rows * inputs), numbers.uniform(outputs));
                let packed = packed(precision, &w, inputs, outputs).with_bias(&bias);
                let stride = packed.stride();
                let mut y = vec![f32::NAN; rows * stride];
                product(current(), rows, &x, &packed, After::Plain, &mut y);
                let mut column = vec![0.0; inputs];
                for output in 0..outputs {
                    packed.column(output, &mut column);
                    for (k, weight) in column.iter().enumerate() {
                        let (error, w) = ((weight - w[k * outputs + output]).abs(), weight.abs());
                        let limit = match precision {
                            PackedPrecision::Single => 0.0,
                            PackedPrecision::Half => w / 2048.0 + 3e-8,
                            PackedPrecision::Bfloat => w / 256.0,
                        };
                        assert!(error <= limit, "{precision:?} {weight}");
                    }
                    for row in 0..rows {
                        let terms = x[row * inputs..][..inputs].iter().zip(&column);
                        let chain = terms.fold(bias[output], |sum, (x, w)| x.mul_add(*w, sum));
                        assert_eq!(y[row * stride + output].to_bits(), chain.to_bits());
                    }
                }
                assert!((0..rows).all(|row| {
                    y[row * stride + outputs..(row + 1) * stride]
                        .iter()
                        .all(|filled| *filled == 0.0)
                }));
            }
        }
    }

    #[test]
    fn finishes_follow_the_plain_product_at_every_level() {
        let mut numbers = Numbers::new(2);
        for (rows, inputs, outputs) in [(2, 32, 80), (40, 200, 64)] {
            let (w, x) = (numbers.uniform(inputs * outputs), numbers.uniform(rows * inputs));
            let before = numbers.uniform(rows * outputs);
            let packed = packed(PackedPrecision::Half, &w, inputs, outputs);
            let run = |finish| {
                let mut y = before.clone();
                product(current(), rows, &x, &packed, finish, &mut y);
                y
            };
            assert_same_bits("product", || {
                [After::Plain, After::Add, After::Gate(Gate::Silu), After::Multiply(Gate::Silu)]
                    .map(run)
                    .concat()
            });
            let (plain, added) = (run(After::Plain), run(After::Add));
            let expected: Vec<f32> = before.iter().zip(&plain).map(|(b, p)| b + p).collect();
            assert_eq!(bits(&added), bits(&expected));
            let squared = run(After::Multiply(Gate::ReluSquared));
            let gated = |b: f32| b.max(0.0) * b.max(0.0);
            let expected: Vec<f32> =
                before.iter().zip(&plain).map(|(b, p)| gated(*b) * p).collect();
            assert_eq!(bits(&squared), bits(&expected));
        }
    }
}
