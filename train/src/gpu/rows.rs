//! What is neither product nor attention: `kernels/rows.cu`, one function a kernel. All is bound by memory.

use burn::tensor::{DType, Shape};
use cubecl::server::Handle;

use super::launch::{Held, Kernel, empty};
use super::products::dims;

const SOURCE: &str = include_str!("kernels/rows.cu");

/// Blocks that fill a GPU a few times.
const BLOCKS: usize = 528;
/// Entries of an embedding table up to which each has a block of its own.
const SMALL_TABLE: usize = 1024;
/// Numbers of an embedding's gradient that are summed in parts, at most.
const TABLE_PARTS: usize = 1 << 25;

/// A launch of a kernel of the source.
fn launch(
    entry: &'static str,
    macros: &[(&'static str, usize)],
    grid: [usize; 4],
    buffers: &[&Handle],
    near: &Held,
) {
    launch_scaled(entry, macros, None, grid, buffers, near);
}

/// The same of one that multiplies by a number.
fn launch_scaled(
    entry: &'static str,
    macros: &[(&'static str, usize)],
    scale: Option<f64>,
    [threads, x, y, z]: [usize; 4],
    buffers: &[&Handle],
    near: &Held,
) {
    let mut macros: Vec<_> = macros.iter().map(|(name, value)| (*name, *value as f64)).collect();
    macros.extend(scale.map(|scale| ("SCALE", scale)));
    let kernel = Kernel { source: SOURCE, entry, macros: &macros, threads, shared: 0 };
    kernel.launch([x, y, z], buffers, &[], near);
}

/// The macros and blocks of a kernel whose groups of lanes have whole rows.
fn of_rows([rows, width]: [usize; 2]) -> ([(&'static str, usize); 2], usize) {
    let a_block = match width {
        0..=32 => 128,
        33..=64 => 64,
        65..=128 => 32,
        129..=384 => 16,
        _ => 8,
    };
    ([("ROWS", rows), ("WIDTH", width)], rows.div_ceil(a_block))
}

/// RMS norm of rows f32 [rows, width], without scale, in bf16 or f32.
pub(super) fn normalize(x: &Held, dtype: DType) -> Held {
    let out = empty(dims(x), dtype, x);
    let entry = if dtype == DType::BF16 { "normalize" } else { "normalize_single" };
    let (macros, blocks) = of_rows(dims(x));
    launch(entry, &macros, [256, blocks, 1, 1], &[&x.handle, &out.handle], x);
    out
}

/// The gradient of x [rows, width] from its norm's, in bf16, plus that of the stream that goes on beside it, f32.
pub(super) fn normalize_backward(x: &Held, upstream: &Held, gradient: &Held) -> Held {
    let out = empty(dims(x), DType::F32, x);
    let (macros, blocks) = of_rows(dims(x));
    let buffers = [x, upstream, gradient, &out].map(|held| &held.handle);
    launch("normalize_backward", &macros, [256, blocks, 1, 1], &buffers, x);
    out
}

/// The gradient of x [rows, width] from its norm's, all in f32.
pub(super) fn normalize_single_backward(x: &Held, upstream: &Held) -> Held {
    let out = empty(dims(x), DType::F32, x);
    let (macros, blocks) = of_rows(dims(x));
    let buffers = [x, upstream, &out].map(|held| &held.handle);
    launch("normalize_single_backward", &macros, [256, blocks, 1, 1], &buffers, x);
    out
}

/// Causal convolution of each column of sequences of `time` rows.
pub(super) fn convolve(time: usize, x: &Held, taps: &Held) -> Held {
    let [rows, width] = dims(x);
    let out = empty([rows, width], DType::F32, x);
    let macros = [("ROWS", rows), ("WIDTH", width), ("TIME", time)];
    let blocks = (rows.div_ceil(16) * (width / 4)).div_ceil(128);
    let buffers = [x, taps, &out].map(|held| &held.handle);
    launch("convolve", &macros, [128, blocks, 1, 1], &buffers, x);
    out
}

/// Gradients of its x and of its taps.
pub(super) fn convolve_backward(
    time: usize,
    x: &Held,
    taps: &Held,
    gradient: &Held,
) -> (Held, Held) {
    let [rows, width] = dims(x);
    let out = empty([rows, width], DType::F32, x);
    let parts = BLOCKS.min(rows.div_ceil(16));
    let sums = empty([parts, 4 * width], DType::F32, x);
    let macros = [("ROWS", rows), ("WIDTH", width), ("TIME", time), ("PARTS", parts)];
    let buffers = [x, taps, gradient, &out, &sums].map(|held| &held.handle);
    launch("convolve_backward", &macros, [256, parts, width.div_ceil(256), 1], &buffers, x);
    (out, sum_parts(&sums.handle, parts, [4 * width], x))
}

/// x in bf16.
pub(super) fn round(x: &Held) -> Held {
    let out = empty(x.meta.shape().clone(), DType::BF16, x);
    let count = x.meta.shape().num_elements();
    let blocks = count.div_ceil(2048);
    launch("round_to_bf16", &[("COUNT", count)], [256, blocks, 1, 1], &[&x.handle, &out.handle], x);
    out
}

/// The same where it is f32; what is bf16 stays as it is.
pub(super) fn half(x: &Held) -> Held {
    if x.dtype == DType::BF16 { x.clone() } else { round(x) }
}

/// Rows of a table f32 [entries, width] for tokens [rows], times `scale`.
pub(super) fn embed(table: &Held, tokens: &Held, scale: f64) -> Held {
    let (rows, width) = (tokens.meta.shape().num_elements(), dims(table)[1]);
    let out = empty([rows, width], DType::F32, table);
    let (macros, blocks) = of_rows([rows, width]);
    let buffers = [table, tokens, &out].map(|held| &held.handle);
    launch_scaled("embed", &macros, Some(scale), [256, blocks, 1, 1], &buffers, table);
    out
}

/// The gradient of an embedding table of so many entries: sums of rows f32 [rows, width] by their tokens, times `scale`.
pub(super) fn table_gradient(entries: usize, tokens: &Held, gradient: &Held, scale: f64) -> Held {
    let [rows, width] = dims(gradient);
    let a_block = if entries <= SMALL_TABLE { 1 } else { 16 };
    let threads = if a_block == 1 { 256 } else { 128 };
    let parts = (TABLE_PARTS / (entries * width)).clamp(1, 32).min(rows.div_ceil(2048)).max(1);
    let sums = empty([parts, entries, width], DType::F32, gradient);
    let macros = [
        ("ROWS", rows),
        ("WIDTH", width),
        ("VOCABULARY", entries),
        ("ENTRIES", a_block),
        ("PARTS", parts),
    ];
    let grid = [threads, entries.div_ceil(a_block), parts, width.div_ceil(4 * threads)];
    let buffers = [tokens, gradient, &sums].map(|held| &held.handle);
    launch_scaled("table_gradient", &macros, Some(scale), grid, &buffers, gradient);
    sum_parts(&sums.handle, parts, [entries, width], gradient)
}

/// Sums of the columns of x [rows, width] in bf16.
pub(super) fn column_sums(x: &Held) -> Held {
    let [rows, width] = dims(x);
    let parts = BLOCKS.min(rows.div_ceil(64));
    let sums = empty([parts, width], DType::F32, x);
    let piece = [8, 4, 2].into_iter().find(|piece| width.is_multiple_of(*piece)).unwrap_or(1);
    let macros = [("ROWS", rows), ("WIDTH", width), ("PARTS", parts)];
    let grid = [256, parts, (width / piece).div_ceil(64), 1];
    launch("column_sums", &macros, grid, &[&x.handle, &sums.handle], x);
    sum_parts(&sums.handle, parts, [width], x)
}

/// Sums over the parts, in their order, f32: [parts, …shape] → shape.
pub(super) fn sum_parts(
    parts: &Handle,
    count: usize,
    shape: impl Into<Shape>,
    near: &Held,
) -> Held {
    let out = empty(shape, DType::F32, near);
    let numbers = out.meta.shape().num_elements();
    let groups = match count {
        0..16 => 1,
        16..64 => 4,
        _ => 16,
    };
    let piece = if numbers.is_multiple_of(4) { 4 } else { 1 };
    let blocks = numbers.div_ceil(256 / groups * piece);
    let macros = [("COUNT", numbers), ("PARTS", count)];
    launch("sum_parts", &macros, [256, blocks, 1, 1], &[parts, &out.handle], near);
    out
}
