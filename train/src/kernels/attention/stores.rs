//! What a cache's numbers are, and how a query's scores with 64 keys come from them.

use super::super::aligned::Aligned;
use super::super::lanes::{LANES, Lanes};
use super::KEY_BLOCK;
use super::heads::to_bytes;

/// Score vectors of a block of keys.
pub(super) const PARTS: usize = KEY_BLOCK / LANES;

/// What a cache's numbers are.
pub(super) trait Store: Copy {
    type Number: Copy;
    /// Whether numbers are multiples of powers of two, whose exponents are held besides.
    const EXPONENTS: bool;
    fn of(memory: &mut Aligned) -> &mut [Self::Number];
    /// # Safety
    /// Sixteen numbers must be there.
    unsafe fn load<L: Lanes>(lanes: L, from: *const Self::Number) -> L::Vector;
    /// A head of keys or values, rounded before; and its exponent.
    fn store<L: Lanes>(lanes: L, head: &[f32], least: u32, to: &mut [Self::Number]) -> u8;

    /// Puts a head of a key in its place among the 64 of a block.
    #[inline(always)]
    fn place(key: &[Self::Number], place: usize, block: &mut [Self::Number]) {
        for (to, number) in block.iter_mut().skip(place).step_by(KEY_BLOCK).zip(key) {
            *to = *number;
        }
    }

    /// The scores of some queries, each with its 64 keys of a block, but for the keys' exponents. Those of keys that
    /// are not there yet are any numbers.
    #[inline(always)]
    fn scores<L: Lanes, const HEADS: usize>(
        lanes: L,
        heads: [(Query<'_>, &[Self::Number]); HEADS],
    ) -> [[L::Vector; PARTS]; HEADS] {
        let dims = heads[0].0.numbers.len();
        for (query, keys) in &heads {
            assert!(query.numbers.len() == dims && keys.len() == dims * KEY_BLOCK);
        }
        let mut scores = [[lanes.zero(); PARTS]; HEADS];
        for d in 0..dims {
            for ((query, keys), scores) in heads.iter().zip(&mut scores) {
                let query = lanes.splat(query.numbers[d]);
                for (part, score) in scores.iter_mut().enumerate() {
                    // SAFETY: each dimension has four times sixteen keys, as asserted.
                    let keys = unsafe {
                        Self::load(lanes, keys.as_ptr().add(d * KEY_BLOCK + part * LANES))
                    };
                    *score = lanes.fma(query, keys, *score);
                }
            }
        }
        scores
    }
}

/// The newest token's queries: numbers and bytes [heads, dims], powers [heads].
pub(super) struct Queries<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) bytes: &'a [i8],
    pub(super) powers: &'a [f32],
}

impl Queries<'_> {
    #[inline(always)]
    pub(super) fn head(&self, head: usize, dims: usize) -> Query<'_> {
        let within = head * dims..(head + 1) * dims;
        let bytes = &self.bytes[within.clone()];
        Query { numbers: &self.numbers[within], bytes, power: self.powers[head] }
    }
}

/// A head of the newest token's queries.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    /// [dims].
    numbers: &'a [f32],
    /// The same as bytes, and the power of two that they are multiples of, where keys are bytes.
    bytes: &'a [i8],
    power: f32,
}

#[derive(Clone, Copy)]
pub(super) struct Singles;

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
pub(super) struct Halves;

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
pub(super) struct Bytes;

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

    #[inline(always)]
    fn place(key: &[i8], place: usize, block: &mut [i8]) {
        for (four, to) in key.chunks_exact(4).zip(block.chunks_exact_mut(4 * KEY_BLOCK)) {
            for (to, number) in to[4 * place..].iter_mut().zip(four) {
                *to = *number ^ i8::MIN;
            }
        }
    }

    #[inline(always)]
    fn scores<L: Lanes, const HEADS: usize>(
        lanes: L,
        heads: [(Query<'_>, &[i8]); HEADS],
    ) -> [[L::Vector; PARTS]; HEADS] {
        // Closures may not be compiled for the level: hence loops.
        let mut scores = [[lanes.zero(); PARTS]; HEADS];
        for (i, (query, keys)) in heads.iter().enumerate() {
            assert!(keys.len() == query.bytes.len() * KEY_BLOCK);
            // SAFETY: the keys are as many as that, and dimensions a multiple of four.
            let sums = unsafe { lanes.dot_bytes(query.bytes, keys.as_ptr().cast()) };
            for part in 0..PARTS {
                scores[i][part] = lanes.mul(sums[part], lanes.splat(query.power));
            }
        }
        scores
    }
}
