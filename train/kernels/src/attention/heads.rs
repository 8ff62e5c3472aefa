//! The attention of inference: its shape, and how queries, keys and values are prepared (in `prepare_rows`).
//!
//! A token's row holds its queries [heads, dims], keys [key heads, dims] and values [key heads, dims]. Queries and keys
//! are normalised if the network does so, scaled and rotated. Keys and values are then rounded to the format of the KV
//! cache, and queries to match it ([`HeldAs`]), so that a whole-chunk pass sees the same numbers.
//!
//! `dims` is a multiple of 16: a head with fewer dimensions is padded with zeros, which changes nothing. RoPE pairs
//! dimensions i and i + 8 of each sixteen; weights are packed in that order (scores do not depend on the order of
//! dimensions). Pairs that are not rotated have the frequency 0.

use super::super::aligned::Aligned;
use super::super::lanes::{LANES, Lanes};
use super::super::math::LOG2_E;
use super::rotary::sine_cosine;

/// The format of keys and values in the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldAs {
    /// Unrounded: for pretrained networks, whose keys may be so large that half precision costs hundredths of a bit.
    Singles,
    /// In half precision.
    Halves,
    /// As integers from −127 to 127 times a power of two, one for each head of each token; queries are rounded
    /// likewise. The attention probabilities of a block, before they are divided by their sum and after multiplication
    /// with the values' powers of two, are rounded to integers of at most 255 units, where the unit follows from the
    /// largest of the block.
    ///
    /// A score is then an integer below 2²² (for up to 256 dimensions) times a power of two, and a block's sum of
    /// values is an integer below 2²¹ times the unit. Both are exact in any order, so a cached step and a whole-chunk
    /// pass each add the integers in their own. They may multiply by the powers of two at any point and still get the
    /// same bits, because nothing else is rounded: nothing is subnormal or too large. For this, queries and keys are
    /// limited to ±2⁷, their powers are at least 2⁻²⁴, and values are multiplied by 2²⁴ until the end, so that their
    /// powers are at least 1. This format is for networks that normalise queries and keys, whose numbers are far from
    /// these limits.
    Bytes,
}

impl HeldAs {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            HeldAs::Singles => 4,
            HeldAs::Halves => 2,
            HeldAs::Bytes => 1,
        }
    }
}

/// What values held as bytes are multiplied by; sums of them are divided by it.
pub(super) const VALUE_FACTOR: f32 = 16_777_216.0;
/// Queries and keys lie within ± this where they are bytes.
pub(super) const LARGEST_KEY: f32 = 128.0;
/// Values lie within ± this, as those of half precision do.
pub(super) const LARGEST_VALUE: f32 = 65_504.0;
/// Exponents of the least powers of two, as `f32` counts them: 2⁻²⁴ for queries and keys, 1 for values.
pub(super) const LEAST_EXPONENTS: [u32; 2] = [103, 127];

/// What is normed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormOf {
    /// Each head by its root mean square.
    Head,
    /// All heads of queries by theirs, and all heads of keys.
    AllHeads,
    /// Each head, whose mean is taken away first. Scales must be 0 where a head is filled up.
    CentredHead,
}

/// A norm of queries and keys, before their scales.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadNorm {
    /// What is normed together.
    pub of: NormOf,
    /// The dimensions of a head that count.
    pub dimensions: usize,
    /// ε, added to the mean square.
    pub epsilon: f32,
}

/// The shape of a network's attention layers, and one layer's scales.
#[derive(Clone, Debug)]
pub struct AttentionHeads {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values, each for `heads / key_heads` neighbouring heads of queries.
    pub key_heads: usize,
    /// Numbers of a head, filled up to a multiple of 16.
    pub dims: usize,
    /// Norm of queries and keys.
    pub norm: Option<HeadNorm>,
    /// [heads, dims]: what queries are multiplied by, the factor of the scores included.
    pub query_scale: Vec<f32>,
    /// [key_heads, dims]: what keys are multiplied by.
    pub key_scale: Vec<f32>,
    /// The number of tokens that a token attends to, including itself, if not all before it.
    pub window: Option<usize>,
    /// Scores become c · tanh(score / c), as soft-max in powers of e would see them.
    pub soft_cap: Option<f32>,
    /// What keys and values are rounded to, and queries with them.
    pub held: HeldAs,
}

impl AttentionHeads {
    /// What sums of values are multiplied by at the end, besides the inverse of the powers' total.
    pub(super) fn sum_factor(&self) -> f32 {
        match self.held {
            HeldAs::Singles | HeldAs::Halves => 1.0,
            HeldAs::Bytes => 1.0 / VALUE_FACTOR,
        }
    }

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

    /// The cap of scores in powers of two.
    pub(super) fn score_cap(&self) -> Option<f32> {
        self.soft_cap.map(|cap| cap * LOG2_E)
    }

    /// Checks that the parts fit together.
    pub fn fits(&self) -> bool {
        let Self { heads, key_heads, dims, .. } = *self;
        let divides = dims > 0 && dims.is_multiple_of(LANES);
        let shared = key_heads > 0 && heads > 0 && heads.is_multiple_of(key_heads);
        let scales = [self.query_scale.len(), self.key_scale.len()];
        // Whole numbers are not capped.
        let bounded = self.held != HeldAs::Bytes || dims <= 256 && self.soft_cap.is_none();
        let capped = self.soft_cap.is_none_or(|cap| cap > 0.0 && cap.is_finite());
        let normed = self.norm.is_none_or(|norm| (1..=dims).contains(&norm.dimensions));
        let sized = scales == [heads * dims, key_heads * dims];
        divides && shared && sized && bounded && capped && normed && self.window != Some(0)
    }

    /// Asserts that the parts fit together.
    pub(super) fn check(&self) {
        assert!(self.fits(), "{self:?}");
    }

    /// The first key that a token at `position` sees.
    pub fn first_key(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }
}

/// Cosines and signed sines of each position, one for each dimension of a head (Su et al., "RoFormer").
#[derive(Clone)]
pub struct RotaryTable {
    pub(super) dims: usize,
    /// [position, 2, dims].
    pub(super) values: Aligned,
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

    /// [position, 2, dims]: cosines, and sines by which the other of a pair is multiplied.
    pub fn values(&self) -> &[f32] {
        self.values.as_slice()
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

/// Numbers between ±`largest`, then multiplied by a factor.
#[inline(always)]
pub(super) fn bound<L: Lanes>(lanes: L, largest: f32, factor: f32, numbers: &mut [f32]) {
    for part in numbers.chunks_exact_mut(LANES) {
        let x = lanes.max(lanes.load_slice(part, 0.0), lanes.splat(-largest));
        let x = lanes.min(x, lanes.splat(largest));
        lanes.store_slice(part, lanes.mul(x, lanes.splat(factor)));
    }
}

/// Rounds a head's numbers to whole numbers up to 127 times a power of two.
#[inline(always)]
pub(super) fn round_bytes<L: Lanes>(lanes: L, least: u32, head: &mut [f32]) {
    let exponent = byte_exponent(lanes, head).max(least);
    let [power, inverse] = [exponent, 254 - exponent].map(|e| lanes.splat(f32::from_bits(e << 23)));
    for part in head.chunks_exact_mut(LANES) {
        let x = lanes.mul(lanes.load_slice(part, 0.0), inverse);
        lanes.store_slice(part, lanes.mul(lanes.sub(x, lanes.fraction(x)), power));
    }
}

/// The exponent, as `f32` counts them, of the least power of two of which a head's largest number is at most 127.
#[inline(always)]
fn byte_exponent<L: Lanes>(lanes: L, head: &[f32]) -> u32 {
    exponent_below(lanes.largest(sizes(lanes, head)))
}

/// The largest sizes of a head's numbers, over those that lie sixteen apart.
#[inline(always)]
fn sizes<L: Lanes>(lanes: L, head: &[f32]) -> L::Vector {
    let mut largest = lanes.zero();
    for part in head.chunks_exact(LANES) {
        let x = lanes.load_slice(part, 0.0);
        largest = lanes.max(lanes.max(x, lanes.sub(lanes.zero(), x)), largest);
    }
    largest
}

/// `byte_exponent` by the size of the largest number.
#[inline(always)]
fn exponent_below(largest: f32) -> u32 {
    ((largest * (1.0 / 127.0)).to_bits() + 0x7f_ffff) >> 23
}

/// A head's numbers, rounded before, as bytes; and the exponent of the power of two that they are multiples of.
#[inline(always)]
pub(super) fn to_bytes<L: Lanes>(lanes: L, head: &[f32], least: u32, bytes: &mut [i8]) -> u8 {
    let [exponent, inverse] = rounded_exponents(lanes, head, least);
    let inverse = lanes.splat(f32::from_bits(inverse << 23));
    for (part, bytes) in head.chunks_exact(LANES).zip(bytes.as_chunks_mut::<LANES>().0) {
        let number = lanes.mul(lanes.load_slice(part, 0.0), inverse);
        let number = lanes.min(lanes.max(number, lanes.splat(-127.0)), lanes.splat(127.0));
        // SAFETY: numbers are from −127 to 127.
        *bytes = unsafe { whole_bytes(lanes, number) }.map(u8::cast_signed);
    }
    exponent as u8
}

/// Whole numbers as their lowest bytes.
///
/// # Safety
/// They must fit into 32 bits.
#[inline(always)]
pub(super) unsafe fn whole_bytes<L: Lanes>(lanes: L, numbers: L::Vector) -> [u8; LANES] {
    let (numbers, mut bytes) = (lanes.array(numbers), [0; LANES]);
    for i in 0..LANES {
        // SAFETY: granted by the caller.
        bytes[i] = unsafe { numbers[i].to_int_unchecked::<i32>() } as u8;
    }
    bytes
}

/// `byte_exponent` of numbers rounded before, and that of the inverse. Where rounding made the largest number smaller,
/// a lower exponent than it had may come out, and is as exact.
#[inline(always)]
fn rounded_exponents<L: Lanes>(lanes: L, head: &[f32], least: u32) -> [u32; 2] {
    bounded_exponents(byte_exponent(lanes, head), least)
}

/// An exponent of numbers rounded before, and that of the inverse.
#[inline(always)]
fn bounded_exponents(exponent: u32, least: u32) -> [u32; 2] {
    let exponent = exponent.clamp(least, 200);
    [exponent, 254 - exponent]
}

/// The powers of two that `count` heads' numbers, rounded before, are multiples of, and their inverses. The heads are
/// `stride` apart, and at most sixteen.
#[inline(always)]
pub(super) fn powers_of<L: Lanes>(
    lanes: L,
    heads: &[f32],
    [count, stride, dims]: [usize; 3],
    least: u32,
) -> [[f32; LANES]; 2] {
    let mut square = [lanes.zero(); LANES];
    for i in 0..count {
        square[i] = sizes(lanes, &heads[i * stride..][..dims]);
    }
    lanes.transpose(&mut square);
    let mut largest = lanes.zero();
    for sizes in square {
        largest = lanes.max(sizes, largest);
    }
    let (mut powers, mut inverses) = (lanes.array(largest), [0.0; LANES]);
    for i in 0..LANES {
        let [exponent, inverse] = bounded_exponents(exponent_below(powers[i]), least);
        (powers[i], inverses[i]) = (f32::from_bits(exponent << 23), f32::from_bits(inverse << 23));
    }
    [powers, inverses]
}

/// The unit of a block's attention probabilities, of which the largest is this, and its inverse: they are at most 255 of it.
#[inline(always)]
pub(super) fn probability_unit(largest: f32) -> [f32; 2] {
    const SHRINK: f32 = 255.0 / 256.0;
    // The largest is less than 256 times 2^(exponent − 7).
    let exponent = (largest.to_bits() >> 23).clamp(8, 250);
    let power = |exponent: u32| f32::from_bits(exponent << 23);
    [power(exponent - 7) * (1.0 / SHRINK), power(261 - exponent) * SHRINK]
}

/// Weights as multiples of a unit: whole numbers up to 255, ties to even.
#[inline(always)]
pub(super) fn round_probability<L: Lanes>(
    lanes: L,
    probability: L::Vector,
    inverse: L::Vector,
) -> L::Vector {
    let probability = lanes.mul(probability, inverse);
    lanes.min(lanes.sub(probability, lanes.fraction(probability)), lanes.splat(255.0))
}
