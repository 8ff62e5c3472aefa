//! The cached step of inference: new tokens of several sequences side by side, attending to their KV caches.
//!
//! Unlike in the whole-chunk pass, scores are computed for sixteen keys side by side and outputs for sixteen
//! dimensions. But each number goes through the same operations in the same order (described in `attention`), so the
//! bits are the same. KV caches held as bytes have their own step (`cached_bytes`).

use super::super::aligned::{Aligned, with_scratch};
use super::super::lanes::{Kernel, LANES, Lanes, dispatch};
use super::super::level::Level;
use super::super::math::{Exp2Below, exp2, soft_cap};
use super::KEY_BLOCK;
use super::blocks::{FAR, PARTS, ask_for, only};
use super::cached_bytes::{ByteStep, Scratch};
use super::forward_tile::{HIGHEST, LOWEST};
use super::heads::{AttentionHeads, HeldAs};
use super::stores::{Halves, Singles, Store};

/// Vectors of the output that run side by side: their chains hide each other's latency.
const SIDE_BY_SIDE: usize = 8;
/// Keys and values of sequences side by side, in one layer.
#[derive(Clone)]
pub struct KeyValueCache {
    /// Tokens a sequence can hold: a multiple of 64.
    capacity: usize,
    /// Numbers of a sequence's keys; its values are as many.
    size: usize,
    held: HeldAs,
    /// [sequence, block of 64 keys, key head, dims, 64]: a step goes through them in this order. Bytes lie in fours,
    /// [.., dims / 4, 64, 4], and have 128 added.
    keys: Aligned,
    /// [sequence, key, key head, dims]. Bytes lie as [sequence, block of 64 keys, key head, 16, dims, 4].
    values: Aligned,
    /// Exponents of bytes, keys' and values': [sequence, block of 64 keys, key head, 2, 64].
    exponents: Vec<u8>,
    /// What a step needs where they are bytes.
    scratch: Scratch,
}

impl KeyValueCache {
    /// For so many sequences of up to `tokens`.
    pub fn new(heads: &AttentionHeads, sequences: usize, tokens: usize) -> Self {
        let capacity = tokens.next_multiple_of(KEY_BLOCK);
        let size = capacity * heads.key_heads * heads.dims;
        let zeros = || Aligned::zeros(sequences * size * heads.held.bytes() / 4);
        let bytes = heads.held == HeldAs::Bytes;
        let exponents = if bytes { sequences * capacity * heads.key_heads * 2 } else { 0 };
        KeyValueCache {
            capacity,
            size,
            held: heads.held,
            keys: zeros(),
            values: zeros(),
            // 2⁰ for keys that are not there yet.
            exponents: vec![127; exponents],
            scratch: if bytes { Scratch::new(heads) } else { Scratch::default() },
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
    let step = Step { heads, cache, position, new, rows, mixed };
    let lengths = [heads.heads * KEY_BLOCK, heads.heads * 4];
    match heads.held {
        HeldAs::Singles => {
            with_scratch(lengths, |scratch| dispatch(level, Floats(step, scratch, Singles)));
        }
        HeldAs::Halves => {
            with_scratch(lengths, |scratch| dispatch(level, Floats(step, scratch, Halves)));
        }
        HeldAs::Bytes => dispatch(level, Bytes(step)),
    }
}

struct Step<'a> {
    heads: &'a AttentionHeads,
    cache: &'a mut KeyValueCache,
    position: usize,
    new: usize,
    rows: &'a [f32],
    mixed: &'a mut [f32],
}

/// A step where numbers are of a floating-point format, with scratch: powers [heads, 64] and state [4, heads].
struct Floats<'a, S>(Step<'a>, [&'a mut [f32]; 2], S);

impl<S: Store> Kernel for Floats<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Floats(Step { heads, cache, position, new, rows, mixed }, [powers, state], _) = self;
        let (size, state) = (cache.size, &mut state[..heads.heads * 4]);
        let rows = rows.chunks_exact(heads.row()).zip(mixed.chunks_exact_mut(heads.width()));
        for (index, (row, mixed)) in rows.enumerate() {
            let (sequence, position) = (index / new, position + index % new);
            let mut held = Held::<S> {
                heads,
                position,
                keys: &mut S::of(&mut cache.keys)[sequence * size..][..size],
                values: &mut S::of(&mut cache.values)[sequence * size..][..size],
            };
            let (queries, new) = row.split_at(heads.width());
            held.append(lanes, new);
            held.attend(lanes, queries, powers, state, mixed);
        }
    }
}

/// A step where numbers are bytes.
struct Bytes<'a>(Step<'a>);

impl Kernel for Bytes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Step { heads, cache, position, new, rows, mixed } = self.0;
        let (size, exponents) = (cache.size, cache.capacity * heads.key_heads * 2);
        let rows = rows.chunks_exact(heads.row()).zip(mixed.chunks_exact_mut(heads.width()));
        for (index, (row, mixed)) in rows.enumerate() {
            let (sequence, position) = (index / new, position + index % new);
            let mut step = ByteStep {
                heads,
                position,
                keys: &mut cache.keys.as_mut_bytes()[sequence * size..][..size],
                values: &mut cache.values.as_mut_bytes()[sequence * size..][..size],
                exponents: &mut cache.exponents[sequence * exponents..][..exponents],
                scratch: &mut cache.scratch,
            };
            let (queries, new) = row.split_at(heads.width());
            step.append(lanes, new);
            step.take_queries(lanes, queries);
            step.attend(lanes, mixed);
        }
    }
}

/// What one sequence holds, its newest token included.
struct Held<'a, S: Store> {
    heads: &'a AttentionHeads,
    position: usize,
    keys: &'a mut [S::Number],
    values: &'a mut [S::Number],
}

impl<S: Store> Held<'_, S> {
    /// Takes in the newest token's keys and values [2, key heads, dims], which are rounded already.
    #[inline(always)]
    fn append<L: Lanes>(&mut self, lanes: L, row: &[f32]) {
        let (keys, values) = row.split_at(row.len() / 2);
        let place = self.position % KEY_BLOCK;
        let new = &mut self.values[self.position * values.len()..][..values.len()];
        for (to, part) in new.chunks_exact_mut(LANES).zip(values.chunks_exact(LANES)) {
            // SAFETY: there are places for sixteen.
            unsafe { S::save(lanes, lanes.load_slice(part, 0.0), to.as_mut_ptr()) };
        }
        let block = &mut self.keys[self.position / KEY_BLOCK * values.len() * KEY_BLOCK..];
        let blocks = block.chunks_exact_mut(LANES * KEY_BLOCK);
        for (part, block) in keys.chunks_exact(LANES).zip(blocks) {
            let mut sixteen = [S::Number::default(); LANES];
            // SAFETY: as above.
            unsafe { S::save(lanes, lanes.load_slice(part, 0.0), sixteen.as_mut_ptr()) };
            for (to, number) in block.iter_mut().skip(place).step_by(KEY_BLOCK).zip(sixteen) {
                *to = number;
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
        let size = dims * KEY_BLOCK;
        let key_head = |head: usize| if group == 1 { head } else { head / group };
        let mut scores = [[lanes.zero(); PARTS]; HEADS];
        let mut places = [(queries, self.keys.as_ptr()); HEADS];
        for (i, (query, keys)) in places.iter_mut().enumerate() {
            let block = key / KEY_BLOCK * self.heads.key_heads + key_head(head + i);
            *keys = self.keys[block * size..][..size].as_ptr();
            *query = &queries[(head + i) * dims..][..dims];
            if size_of_val(&*self.keys) >= FAR {
                // The values of this block come next: as many as the keys, a share of them for each head.
                let values = self.values.as_ptr().wrapping_add(block * size);
                ask_for([keys.wrapping_add(HEADS * size), values], size);
            }
        }
        for d in 0..dims {
            for i in 0..HEADS {
                let (query, keys) = (lanes.splat(places[i].0[d]), places[i].1);
                for part in 0..PARTS {
                    // SAFETY: each dimension has four times sixteen keys.
                    let keys = unsafe { S::load(lanes, keys.add(d * KEY_BLOCK + part * LANES)) };
                    scores[i][part] = lanes.fma(query, keys, scores[i][part]);
                }
            }
        }
        if let Some(limit) = self.heads.score_cap() {
            for i in 0..HEADS {
                for part in 0..PARTS {
                    scores[i][part] = soft_cap(lanes, limit, scores[i][part]);
                }
            }
        }
        let powers = block_powers::<L, HEADS>(lanes, scores, seen, head, state);
        for i in 0..HEADS {
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
        let alone = self.heads.heads == self.heads.key_heads;
        let mut first = 0;
        if L::WIDE {
            while first + SIDE_BY_SIDE <= vectors {
                match self.heads.dims / LANES {
                    1 if alone => self.value_vectors::<L, SIDE_BY_SIDE, 1>(
                        lanes, key, count, powers, factors, out, first,
                    ),
                    2 if alone => self.value_vectors::<L, SIDE_BY_SIDE, 2>(
                        lanes, key, count, powers, factors, out, first,
                    ),
                    4 if alone => self.value_vectors::<L, SIDE_BY_SIDE, 4>(
                        lanes, key, count, powers, factors, out, first,
                    ),
                    _ => self.value_vectors::<L, SIDE_BY_SIDE, 0>(
                        lanes, key, count, powers, factors, out, first,
                    ),
                }
                first += SIDE_BY_SIDE;
            }
        }
        while first + 4 <= vectors {
            self.value_vectors::<L, 4, 0>(lanes, key, count, powers, factors, out, first);
            first += 4;
        }
        while first < vectors {
            self.value_vectors::<L, 1, 0>(lanes, key, count, powers, factors, out, first);
            first += 1;
        }
    }

    /// `add_values` for some vectors of the output, from vector `first` on, a multiple of `OF_A_HEAD`: so many are of
    /// one head, and each head has values of its own. Or it is 0.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // The block, the scratch and the part of the output.
    fn value_vectors<L: Lanes, const VECTORS: usize, const OF_A_HEAD: usize>(
        &self,
        lanes: L,
        key: usize,
        count: usize,
        powers: &[f32],
        factors: &[f32],
        out: &mut [f32],
        first: usize,
    ) {
        let dims = self.heads.dims;
        let width = self.heads.key_heads * dims;
        let out = &mut out[first * LANES..][..VECTORS * LANES];
        let values = &self.values[key * width..][..count * width];
        assert!(count <= KEY_BLOCK && powers.len() >= factors.len() * KEY_BLOCK);
        let mut sums = [lanes.zero(); VECTORS];
        let mut at = [powers.as_ptr(); VECTORS];
        let mut columns = [0; VECTORS];
        for v in 0..VECTORS {
            // What is known is told to the compiler, which then needs few registers for it.
            let (head, column) = match OF_A_HEAD {
                0 => {
                    let (head, within) = ((first + v) * LANES / dims, (first + v) * LANES % dims);
                    (head, head / (self.heads.heads / self.heads.key_heads) * dims + within)
                }
                _ => (first / OF_A_HEAD + v / OF_A_HEAD, (first + v) * LANES),
            };
            let old = lanes.load_slice(&out[v * LANES..], 0.0);
            sums[v] = lanes.mul(old, lanes.splat(factors[head]));
            at[v] = powers.as_ptr().wrapping_add(head * KEY_BLOCK);
            columns[v] = column;
            assert!(column + LANES <= width);
        }
        let mut line = values.as_ptr();
        for key in 0..count {
            for v in 0..VECTORS {
                // SAFETY: each head has 64 powers and `count` is no more; the columns lie inside a key's values.
                unsafe {
                    let value = S::load(lanes, line.add(columns[v]));
                    sums[v] = lanes.fma(lanes.splat(*at[v].add(key)), value, sums[v]);
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
    for part in 0..PARTS {
        for (scores, highest) in scores.iter_mut().zip(&mut highest) {
            let score = &mut scores[part];
            *score = only(lanes, *score, part, seen);
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
