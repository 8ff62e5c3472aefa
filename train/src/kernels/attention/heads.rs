//! The attention of inference: its shape, and what happens to queries, keys and values before they meet.
//!
//! A token's row holds its queries [heads, dims], keys [key heads, dims] and values [key heads, dims]. Queries and
//! keys are normed if the network norms them, scaled and rotated; keys and values are then rounded to half
//! precision, so that a cache can hold them in half the memory and a whole pass sees the same numbers.
//!
//! `dims` is a multiple of 16: a head of fewer dimensions is filled up with zeros, which changes nothing. Rotation
//! pairs dimensions i and i + 8 of each sixteen; whoever packs weights puts them there (scores do not depend on the
//! order of dimensions). Pairs that are not rotated have the frequency 0.

use super::super::aligned::Aligned;
use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level::Level;
use super::super::math::LOG2_E;
use super::rotary::sine_cosine;

/// The shape of a network's attention layers, and one layer's scales.
#[derive(Clone, Debug)]
pub struct AttentionHeads {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values, each for `heads / key_heads` neighbouring heads of queries.
    pub key_heads: usize,
    /// Numbers of a head, filled up to a multiple of 16.
    pub dims: usize,
    /// Norm of each query and key: the dimensions that count, and ε.
    pub norm: Option<(usize, f32)>,
    /// [heads, dims]: what queries are multiplied by, the factor of the scores included.
    pub query_scale: Vec<f32>,
    /// [key_heads, dims]: what keys are multiplied by.
    pub key_scale: Vec<f32>,
    /// A token sees so many tokens, itself included, if not all before it.
    pub window: Option<usize>,
}

impl AttentionHeads {
    /// Numbers of a token's row.
    pub fn row(&self) -> usize {
        (self.heads + 2 * self.key_heads) * self.dims
    }

    /// Numbers of a token's output.
    pub fn width(&self) -> usize {
        self.heads * self.dims
    }

    /// The factor of scores that a head of so many dimensions has: soft-max is in powers of two here.
    pub fn score_scale(dimensions: usize) -> f32 {
        LOG2_E / (dimensions as f32).sqrt()
    }

    /// Whether the parts fit together.
    pub fn fits(&self) -> bool {
        let Self { heads, key_heads, dims, .. } = *self;
        let divides = dims > 0 && dims.is_multiple_of(LANES);
        let shared = key_heads > 0 && heads > 0 && heads.is_multiple_of(key_heads);
        let scales = [self.query_scale.len(), self.key_scale.len()];
        divides && shared && scales == [heads * dims, key_heads * dims] && self.window != Some(0)
    }

    /// Asserts that the parts fit together.
    pub(super) fn check(&self) {
        assert!(self.fits(), "{self:?}");
    }

    /// The first key that a token at `position` sees.
    pub(super) fn first_key(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }
}

/// Cosines and signed sines of each position, one for each dimension of a head (Su et al., "RoFormer").
#[derive(Clone)]
pub struct RotaryTable {
    dims: usize,
    /// [position, 2, dims].
    values: Aligned,
}

impl RotaryTable {
    /// For heads of 2·`frequencies` dimensions, pair p of which turns by `frequencies[p]` radians a position.
    /// Pair p is of dimensions i and i + 8 of a sixteen: those are numbered from p = 0, eight to a sixteen.
    pub fn new(frequencies: &[f64], positions: usize) -> Self {
        let dims = 2 * frequencies.len();
        assert!(dims.is_multiple_of(LANES), "frequencies: {}", frequencies.len());
        let mut values = Aligned::zeros(positions * 2 * dims);
        let rows = values.as_mut_slice().chunks_exact_mut((2 * dims).max(1));
        for (position, row) in rows.enumerate() {
            let (cosines, sines) = row.split_at_mut(dims);
            for (pair, frequency) in frequencies.iter().enumerate() {
                let (sine, cosine) = sine_cosine(position as f64 * frequency);
                let low = pair / 8 * LANES + pair % 8;
                (cosines[low], cosines[low + 8]) = (cosine as f32, cosine as f32);
                (sines[low], sines[low + 8]) = (-sine as f32, sine as f32);
            }
        }
        RotaryTable { dims, values }
    }

    /// Numbers of a head that it turns.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Positions that it has.
    pub fn positions(&self) -> usize {
        self.values.as_slice().len() / (2 * self.dims)
    }
}

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
            for (head, scale) in prepared.chunks_exact_mut(dims).zip(scales) {
                prepare(lanes, heads.norm, scale, angles, head);
            }
            for part in prepared[queries..].chunks_exact_mut(LANES) {
                lanes.store_slice(part, lanes.round_half(lanes.load_slice(part, 0.0)));
            }
            for part in values.chunks_exact_mut(LANES) {
                lanes.store_slice(part, lanes.round_half(lanes.load_slice(part, 0.0)));
            }
        }
    }
}

/// Norms, scales and rotates one head of one token.
#[inline(always)]
fn prepare<L: Lanes>(
    lanes: L,
    norm: Option<(usize, f32)>,
    scale: &[f32],
    angles: Option<&[f32]>,
    head: &mut [f32],
) {
    let dims = head.len();
    let mut factor = lanes.splat(1.0);
    if let Some((dimensions, epsilon)) = norm {
        let mut squares = lanes.zero();
        for part in head.chunks_exact(LANES) {
            let x = lanes.load_slice(part, 0.0);
            squares = lanes.fma(x, x, squares);
        }
        let mean = lanes.sum(squares) / dimensions as f32;
        factor = lanes.splat(1.0 / (mean + epsilon).sqrt());
    }
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
