//! The cached step of inference: new tokens of sequences side by side, against the keys and values they hold.
//!
//! Scores go sixteen keys side by side and outputs sixteen dimensions, unlike in the whole-chunk pass, but each
//! number goes through the same operations in the same order: the bits are the same (`attention` says which).

use super::super::aligned::{Aligned, with_scratch};
use super::super::lanes::{Kernel, LANES, Lanes, dispatch, prefetch};
use super::super::level::Level;
use super::super::math::{Exp2Below, exp2};
use super::KEY_BLOCK;
use super::forward_tile::{HIGHEST, LOWEST, numbered};
use super::heads::{AttentionHeads, HeldAs, LEAST_EXPONENTS, to_bytes};

/// Vectors of the output that run side by side: their chains hide each other's latency.
const SIDE_BY_SIDE: usize = 8;
/// Keys of a sequence, in bytes, from which on they are asked for ahead of their use: fewer are near anyway. (At
/// 128 KiB, 200K parameters, asking costs a fifth; at 512 KiB, 3.2M, it nearly doubles the speed.)
const FAR: usize = 256 << 10;
/// Score vectors of a block of keys.
const PARTS: usize = KEY_BLOCK / LANES;

/// Keys and values of sequences side by side, in one layer.
#[derive(Clone)]
pub struct KeyValueCache {
    /// Tokens a sequence can hold: a multiple of 64.
    capacity: usize,
    /// Numbers of a sequence's keys; its values are as many.
    size: usize,
    held: HeldAs,
    /// [sequence, block of 64 keys, key head, dims, 64]: a step goes through them in this order.
    keys: Aligned,
    /// [sequence, key, key head, dims].
    values: Aligned,
    /// Exponents of bytes, keys' and values': [sequence, block of 64 keys, key head, 2, 64].
    exponents: Vec<u8>,
}

impl KeyValueCache {
    /// For so many sequences of up to `tokens`.
    pub fn new(heads: &AttentionHeads, sequences: usize, tokens: usize) -> Self {
        let capacity = tokens.next_multiple_of(KEY_BLOCK);
        let size = capacity * heads.key_heads * heads.dims;
        let (shrink, exponents) = match heads.held {
            HeldAs::Singles => (1, 0),
            HeldAs::Halves => (2, 0),
            HeldAs::Bytes => (4, sequences * capacity * heads.key_heads * 2),
        };
        let zeros = || Aligned::zeros(sequences * size / shrink);
        // 2⁰ for keys that are not there yet.
        let exponents = vec![127; exponents];
        KeyValueCache {
            capacity,
            size,
            held: heads.held,
            keys: zeros(),
            values: zeros(),
            exponents,
        }
    }
}

/// Appends `new` tokens of every sequence at `position` and attends, on this thread: prepared rows
/// [sequences, new, heads.row()] to mixed [sequences, new, heads, dims].
pub fn attention_cached(
    level: Level,
    heads: &AttentionHeads,
    cache: &mut KeyValueCache,
    [position, new]: [usize; 2],
    rows: &[f32],
    mixed: &mut [f32],
) {
    heads.check();
    let sequences = rows.len() / (new * heads.row()).max(1);
    assert_eq!(rows.len(), sequences * new * heads.row(), "rows [.., {new}, {}]", heads.row());
    assert_eq!(mixed.len(), sequences * new * heads.width(), "mixed");
    assert_eq!(cache.size, cache.capacity * heads.key_heads * heads.dims, "the cache's shape");
    assert_eq!(cache.held, heads.held, "what the cache holds");
    assert!(position + new <= cache.capacity, "{position} + {new} of {}", cache.capacity);
    with_scratch([heads.heads * KEY_BLOCK, heads.heads * 4], |[powers, state]| {
        let state = &mut state[..heads.heads * 4];
        let step = Step { heads, cache, position, new, rows, mixed, powers, state };
        match heads.held {
            HeldAs::Singles => dispatch(level, Stepping(step, Singles)),
            HeldAs::Halves => dispatch(level, Stepping(step, Halves)),
            HeldAs::Bytes => dispatch(level, Stepping(step, Bytes)),
        }
    });
}

/// What a cache's numbers are.
trait Store: Copy {
    type Number: Copy;
    /// Whether numbers are multiples of powers of two, whose exponents are held besides.
    const EXPONENTS: bool;
    fn of(memory: &mut Aligned) -> &mut [Self::Number];
    /// # Safety
    /// Sixteen numbers must be there.
    unsafe fn load<L: Lanes>(lanes: L, from: *const Self::Number) -> L::Vector;
    /// A head of keys or values, rounded before; and its exponent.
    fn store<L: Lanes>(lanes: L, head: &[f32], least: u32, to: &mut [Self::Number]) -> u8;
}

#[derive(Clone, Copy)]
struct Singles;

impl Store for Singles {
    type Number = f32;
    const EXPONENTS: bool = false;

    fn of(memory: &mut Aligned) -> &mut [f32] {
        memory.as_mut_slice()
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(lanes: L, from: *const f32) -> L::Vector {
        // SAFETY: granted by the caller.
        unsafe { lanes.load(from) }
    }

    #[inline(always)]
    fn store<L: Lanes>(_: L, head: &[f32], _: u32, to: &mut [f32]) -> u8 {
        to.copy_from_slice(head);
        0
    }
}

#[derive(Clone, Copy)]
struct Halves;

impl Store for Halves {
    type Number = u16;
    const EXPONENTS: bool = false;

    fn of(memory: &mut Aligned) -> &mut [u16] {
        memory.as_mut_halves()
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(lanes: L, from: *const u16) -> L::Vector {
        // SAFETY: granted by the caller.
        unsafe { lanes.load_half(from) }
    }

    #[inline(always)]
    fn store<L: Lanes>(lanes: L, head: &[f32], _: u32, to: &mut [u16]) -> u8 {
        for (to, part) in to.chunks_exact_mut(LANES).zip(head.chunks_exact(LANES)) {
            // SAFETY: there are places for sixteen.
            unsafe { lanes.store_half(to.as_mut_ptr(), lanes.load_slice(part, 0.0)) };
        }
        0
    }
}

#[derive(Clone, Copy)]
struct Bytes;

impl Store for Bytes {
    type Number = i8;
    const EXPONENTS: bool = true;

    fn of(memory: &mut Aligned) -> &mut [i8] {
        memory.as_mut_bytes()
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(lanes: L, from: *const i8) -> L::Vector {
        // SAFETY: granted by the caller.
        unsafe { lanes.load_bytes(from) }
    }

    #[inline(always)]
    fn store<L: Lanes>(lanes: L, head: &[f32], least: u32, to: &mut [i8]) -> u8 {
        to_bytes(lanes, head, least, to)
    }
}

struct Step<'a> {
    heads: &'a AttentionHeads,
    cache: &'a mut KeyValueCache,
    position: usize,
    new: usize,
    rows: &'a [f32],
    mixed: &'a mut [f32],
    /// [heads, 64].
    powers: &'a mut [f32],
    /// [4, heads].
    state: &'a mut [f32],
}

/// A step, and what the cache's numbers are.
struct Stepping<'a, S>(Step<'a>, S);

impl<S: Store> Kernel for Stepping<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Step { heads, cache, position, new, rows, mixed, powers, state } = self.0;
        let size = cache.size;
        let exponents = if S::EXPONENTS { cache.capacity * heads.key_heads * 2 } else { 0 };
        let rows = rows.chunks_exact(heads.row()).zip(mixed.chunks_exact_mut(heads.width()));
        for (index, (row, mixed)) in rows.enumerate() {
            let (sequence, position) = (index / new, position + index % new);
            let mut held = Held::<S> {
                heads,
                position,
                keys: &mut S::of(&mut cache.keys)[sequence * size..][..size],
                values: &mut S::of(&mut cache.values)[sequence * size..][..size],
                exponents: &mut cache.exponents[sequence * exponents..][..exponents],
            };
            held.append(lanes, &row[heads.width()..]);
            held.attend(lanes, &row[..heads.width()], powers, state, mixed);
        }
    }
}

/// What one sequence holds, its newest token included.
struct Held<'a, S: Store> {
    heads: &'a AttentionHeads,
    position: usize,
    keys: &'a mut [S::Number],
    values: &'a mut [S::Number],
    exponents: &'a mut [u8],
}

impl<S: Store> Held<'_, S> {
    /// Takes in the newest token's keys and values [2, key heads, dims], which are rounded already.
    #[inline(always)]
    fn append<L: Lanes>(&mut self, lanes: L, row: &[f32]) {
        let (dims, key_heads) = (self.heads.dims, self.heads.key_heads);
        let (keys, values) = row.split_at(key_heads * dims);
        let new = &mut self.values[self.position * values.len()..][..values.len()];
        let place = self.position % KEY_BLOCK;
        for head in 0..key_heads {
            let within = head * dims..(head + 1) * dims;
            let block = self.position / KEY_BLOCK * key_heads + head;
            let values = &values[within.clone()];
            let to = &mut new[within.clone()];
            // Keys go through the place of the values, which follow them there.
            let exponent = S::store(lanes, &keys[within], LEAST_EXPONENTS[0], to);
            let lines = self.keys[block * dims * KEY_BLOCK..].iter_mut().skip(place);
            for (key, number) in lines.step_by(KEY_BLOCK).zip(&*to) {
                *key = *number;
            }
            let value_exponent = S::store(lanes, values, LEAST_EXPONENTS[1], to);
            if S::EXPONENTS {
                let exponents = &mut self.exponents[block * 2 * KEY_BLOCK..][..2 * KEY_BLOCK];
                (exponents[place], exponents[KEY_BLOCK + place]) = (exponent, value_exponent);
            }
        }
    }

    /// One token: all heads go through a block of keys before the next.
    #[inline(always)]
    fn attend<L: Lanes>(
        &self,
        lanes: L,
        queries: &[f32],
        powers: &mut [f32],
        state: &mut [f32],
        out: &mut [f32],
    ) {
        let (heads, dims) = (self.heads.heads, self.heads.dims);
        let (largest, rest) = state.split_at_mut(heads);
        let (tops, rest) = rest.split_at_mut(heads);
        let (totals, factors) = rest.split_at_mut(heads);
        largest.fill(LOWEST);
        tops.fill(LOWEST);
        totals.fill(0.0);
        out.fill(0.0);
        let first_key = self.heads.first_key(self.position);
        for key in (first_key / KEY_BLOCK * KEY_BLOCK..=self.position).step_by(KEY_BLOCK) {
            let seen = first_key.saturating_sub(key)..KEY_BLOCK.min(self.position + 1 - key);
            let mut state = State { largest, tops, totals, factors, powers };
            let mut head = 0;
            if L::WIDE {
                while head + 2 <= heads {
                    self.powers_of::<L, 2>(lanes, key, head, &seen, queries, &mut state);
                    head += 2;
                }
            }
            while head < heads {
                self.powers_of::<L, 1>(lanes, key, head, &seen, queries, &mut state);
                head += 1;
            }
            self.add_values(lanes, key, seen.end, powers, factors, out);
        }
        for (head, out) in out.chunks_exact_mut(dims).enumerate() {
            let inverse = lanes.splat(1.0 / totals[head] * self.heads.sum_factor());
            for part in out.chunks_exact_mut(LANES) {
                let sum = lanes.load_slice(part, 0.0);
                lanes.store_slice(part, lanes.fma(sum, inverse, lanes.zero()));
            }
        }
    }

    /// The powers of `HEADS` heads from `head` on with the 64 keys from `key` on, side by side: the chains of one
    /// hide the latency of the others'.
    #[inline(always)]
    fn powers_of<L: Lanes, const HEADS: usize>(
        &self,
        lanes: L,
        key: usize,
        head: usize,
        seen: &std::ops::Range<usize>,
        queries: &[f32],
        state: &mut State<'_>,
    ) {
        let (dims, group) = (self.heads.dims, self.heads.heads / self.heads.key_heads);
        let mut lines = [(queries, &*self.keys); HEADS];
        let mut exponents = [&self.exponents[..0]; HEADS];
        for i in 0..HEADS {
            let block = key / KEY_BLOCK * self.heads.key_heads + (head + i) / group;
            let query = &queries[(head + i) * dims..][..dims];
            lines[i] = (query, &self.keys[block * KEY_BLOCK * dims..][..KEY_BLOCK * dims]);
            if S::EXPONENTS {
                exponents[i] = &self.exponents[block * 2 * KEY_BLOCK..][..2 * KEY_BLOCK];
            }
        }
        // The values of this block come next: as many lines as the keys have, a share of them for each head.
        let values = self.values[key * self.heads.key_heads * dims..].as_ptr();
        let values = values.wrapping_add(head / group * dims * KEY_BLOCK);
        let ahead = size_of_val(&*self.keys) >= FAR;
        let mut scores = scores::<L, S, HEADS>(lanes, dims, lines, (values, ahead));
        if S::EXPONENTS {
            for (scores, exponents) in scores.iter_mut().zip(exponents) {
                scale::<L>(lanes, scores, &exponents[..KEY_BLOCK]);
            }
        }
        let mut powers = block_powers::<L, HEADS>(lanes, scores, seen, head, state);
        for i in 0..HEADS {
            if S::EXPONENTS {
                scale::<L>(lanes, &mut powers[i], &exponents[i][KEY_BLOCK..]);
            }
            let to = &mut state.powers[(head + i) * KEY_BLOCK..][..KEY_BLOCK];
            for (to, powers) in to.chunks_exact_mut(LANES).zip(powers[i]) {
                lanes.store_slice(to, powers);
            }
        }
    }

    /// out = out·factor + Σ power·value over `count` keys from `key` on, for all heads.
    #[inline(always)]
    fn add_values<L: Lanes>(
        &self,
        lanes: L,
        key: usize,
        count: usize,
        powers: &[f32],
        factors: &[f32],
        out: &mut [f32],
    ) {
        let vectors = out.len() / LANES;
        let mut first = 0;
        if L::WIDE {
            while first + SIDE_BY_SIDE <= vectors {
                self.value_vectors::<L, SIDE_BY_SIDE>(
                    lanes, key, count, powers, factors, out, first,
                );
                first += SIDE_BY_SIDE;
            }
        }
        while first + 4 <= vectors {
            self.value_vectors::<L, 4>(lanes, key, count, powers, factors, out, first);
            first += 4;
        }
        while first < vectors {
            self.value_vectors::<L, 1>(lanes, key, count, powers, factors, out, first);
            first += 1;
        }
    }

    /// `add_values` for some vectors of the output, from vector `first` on.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // The block, the scratch and the part of the output.
    fn value_vectors<L: Lanes, const VECTORS: usize>(
        &self,
        lanes: L,
        key: usize,
        count: usize,
        powers: &[f32],
        factors: &[f32],
        out: &mut [f32],
        first: usize,
    ) {
        let (dims, group) = (self.heads.dims, self.heads.heads / self.heads.key_heads);
        let width = self.heads.key_heads * dims;
        let out = &mut out[first * LANES..][..VECTORS * LANES];
        let values = &self.values[key * width..][..count * width];
        assert!(count <= KEY_BLOCK && powers.len() >= factors.len() * KEY_BLOCK);
        let mut sums = [lanes.zero(); VECTORS];
        let mut weights = [powers.as_ptr(); VECTORS];
        let mut columns = [0; VECTORS];
        for v in 0..VECTORS {
            let (head, within) = ((first + v) * LANES / dims, (first + v) * LANES % dims);
            let old = lanes.load_slice(&out[v * LANES..], 0.0);
            sums[v] = lanes.mul(old, lanes.splat(factors[head]));
            weights[v] = powers[head * KEY_BLOCK..].as_ptr();
            columns[v] = head / group * dims + within;
            assert!(columns[v] + LANES <= width);
        }
        let mut line = values.as_ptr();
        for key in 0..count {
            for v in 0..VECTORS {
                // SAFETY: each head has 64 powers and `count` is no more; the columns lie inside a key's values.
                unsafe {
                    let value = S::load(lanes, line.add(columns[v]));
                    sums[v] = lanes.fma(lanes.splat(*weights[v].add(key)), value, sums[v]);
                }
            }
            line = line.wrapping_add(width);
        }
        for v in 0..VECTORS {
            lanes.store_slice(&mut out[v * LANES..], sums[v]);
        }
    }
}

/// What a block of keys leaves for the next, a number a head: the largest score, the even whole number near it that
/// powers leave out, the powers' total; and for the values, the factor of what was before and the powers [heads, 64].
struct State<'a> {
    largest: &'a mut [f32],
    tops: &'a mut [f32],
    totals: &'a mut [f32],
    factors: &'a mut [f32],
    powers: &'a mut [f32],
}

/// The scores of queries [dims], each with 64 keys [dims, 64].
///
/// What a sequence holds goes through the caches once a step, and processors that read ahead by themselves stop at
/// every page. So the keys of the heads that follow are asked for line by line, and `values` as far, if `ahead`.
#[inline(always)]
fn scores<L: Lanes, S: Store, const HEADS: usize>(
    lanes: L,
    dims: usize,
    lines: [(&[f32], &[S::Number]); HEADS],
    (values, ahead): (*const S::Number, bool),
) -> [[L::Vector; PARTS]; HEADS] {
    let mut scores = [[lanes.zero(); PARTS]; HEADS];
    for (query, keys) in lines {
        assert!(query.len() == dims && keys.len() == dims * KEY_BLOCK);
    }
    let line = 64 / size_of::<S::Number>();
    for d in 0..dims {
        for (head, (_, keys)) in lines.iter().enumerate().take(if ahead { HEADS } else { 0 }) {
            for at in (d * KEY_BLOCK..(d + 1) * KEY_BLOCK).step_by(line) {
                prefetch(keys.as_ptr().wrapping_add(HEADS * dims * KEY_BLOCK + at));
                prefetch(values.wrapping_add(head * dims * KEY_BLOCK + at));
            }
        }
        for (scores, (query, keys)) in scores.iter_mut().zip(lines) {
            let query = lanes.splat(query[d]);
            for (part, score) in scores.iter_mut().enumerate() {
                // SAFETY: line d holds four times sixteen keys, as asserted.
                let keys =
                    unsafe { S::load(lanes, keys.as_ptr().add(d * KEY_BLOCK + part * LANES)) };
                *score = lanes.fma(query, keys, *score);
            }
        }
    }
    scores
}

/// Multiplies 64 numbers by powers of two.
#[inline(always)]
fn scale<L: Lanes>(lanes: L, numbers: &mut [L::Vector; PARTS], exponents: &[u8]) {
    for (numbers, exponents) in numbers.iter_mut().zip(exponents.chunks_exact(LANES)) {
        // SAFETY: sixteen exponents are there.
        *numbers = lanes.mul(*numbers, unsafe { lanes.load_powers(exponents.as_ptr()) });
    }
}

/// The powers of some heads' scores, and what they leave behind.
#[inline(always)]
fn block_powers<L: Lanes, const HEADS: usize>(
    lanes: L,
    mut scores: [[L::Vector; PARTS]; HEADS],
    seen: &std::ops::Range<usize>,
    head: usize,
    state: &mut State<'_>,
) -> [[L::Vector; PARTS]; HEADS] {
    let mut highest = [lanes.zero(); HEADS];
    for (i, highest) in highest.iter_mut().enumerate() {
        *highest = lanes.splat(state.largest[head + i]);
    }
    let none = lanes.splat(f32::NEG_INFINITY);
    for part in 0..PARTS {
        let first = (part * LANES) as f32;
        for (scores, highest) in scores.iter_mut().zip(&mut highest) {
            let score = &mut scores[part];
            if (part + 1) * LANES > seen.end {
                // Keys from the end on are not there: −∞ where lane ≥ end − first.
                let end = lanes.splat(seen.end as f32 - first);
                *score = lanes.select_greater(end, numbered(lanes), *score, none);
            }
            if part * LANES < seen.start {
                let start = lanes.splat(seen.start as f32 - first);
                *score = lanes.select_greater(start, numbered(lanes), none, *score);
            }
            *highest = lanes.max(*score, *highest);
        }
    }
    let (mut totals, mut raised) = ([0.0; HEADS], [0.0; HEADS]);
    for (i, highest) in highest.iter().enumerate() {
        let highest = lanes.largest(*highest);
        // `nearest_even` of one number.
        raised[i] = 2.0 * (0.5 * highest.min(HIGHEST)).round_ties_even();
        let (top, mut factor) = (state.tops[head + i], 1.0);
        if raised[i] != top {
            factor = lanes.array(exp2(lanes, lanes.splat(top - raised[i])))[0];
        }
        totals[i] = state.totals[head + i] * factor;
        (state.largest[head + i], state.tops[head + i]) = (highest, raised[i]);
        state.factors[head + i] = factor;
    }
    for part in 0..PARTS {
        for (i, scores) in scores.iter_mut().enumerate() {
            let power = Exp2Below::new(lanes, lanes.splat(raised[i])).apply(lanes, scores[part]);
            scores[part] = power;
            totals[i] += lanes.sum(power);
        }
    }
    state.totals[head..][..HEADS].copy_from_slice(&totals);
    scores
}
