//! Deflate at its highest level, bit for bit the choices of the program `gzip -9`: lazy matching in
//! a sliding window of 32 KiB (RFC 1951; the algorithm of J. Gailly and M. Adler's `deflate.c`).
//!
//! No library gives the program's sizes. zlib divides blocks differently (0.09 % more on the beginning of enwik8);
//! zlib-rs and miniz_oxide also match differently, and which of them flate2 uses depends on the rest of the build. A
//! yardstick should not change with the dependencies.

mod block;
mod huffman;

use std::io::{self, Read, Write};

use block::{BitWriter, Block};

const WINDOW: usize = 1 << 15;
const MASK: usize = WINDOW - 1;
const SHORTEST: usize = 3;
const LONGEST: usize = 258;
/// Bytes ahead that matching wants to see.
const AHEAD: usize = LONGEST + SHORTEST + 1;
const FURTHEST: usize = WINDOW - AHEAD;
/// A match of three bytes from further away costs more than three literals.
const TOO_FAR: usize = 4096;
const HASH_BITS: u32 = 15;
/// Level 9: a match of `GOOD` bytes makes the search for a better one a quarter as long.
const GOOD: usize = 32;
const CHAIN: usize = 4096;

/// Which matches are worth their bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Matching {
    /// All, as in text.
    #[default]
    Any,
    /// Those of more than five bytes, as among small differences that chance repeats: zlib's `Z_FILTERED`.
    Long,
}

impl Matching {
    fn shortest(self) -> usize {
        match self {
            Self::Any => SHORTEST,
            Self::Long => 6,
        }
    }
}

/// Compresses `input` to a raw deflate stream.
pub(super) fn deflate(
    input: &mut dyn Read,
    output: &mut dyn Write,
    matching: Matching,
) -> io::Result<()> {
    let mut deflater = Deflater::new(matching);
    deflater.run(input, &mut |out| {
        if out.bytes.len() > WINDOW {
            output.write_all(&out.bytes)?;
            out.bytes.clear();
        }
        Ok(())
    })?;
    deflater.out.align();
    output.write_all(&deflater.out.bytes)
}

/// A stream that is compressed as far as nothing that follows can change it, to be continued in several ways.
#[derive(Clone)]
pub(super) struct Begun(Deflater);

impl Begun {
    /// Compresses the beginning of a stream.
    pub(super) fn new(mut beginning: &[u8]) -> io::Result<Self> {
        let mut deflater = Deflater::new(Matching::Any);
        loop {
            while deflater.ahead < AHEAD && !beginning.is_empty() {
                deflater.fill(&mut beginning)?;
                // That there is no more is true of the beginning alone.
                deflater.ended = false;
            }
            if deflater.ahead < AHEAD {
                return Ok(Self(deflater));
            }
            deflater.step();
        }
    }

    /// The stream's bits, before the last byte is filled up, if it ends so.
    pub(super) fn bits_with(&self, mut end: &[u8]) -> io::Result<u64> {
        let mut deflater = self.0.clone();
        deflater.run(&mut end, &mut |_| Ok(()))?;
        Ok(deflater.out.bits())
    }
}

#[derive(Clone)]
struct Deflater {
    matching: Matching,
    /// Twice the window, and room for comparing beyond the end of the input.
    bytes: Vec<u8>,
    /// Where the byte being looked at is.
    at: usize,
    /// Bytes read but not yet looked at.
    ahead: usize,
    /// Where the block began; negative once that has slid out of the window.
    block_start: isize,
    ended: bool,
    /// Last position of each hash; 0 is none.
    heads: Vec<u16>,
    /// The position before of the same hash, by position modulo the window.
    previous: Vec<u16>,
    /// The match at `at`: its start and length.
    matched: (usize, usize),
    /// Whether the byte before `at` still waits to be sent as a literal.
    literal_waits: bool,
    block: Block,
    out: BitWriter,
}

impl Deflater {
    fn new(matching: Matching) -> Self {
        Self {
            matching,
            bytes: vec![0; 2 * WINDOW + AHEAD],
            at: 0,
            ahead: 0,
            block_start: 0,
            ended: false,
            heads: vec![0; 1 << HASH_BITS],
            previous: vec![0; WINDOW],
            matched: (0, SHORTEST - 1),
            literal_waits: false,
            block: Block::default(),
            out: BitWriter::default(),
        }
    }

    /// Reads as much as the window has room for, sliding it if it is full and its upper half has been looked at.
    fn fill(&mut self, input: &mut dyn Read) -> io::Result<()> {
        if self.at >= WINDOW + FURTHEST && self.at + self.ahead == 2 * WINDOW {
            self.bytes.copy_within(WINDOW..2 * WINDOW, 0);
            self.at -= WINDOW;
            self.block_start -= WINDOW.cast_signed();
            self.matched.0 = self.matched.0.wrapping_sub(WINDOW);
            for position in self.heads.iter_mut().chain(&mut self.previous) {
                *position = position.saturating_sub(1 << 15);
            }
        }
        let mut end = self.at + self.ahead;
        while end < 2 * WINDOW && !self.ended {
            match input.read(&mut self.bytes[end..2 * WINDOW]) {
                Ok(0) => self.ended = true,
                Ok(count) => end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.ended {
            // What lies beyond the end must not depend on what was there before.
            self.bytes[end..].fill(0);
        }
        self.ahead = end - self.at;
        Ok(())
    }

    /// Looks at one byte: sends the match that began a byte before if none as long begins here.
    fn step(&mut self) {
        let candidate = self.insert(self.at);
        let (before, before_length) = self.matched;
        self.matched = (before, SHORTEST - 1);
        if candidate != 0 && before_length < LONGEST && self.at - candidate <= FURTHEST {
            self.matched = self.longest_match(candidate, before_length);
        }
        let spanned = (self.at.cast_signed() - self.block_start).unsigned_abs();
        if before_length >= SHORTEST && self.matched.1 <= before_length {
            let full = self.block.matched(self.at - 1 - before, before_length, spanned);
            for position in self.at + 1..self.at + before_length - 1 {
                self.insert(position);
            }
            self.advance(before_length - 1);
            self.literal_waits = false;
            self.matched.1 = SHORTEST - 1;
            self.end_block_if(full);
        } else if self.literal_waits {
            let full = self.block.literal(self.bytes[self.at - 1], spanned);
            self.end_block_if(full);
            self.advance(1);
        } else {
            self.literal_waits = true;
            self.advance(1);
        }
    }

    fn advance(&mut self, count: usize) {
        self.at += count;
        self.ahead -= count;
    }

    /// Remembers the three bytes at a position; the last position of the same hash, or 0.
    fn insert(&mut self, position: usize) -> usize {
        let hash = self.bytes[position..position + SHORTEST]
            .iter()
            .fold(0, |hash, &byte| (hash << (HASH_BITS / 3)) ^ usize::from(byte));
        let head = &mut self.heads[hash & ((1 << HASH_BITS) - 1)];
        let candidate = *head;
        self.previous[position & MASK] = candidate;
        *head = u16::try_from(position).unwrap_or_default();
        usize::from(candidate)
    }

    /// The longest match along the chain from `candidate`, if longer than the one a byte before;
    /// else a length no longer than that.
    fn longest_match(&self, candidate: usize, before_length: usize) -> (usize, usize) {
        let (mut start, mut best) = (self.matched.0, before_length);
        let limit = self.at.saturating_sub(FURTHEST);
        let here = &self.bytes[self.at..self.at + LONGEST];
        let mut chain = if before_length >= GOOD { CHAIN >> 2 } else { CHAIN };
        let mut candidate = candidate;
        loop {
            let there = &self.bytes[candidate..candidate + LONGEST];
            if there[best - 1..=best] == here[best - 1..=best] && there[..2] == here[..2] {
                let length = common_prefix(here, there);
                if length > best {
                    (start, best) = (candidate, length);
                }
            }
            candidate = usize::from(self.previous[candidate & MASK]);
            chain -= 1;
            if best >= LONGEST || candidate <= limit || chain == 0 {
                break;
            }
        }
        // A start that was not improved may have slid out of the window, below 0.
        let length = best.min(self.ahead);
        let wasteful = length < self.matching.shortest()
            || length == SHORTEST && self.at.wrapping_sub(start) > TOO_FAR;
        (start, if wasteful { SHORTEST - 1 } else { length })
    }

    fn end_block_if(&mut self, full: bool) {
        if full {
            self.write_block(false);
        }
    }

    fn write_block(&mut self, last: bool) {
        let start = usize::try_from(self.block_start).ok();
        let raw = start.map(|start| &self.bytes[start..self.at]);
        let raw = raw.filter(|raw| raw.len() <= usize::from(u16::MAX));
        self.block.write(raw, last, &mut self.out);
        self.block = Block::default();
        self.block_start = self.at.cast_signed();
    }

    /// Compresses the rest of a stream. `drain` may take bytes out after each step.
    fn run(
        &mut self,
        input: &mut dyn Read,
        drain: &mut dyn FnMut(&mut BitWriter) -> io::Result<()>,
    ) -> io::Result<()> {
        loop {
            while self.ahead < AHEAD && !self.ended {
                self.fill(input)?;
            }
            if self.ahead == 0 {
                break;
            }
            self.step();
            drain(&mut self.out)?;
        }
        if self.literal_waits {
            self.block.literal(self.bytes[self.at - 1], 0);
        }
        self.write_block(true);
        Ok(())
    }
}

/// Length of what two runs of 258 bytes have in common.
fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    let mut length = 0;
    for (left, right) in left.chunks_exact(8).zip(right.chunks_exact(8)) {
        let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let different = word(left) ^ word(right);
        if different != 0 {
            return length + different.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let rest = left[length..].iter().zip(&right[length..]);
    length + rest.take_while(|(left, right)| left == right).count()
}
