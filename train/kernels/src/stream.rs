//! Operations on the residual stream between blocks: mixing two streams with learned weights, and short causal
//! convolutions along time, separately for each column.

use super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::level::{self, Level};
use super::parallel::{self, Shared};
use rayon::prelude::*;

/// Tokens that a convolution sees: this one and the three before it.
pub const TAPS: usize = 4;
/// Numbers in a block of a sum over all rows: blocks are summed in order, whoever computes them.
const SUM_BLOCK: usize = 1 << 15;

/// y = a·x + b·other, for weights [a, b].
pub fn mix([a, b]: [f32; 2], x: &[f32], other: &[f32], y: &mut [f32]) {
    assert!(x.len() == y.len() && other.len() == y.len(), "streams of one length");
    let (level, shared) = (level::current(), Shared::new(y));
    parallel::for_pieces(x.len().div_ceil(LANES), x.len(), |piece| {
        let range = piece.start * LANES..x.len().min(piece.end * LANES);
        // SAFETY: pieces are disjoint ranges.
        let y = unsafe { shared.part(range.start, range.len()) };
        y.copy_from_slice(&x[range.clone()]);
        dispatch(level, Mix { weights: [a, b], other: &other[range], x: y });
    });
}

/// x = a·x + b·other on this thread, for weights [a, b].
pub fn mix_rows(level: Level, weights: [f32; 2], other: &[f32], x: &mut [f32]) {
    assert_eq!(other.len(), x.len(), "streams of one length");
    dispatch(level, Mix { weights, other, x });
}

/// The gradient of [`mix`]'s weights for upstream dy: Σ x·dy and Σ other·dy. Those of x and other are a·dy and b·dy.
pub fn mix_backward(x: &[f32], other: &[f32], dy: &[f32]) -> [f32; 2] {
    [x, other].map(|stream| product_sum(stream, dy) as f32)
}

/// Σ a·b, whose products are exact in `f64`: 16 lanes and a fixed tree in a block, blocks in index order.
fn product_sum(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let blocks: Vec<f64> = if a.len() > 4 * SUM_BLOCK && parallel::threads() > 1 {
        let pairs = a.par_chunks(SUM_BLOCK).zip(b.par_chunks(SUM_BLOCK));
        pairs.map(|(a, b)| block_sum(a, b)).collect()
    } else {
        let pairs = a.chunks(SUM_BLOCK).zip(b.chunks(SUM_BLOCK));
        pairs.map(|(a, b)| block_sum(a, b)).collect()
    };
    blocks.iter().sum()
}

fn block_sum(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += f64::from(*a) * f64::from(*b);
        }
    }
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

struct Mix<'a> {
    weights: [f32; 2],
    other: &'a [f32],
    x: &'a mut [f32],
}

impl Kernel for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let [a, b] = self.weights.map(|weight| lanes.splat(weight));
        for (x, other) in self.x.chunks_mut(LANES).zip(self.other.chunks(LANES)) {
            let own = lanes.mul(a, lanes.load_slice(x, 0.0));
            lanes.store_slice(x, lanes.fma(b, lanes.load_slice(other, 0.0), own));
        }
    }
}

/// `y[t] = Σ w[k] · x[t − k]` for each column, k from 0 to 3, of sequences of `time` rows: x and y [rows, width], weights
/// [4, width]. What lies before a sequence is 0.
pub fn convolution(time: usize, weights: &[f32], x: &[f32], y: &mut [f32]) {
    let width = check(time, weights, x);
    assert_eq!(y.len(), x.len(), "y");
    let (level, shared) = (level::current(), Shared::new(y));
    let sequences = x.len() / (time * width);
    let groups = width.div_ceil(LANES);
    // A task has some columns of one sequence.
    parallel::for_each(sequences * groups, TAPS * x.len(), |task| {
        let (start, column) = (task / groups * time * width, task % groups * LANES);
        let columns = column..width.min(column + LANES);
        let call = Columns { width, columns, weights, backward: false };
        dispatch(level, Along { call, time, from: &x[start..], to: (shared, start) });
    });
}

/// The gradient of [`convolution`]'s x for upstream dy, and of its weights.
pub fn convolution_backward(
    time: usize,
    weights: &[f32],
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dweights: &mut [f32],
) {
    let width = check(time, weights, x);
    assert!(dy.len() == x.len() && dx.len() == x.len(), "dy and dx");
    assert_eq!(dweights.len(), weights.len(), "dweights");
    let (level, dx, dweights) = (level::current(), Shared::new(dx), Shared::new(dweights));
    let sequences = x.len() / (time * width);
    let groups = width.div_ceil(LANES);
    parallel::for_each(sequences * groups, TAPS * x.len(), |task| {
        let (start, column) = (task / groups * time * width, task % groups * LANES);
        let columns = column..width.min(column + LANES);
        let call = Columns { width, columns, weights, backward: true };
        dispatch(level, Along { call, time, from: &dy[start..], to: (dx, start) });
    });
    parallel::for_each(groups, TAPS * x.len(), |group| {
        let columns = group * LANES..width.min((group + 1) * LANES);
        dispatch(level, WeightSums { width, columns, time, x, dy, dweights });
    });
}

/// Asserts the lengths of weights [4, width] and x [rows, width]; gives the width.
fn check(time: usize, weights: &[f32], x: &[f32]) -> usize {
    let width = weights.len() / TAPS;
    assert!(width > 0 && weights.len() == TAPS * width, "weights [{TAPS}, width]");
    assert!(time > 0 && x.len().is_multiple_of(time * width), "x [sequences, {time}, {width}]");
    width
}

/// Some columns, at most sixteen, of a convolution.
struct Columns<'a> {
    width: usize,
    columns: std::ops::Range<usize>,
    weights: &'a [f32],
    /// Whether rows come from the last to the first, as gradients do.
    backward: bool,
}

/// A convolution along one sequence.
struct Along<'a> {
    call: Columns<'a>,
    time: usize,
    from: &'a [f32],
    /// And where the sequence starts.
    to: (Shared, usize),
}

impl Kernel for Along<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Along { call: Columns { width, columns, weights, backward }, time, from, to } = self;
        let taps = taps(lanes, width, &columns, weights);
        let mut before = [lanes.zero(); TAPS - 1];
        for step in 0..time {
            let row = if backward { time - 1 - step } else { step };
            let at = row * width + columns.start;
            let x = lanes.load_slice(&from[at..][..columns.len()], 0.0);
            // SAFETY: the row is one of the sequence's, and no other task has these columns.
            let y = unsafe { to.0.part(to.1 + at, columns.len()) };
            lanes.store_slice(y, tap(lanes, &taps, x, &before));
            before = [x, before[0], before[1]];
        }
    }
}

#[inline(always)]
fn taps<L: Lanes>(
    lanes: L,
    width: usize,
    columns: &std::ops::Range<usize>,
    weights: &[f32],
) -> [L::Vector; TAPS] {
    let mut taps = [lanes.zero(); TAPS];
    for (tap, row) in taps.iter_mut().zip(weights.chunks_exact(width)) {
        *tap = lanes.load_slice(&row[columns.clone()], 0.0);
    }
    taps
}

/// One row: the taps of this and the rows before it, the nearest first.
#[inline(always)]
fn tap<L: Lanes>(
    lanes: L,
    taps: &[L::Vector; TAPS],
    x: L::Vector,
    before: &[L::Vector; TAPS - 1],
) -> L::Vector {
    let mut y = lanes.mul(taps[0], x);
    for (tap, x) in taps[1..].iter().zip(before) {
        y = lanes.fma(*tap, *x, y);
    }
    y
}

/// The gradient of some columns' weights: chains over the rows in index order.
struct WeightSums<'a> {
    width: usize,
    columns: std::ops::Range<usize>,
    time: usize,
    x: &'a [f32],
    dy: &'a [f32],
    dweights: Shared,
}

impl Kernel for WeightSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let WeightSums { width, columns, time, x, dy, dweights } = self;
        let mut sums = [lanes.zero(); TAPS];
        let mut before = [lanes.zero(); TAPS - 1];
        let rows = x.chunks_exact(width).zip(dy.chunks_exact(width));
        for (row, (x, dy)) in rows.enumerate() {
            if row.is_multiple_of(time) {
                before = [lanes.zero(); TAPS - 1];
            }
            let x = lanes.load_slice(&x[columns.clone()], 0.0);
            let dy = lanes.load_slice(&dy[columns.clone()], 0.0);
            for (sum, x) in sums.iter_mut().zip([x, before[0], before[1], before[2]]) {
                *sum = lanes.fma(x, dy, *sum);
            }
            before = [x, before[0], before[1]];
        }
        for (k, sum) in sums.into_iter().enumerate() {
            // SAFETY: the columns are inside the row of this tap, and no other task has them.
            let to = unsafe { dweights.part(k * width + columns.start, columns.len()) };
            lanes.store_slice(to, sum);
        }
    }
}

/// The convolution of one sequence's next rows [count, width] in place, on this thread, for weights [4, width]; `tail`
/// [3, width] holds what came before, the nearest first, and is moved on.
pub fn convolve_rows(level: Level, weights: &[f32], tail: &mut [f32], rows: &mut [f32]) {
    let width = weights.len() / TAPS;
    assert!(width > 0 && weights.len() == TAPS * width, "weights [{TAPS}, width]");
    assert!(tail.len() == (TAPS - 1) * width && rows.len().is_multiple_of(width));
    dispatch(level, Next { width, weights, tail, rows });
}

struct Next<'a> {
    width: usize,
    weights: &'a [f32],
    tail: &'a mut [f32],
    rows: &'a mut [f32],
}

impl Kernel for Next<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Next { width, weights, tail, rows } = self;
        for first in (0..width).step_by(LANES) {
            let columns = first..width.min(first + LANES);
            let taps = taps(lanes, width, &columns, weights);
            let mut before = [lanes.zero(); TAPS - 1];
            for (before, tail) in before.iter_mut().zip(tail.chunks_exact(width)) {
                *before = lanes.load_slice(&tail[columns.clone()], 0.0);
            }
            for row in rows.chunks_exact_mut(width) {
                let row = &mut row[columns.clone()];
                let x = lanes.load_slice(row, 0.0);
                lanes.store_slice(row, tap(lanes, &taps, x, &before));
                before = [x, before[0], before[1]];
            }
            for (before, tail) in before.iter().zip(tail.chunks_exact_mut(width)) {
                lanes.store_slice(&mut tail[columns.clone()], *before);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::level::current;
    use super::super::testing::{Numbers, assert_close, assert_same_bits, bits, differences, wide};
    use super::*;

    /// y [rows, width] in `f64`.
    fn exact(time: usize, weights: &[f64], x: &[f64]) -> Vec<f64> {
        let width = weights.len() / TAPS;
        let of = |i: usize| {
            let (row, column) = (i / width, i % width);
            let taps = 0..TAPS.min(row % time + 1);
            taps.map(|k| weights[k * width + column] * x[(row - k) * width + column]).sum()
        };
        (0..x.len()).map(of).collect()
    }

    #[test]
    fn a_convolution_and_its_gradients_are_exact_to_rounding() {
        let mut numbers = Numbers::new(1);
        for (sequences, time, width) in [(1, 1, 1), (2, 5, 3), (3, 9, 20)] {
            let count = sequences * time * width;
            let (x, dy) = (numbers.uniform(count), numbers.uniform(count));
            let weights = numbers.uniform(TAPS * width);
            let (mut y, mut dx) = (vec![0.0; count], vec![0.0; count]);
            let mut dweights = vec![f32::NAN; weights.len()];
            convolution(time, &weights, &x, &mut y);
            convolution_backward(time, &weights, &x, &dy, &mut dx, &mut dweights);
            let [x, dy, weights] = [x, dy, weights].map(|values| wide(&values));
            assert_close("y", &y, &exact(time, &weights, &x), 1e-6);
            let loss = |y: Vec<f64>| y.iter().zip(&dy).map(|(y, dy)| y * dy).sum::<f64>();
            let of_x = differences(&x, |x| loss(exact(time, &weights, x)));
            let of_weights = differences(&weights, |weights| loss(exact(time, weights, &x)));
            assert_close("dx", &dx, &of_x, 1e-6);
            assert_close("dweights", &dweights, &of_weights, 1e-6);
        }
    }

    #[test]
    fn rows_one_by_one_have_the_bits_of_the_whole() {
        let mut numbers = Numbers::new(2);
        let (time, width) = (23, 40);
        let (x, weights) = (numbers.uniform(time * width), numbers.uniform(TAPS * width));
        let mut whole = vec![0.0; x.len()];
        convolution(time, &weights, &x, &mut whole);
        for sizes in [[1, 1, 1], [3, 1, 7], [23, 1, 1]] {
            let (mut rows, mut tail) = (x.clone(), vec![0.0; (TAPS - 1) * width]);
            let (mut at, mut sizes) = (0, sizes.into_iter().cycle());
            while at < time {
                let count = sizes.next().unwrap_or(1).min(time - at);
                let part = &mut rows[at * width..][..count * width];
                convolve_rows(current(), &weights, &mut tail, part);
                at += count;
            }
            assert_eq!(bits(&rows), bits(&whole));
        }
    }

    #[test]
    fn a_mix_and_its_gradients_are_exact_to_rounding() {
        let mut numbers = Numbers::new(3);
        let (x, other, dy) = (numbers.uniform(99), numbers.uniform(99), numbers.uniform(99));
        let mut y = vec![0.0; 99];
        mix([0.7, -0.2], &x, &other, &mut y);
        let [wide_x, wide_other, wide_dy] = [&x, &other, &dy].map(|values| wide(values));
        let pairs = || wide_x.iter().zip(&wide_other);
        let expected: Vec<f64> =
            pairs().map(|(x, o)| f64::from(0.7_f32) * x + f64::from(-0.2_f32) * o).collect();
        assert_close("y", &y, &expected, 1e-6);
        let mut rows = x.clone();
        mix_rows(current(), [0.7, -0.2], &other, &mut rows);
        assert_eq!(bits(&rows), bits(&y));
        let sum = |values: &[f64]| values.iter().zip(&wide_dy).map(|(x, dy)| x * dy).sum::<f64>();
        let found = mix_backward(&x, &other, &dy);
        assert_close("weights", &found, &[sum(&wide_x), sum(&wide_other)], 1e-6);
    }

    #[test]
    fn levels_and_threads_agree() {
        let mut numbers = Numbers::new(4);
        for (sequences, time, width) in [(1, 1, 1), (2, 7, 17), (3, 400, 100)] {
            let count = sequences * time * width;
            let (x, dy) = (numbers.uniform(count), numbers.uniform(count));
            let weights = numbers.uniform(TAPS * width);
            assert_same_bits("stream", || {
                let (mut y, mut dx) = (vec![0.0; count], vec![0.0; count]);
                let mut dweights = vec![0.0; weights.len()];
                convolution(time, &weights, &x, &mut y);
                convolution_backward(time, &weights, &x, &dy, &mut dx, &mut dweights);
                let mut mixed = vec![0.0; count];
                mix([0.3, 1.1], &x, &dy, &mut mixed);
                let sums = mix_backward(&x, &y, &dy).to_vec();
                [y, dx, dweights, mixed, sums].concat()
            });
        }
    }
}
