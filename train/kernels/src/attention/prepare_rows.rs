//! Preparing queries, keys and values in inference: norms, scales, rotation, and rounding to the format of the KV cache
//! (see `heads`).

use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level::Level;
use super::heads::{
    AttentionHeads, HeadNorm, HeldAs, LARGEST_KEY, LARGEST_VALUE, LEAST_EXPONENTS, NormOf,
    RotaryTable, VALUE_FACTOR, bound, round_bytes,
};

/// Prepares rows [rows, heads.row()] of queries, keys and values in place, on this thread. Row i is for position
/// `first + i % period`.
pub fn prepare_rows(
    level: Level,
    heads: &AttentionHeads,
    rotary: Option<&RotaryTable>,
    [first, period]: [usize; 2],
    rows: &mut [f32],
) {
    heads.check();
    assert!(rows.len().is_multiple_of(heads.row()), "rows [.., {}]", heads.row());
    let last = first + (rows.len() / heads.row()).min(period);
    let fits = |table: &RotaryTable| table.dims == heads.dims && table.positions() >= last;
    assert!(rotary.is_none_or(fits), "the rotary table ends before position {last}");
    dispatch(level, Prepare { heads, rotary, first, period, rows });
}

struct Prepare<'a> {
    heads: &'a AttentionHeads,
    rotary: Option<&'a RotaryTable>,
    first: usize,
    period: usize,
    rows: &'a mut [f32],
}

impl Kernel for Prepare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let heads = self.heads;
        let (dims, queries) = (heads.dims, heads.heads * heads.dims);
        let keys = queries + heads.key_heads * dims;
        for (i, row) in self.rows.chunks_exact_mut(heads.row()).enumerate() {
            let position = self.first + i % self.period;
            let angles = self
                .rotary
                .map(|table| &table.values.as_slice()[position * 2 * dims..][..2 * dims]);
            let (prepared, values) = row.split_at_mut(keys);
            let scales =
                heads.query_scale.chunks_exact(dims).chain(heads.key_scale.chunks_exact(dims));
            let mut factors = [None; 2];
            if let Some(HeadNorm { of: NormOf::AllHeads, dimensions, epsilon }) = heads.norm {
                let (queries, keys) = prepared.split_at(queries);
                for (factor, all) in factors.iter_mut().zip([queries, keys]) {
                    let count = all.len() / dims * dimensions;
                    *factor = Some(inverse(lanes, all, count, 0.0, epsilon));
                }
            }
            for (index, (head, scale)) in prepared.chunks_exact_mut(dims).zip(scales).enumerate() {
                let factor = factors[usize::from(index >= heads.heads)];
                prepare(lanes, heads.norm, factor, scale, angles, head);
            }
            let (queries, keys) = prepared.split_at_mut(queries);
            match heads.held {
                HeldAs::Singles => {}
                HeldAs::Halves => {
                    for part in [keys, values].into_iter().flat_map(|x| x.chunks_exact_mut(LANES)) {
                        lanes.store_slice(part, lanes.round_half(lanes.load_slice(part, 0.0)));
                    }
                }
                HeldAs::Bytes => {
                    for head in queries.chunks_exact_mut(dims).chain(keys.chunks_exact_mut(dims)) {
                        bound(lanes, LARGEST_KEY, 1.0, head);
                        round_bytes(lanes, LEAST_EXPONENTS[0], head);
                    }
                    for head in values.chunks_exact_mut(dims) {
                        bound(lanes, LARGEST_VALUE, VALUE_FACTOR, head);
                        round_bytes(lanes, LEAST_EXPONENTS[1], head);
                    }
                }
            }
        }
    }
}

/// 1/√(mean square + ε) of `count` numbers, whose squares have a sum that is too large by `surplus`.
#[inline(always)]
fn inverse<L: Lanes>(lanes: L, numbers: &[f32], count: usize, surplus: f32, epsilon: f32) -> f32 {
    let mut squares = lanes.zero();
    for part in numbers.chunks_exact(LANES) {
        let x = lanes.load_slice(part, 0.0);
        squares = lanes.fma(x, x, squares);
    }
    let mean = (lanes.sum(squares) - surplus) / count as f32;
    1.0 / (mean + epsilon).sqrt()
}

/// Takes their mean away from a head's numbers. Where the head is filled up, that leaves the negated mean: gives the
/// sum of the squares of those.
#[inline(always)]
fn centre<L: Lanes>(lanes: L, dimensions: usize, head: &mut [f32]) -> f32 {
    let mut sum = lanes.zero();
    for part in head.chunks_exact(LANES) {
        sum = lanes.add(sum, lanes.load_slice(part, 0.0));
    }
    let mean = lanes.sum(sum) / dimensions as f32;
    for part in head.chunks_exact_mut(LANES) {
        let x = lanes.load_slice(part, 0.0);
        lanes.store_slice(part, lanes.sub(x, lanes.splat(mean)));
    }
    (head.len() - dimensions) as f32 * (mean * mean)
}

/// Norms, scales and rotates one head of one token; by `factor`, where that is known already.
#[inline(always)]
fn prepare<L: Lanes>(
    lanes: L,
    norm: Option<HeadNorm>,
    factor: Option<f32>,
    scale: &[f32],
    angles: Option<&[f32]>,
    head: &mut [f32],
) {
    let dims = head.len();
    let factor = match (norm, factor) {
        (_, Some(factor)) => factor,
        (None, None) => 1.0,
        (Some(norm), None) => {
            let centred = norm.of == NormOf::CentredHead;
            let surplus = if centred { centre(lanes, norm.dimensions, head) } else { 0.0 };
            inverse(lanes, head, norm.dimensions, surplus, norm.epsilon)
        }
    };
    let factor = lanes.splat(factor);
    for (i, part) in head.chunks_exact_mut(LANES).enumerate() {
        let at = i * LANES;
        let scaled = lanes.mul(lanes.load_slice(part, 0.0), factor);
        let mut x = lanes.mul(scaled, lanes.load_slice(&scale[at..], 0.0));
        if let Some(angles) = angles {
            let turned =
                lanes.mul(lanes.swap_halves(x), lanes.load_slice(&angles[dims + at..], 0.0));
            x = lanes.fma(x, lanes.load_slice(&angles[at..], 0.0), turned);
        }
        lanes.store_slice(part, x);
    }
}
