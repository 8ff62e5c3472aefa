//! The cached step of inference: new tokens of sequences side by side, against the keys and values they hold.
//!
//! Scores go sixteen keys side by side and outputs sixteen dimensions, unlike in the whole-chunk pass, but each
//! number goes through the same operations in the same order (`attention` says which), or, where keys are bytes,
//! through sums of whole numbers, which are exact in any order (`HeldAs`): the bits are the same.

use super::super::aligned::{Aligned, with_scratch};
use super::super::lanes::{Kernel, LANES, Lanes, dispatch, prefetch};
use super::super::level::Level;
use super::super::math::{Exp2Below, exp2};
use super::KEY_BLOCK;
use super::forward_tile::{HIGHEST, LOWEST, numbered};
use super::heads::{AttentionHeads, HeldAs, LEAST_EXPONENTS, to_bytes};
use super::stores::{Bytes, Halves, PARTS, Queries, Singles, Store};

/// Vectors of the output that run side by side: their chains hide each other's latency.
const SIDE_BY_SIDE: usize = 8;
/// Keys of a sequence, in bytes, from which on they are asked for ahead of their use: fewer are near anyway. (At
/// 128 KiB, 200K parameters, asking costs a fifth; at 512 KiB, 3.2M, it nearly doubles the speed.)
const FAR: usize = 256 << 10;

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
    /// [sequence, key, key head, dims].
    values: Aligned,
    /// Exponents of bytes, keys' and values': [sequence, block of 64 keys, key head, 2, 64].
    exponents: Vec<u8>,
    /// The newest token's queries as bytes [heads, dims], and what they are multiples of [heads].
    queries: (Vec<i8>, Vec<f32>),
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
        let queries = (vec![0; heads.width()], vec![0.0; heads.heads]);
        KeyValueCache {
            capacity,
            size,
            held: heads.held,
            keys: zeros(),
            values: zeros(),
            exponents,
            queries,
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
        let (bytes, byte_powers) = &mut cache.queries;
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
            let (queries, new) = row.split_at(heads.width());
            held.append(lanes, new);
            if S::EXPONENTS {
                let queries = queries.chunks_exact(heads.dims);
                let to = bytes.chunks_exact_mut(heads.dims).zip(&mut *byte_powers);
                for (query, (bytes, power)) in queries.zip(to) {
                    let exponent = to_bytes(lanes, query, LEAST_EXPONENTS[0], bytes);
                    *power = f32::from_bits(u32::from(exponent) << 23);
                }
            }
            let queries = Queries { numbers: queries, bytes, powers: byte_powers };
            held.attend(lanes, &queries, powers, state, mixed);
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
            let size = dims * KEY_BLOCK;
            S::place(to, place, &mut self.keys[block * size..][..size]);
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
        queries: &Queries<'_>,
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
        queries: &Queries<'_>,
        state: &mut State<'_>,
    ) {
        let (dims, group) = (self.heads.dims, self.heads.heads / self.heads.key_heads);
        let size = dims * KEY_BLOCK;
        let key_head = |head: usize| if group == 1 { head } else { head / group };
        let mut exponents = [&self.exponents[..0]; HEADS];
        let mut scored = [(queries.head(head, dims), &self.keys[..0]); HEADS];
        for i in 0..HEADS {
            let block = key / KEY_BLOCK * self.heads.key_heads + key_head(head + i);
            let keys = &self.keys[block * size..][..size];
            if size_of_val(&*self.keys) >= FAR {
                // The values of this block come next: as many as the keys, a share of them for each head.
                let values = self.values.as_ptr().wrapping_add(block * size);
                ask_for::<S>([keys.as_ptr().wrapping_add(HEADS * size), values], size);
            }
            if S::EXPONENTS {
                exponents[i] = &self.exponents[block * 2 * KEY_BLOCK..][..2 * KEY_BLOCK];
            }
            scored[i] = (queries.head(head + i, dims), keys);
        }
        let mut scores = S::scores::<L, HEADS>(lanes, scored);
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
        let mut weights = [powers.as_ptr(); VECTORS];
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
            weights[v] = powers.as_ptr().wrapping_add(head * KEY_BLOCK);
            columns[v] = column;
            assert!(column + LANES <= width);
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

/// Asks for so many numbers from two places on.
///
/// What a sequence holds goes through the caches once a step, and processors that read ahead by themselves stop at
/// every page. So the keys of the heads that follow are asked for before those of these, and values as many.
#[inline(always)]
fn ask_for<S: Store>(places: [*const S::Number; 2], count: usize) {
    for at in (0..count).step_by(64 / size_of::<S::Number>()) {
        places.into_iter().for_each(|place| prefetch(place.wrapping_add(at)));
    }
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
