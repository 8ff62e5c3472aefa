//! One deflate block: literals and matches are collected, then written stored, with the fixed code or with their own
//! codes, whichever is shortest (RFC 1951, section 3.2; the choices are those of GNU gzip's `trees.c`).

use super::huffman::{Code, MAXIMUM_BITS};

/// Literals and matches that a block holds at most.
const MAXIMUM_SYMBOLS: usize = 0x8000;
/// Every so many of them, ending the block early is considered.
const CHECK_EVERY: usize = 0x1000;

const END_OF_BLOCK: usize = 256;
const LENGTH_CODES: usize = 29;
const DISTANCE_CODES: usize = 30;
const LENGTH_EXTRA: [u8; LENGTH_CODES] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
/// The order in which the lengths of the code-length code are sent.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// Extra bits of the code-length symbols 16, 17 and 18.
const REPEAT_EXTRA: [u8; 3] = [2, 3, 7];

/// Bits on their way out, the first in the lowest place.
#[derive(Clone, Debug, Default)]
pub(super) struct BitWriter {
    pub(super) bytes: Vec<u8>,
    waiting: u64,
    count: u32,
}

impl BitWriter {
    fn put(&mut self, value: u16, bits: u8) {
        self.waiting |= u64::from(value) << self.count;
        self.count += u32::from(bits);
        while self.count >= 8 {
            self.bytes.push(self.waiting.to_le_bytes()[0]);
            self.waiting >>= 8;
            self.count -= 8;
        }
    }

    /// Bits written so far.
    pub(super) fn bits(&self) -> u64 {
        8 * self.bytes.len() as u64 + u64::from(self.count)
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) {
        let missing = (8 - self.count % 8) % 8;
        self.put(0, u8::try_from(missing).unwrap_or_default());
    }
}

/// A symbol of the code-length code and its extra bits.
type LengthSymbol = (u8, u16);

/// The symbols of the block being gathered.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// (distance, length − 3) of a match; (0, byte) of a literal.
    symbols: Vec<(u16, u8)>,
    matches: usize,
    literal_counts: Vec<u32>,
    distance_counts: Vec<u32>,
}

impl Default for Block {
    fn default() -> Self {
        let mut literal_counts = vec![0; END_OF_BLOCK + 1 + LENGTH_CODES];
        literal_counts[END_OF_BLOCK] = 1;
        let distance_counts = vec![0; DISTANCE_CODES];
        Self { symbols: Vec::new(), matches: 0, literal_counts, distance_counts }
    }
}

impl Block {
    /// Adds a literal; true if the block should end. `spanned`: raw bytes since its start.
    pub(super) fn literal(&mut self, byte: u8, spanned: usize) -> bool {
        self.symbols.push((0, byte));
        self.literal_counts[usize::from(byte)] += 1;
        self.should_end(spanned)
    }

    /// Adds a match of `length` bytes; true if the block should end.
    pub(super) fn matched(&mut self, distance: usize, length: usize, spanned: usize) -> bool {
        let length = u8::try_from(length - 3).unwrap_or(u8::MAX);
        self.symbols.push((u16::try_from(distance).unwrap_or(u16::MAX), length));
        self.matches += 1;
        self.literal_counts[END_OF_BLOCK + 1 + length_code(length).0] += 1;
        self.distance_counts[distance_code(distance).0] += 1;
        self.should_end(spanned)
    }

    /// Whether it is full, or, at certain fillings, compresses so well that its codes are worth
    /// keeping from what follows.
    fn should_end(&self, spanned: usize) -> bool {
        let symbols = self.symbols.len();
        if symbols.is_multiple_of(CHECK_EVERY) {
            let counts = self.distance_counts.iter().enumerate();
            let distances: usize =
                counts.map(|(code, &count)| count as usize * (5 + distance_extra(code))).sum();
            let compressed = (symbols * 8 + distances) >> 3;
            if self.matches < symbols / 2 && compressed < spanned / 2 {
                return true;
            }
        }
        symbols == MAXIMUM_SYMBOLS - 1
    }

    /// Writes the block. `raw`: its bytes, if they are still at hand and at most
    /// 65,535.
    pub(super) fn write(&self, raw: Option<&[u8]>, last: bool, out: &mut BitWriter) {
        let literals = Code::of(&self.literal_counts, MAXIMUM_BITS);
        let distances = Code::of(&self.distance_counts, MAXIMUM_BITS);
        let lengths = length_symbols(&[&literals, &distances]);
        let mut counts = [0; 19];
        lengths.iter().for_each(|(symbol, _)| counts[usize::from(*symbol)] += 1);
        let length_code = Code::of(&counts, 7);
        let sent = ORDER.iter().rposition(|&symbol| length_code.lengths[symbol] > 0);
        let sent = sent.map_or(4, |last| (last + 1).max(4));

        let header = 14 + 3 * sent + length_bits(&counts, &length_code);
        let own = (self.bits(&literals, &distances) + header + 3 + 7) >> 3;
        let (fixed_literals, fixed_distances) = fixed_codes();
        let fixed = (self.bits(&fixed_literals, &fixed_distances) + 3 + 7) >> 3;
        match raw {
            Some(raw) if raw.len() + 4 <= own.min(fixed) => write_stored(raw, last, out),
            _ if fixed <= own => {
                out.put(u16::from(last) | 1 << 1, 3);
                self.write_symbols(&fixed_literals, &fixed_distances, out);
            }
            _ => {
                out.put(u16::from(last) | 2 << 1, 3);
                write_codes(&literals, &distances, &length_code, sent, &lengths, out);
                self.write_symbols(&literals, &distances, out);
            }
        }
    }

    /// Bits of the symbols in these codes.
    fn bits(&self, literals: &Code, distances: &Code) -> usize {
        let literal_extra = |symbol: usize| match symbol.checked_sub(END_OF_BLOCK + 1) {
            Some(code) => usize::from(LENGTH_EXTRA[code]),
            None => 0,
        };
        let bits = |counts: &[u32], code: &Code, extra: &dyn Fn(usize) -> usize| -> usize {
            let cost = |symbol: usize| usize::from(code.lengths[symbol]) + extra(symbol);
            counts.iter().enumerate().map(|(symbol, &count)| count as usize * cost(symbol)).sum()
        };
        bits(&self.literal_counts, literals, &literal_extra)
            + bits(&self.distance_counts, distances, &distance_extra)
    }

    fn write_symbols(&self, literals: &Code, distances: &Code, out: &mut BitWriter) {
        let put = |out: &mut BitWriter, code: &Code, symbol: usize| {
            out.put(code.codes[symbol], code.lengths[symbol]);
        };
        for &(distance, literal) in &self.symbols {
            if distance == 0 {
                put(out, literals, usize::from(literal));
                continue;
            }
            let (code, extra) = length_code(literal);
            put(out, literals, END_OF_BLOCK + 1 + code);
            out.put(extra, LENGTH_EXTRA[code]);
            let (code, extra) = distance_code(usize::from(distance));
            put(out, distances, code);
            out.put(extra, u8::try_from(distance_extra(code)).unwrap_or_default());
        }
        put(out, literals, END_OF_BLOCK);
    }
}

fn write_stored(raw: &[u8], last: bool, out: &mut BitWriter) {
    out.put(u16::from(last), 3);
    out.align();
    let length = u16::try_from(raw.len()).unwrap_or(u16::MAX);
    out.put(length, 16);
    out.put(!length, 16);
    out.bytes.extend(raw);
}

fn write_codes(
    literals: &Code,
    distances: &Code,
    length_code: &Code,
    sent: usize,
    lengths: &[LengthSymbol],
    out: &mut BitWriter,
) {
    for (count, bits) in [(literals.last - 256, 5), (distances.last, 5), (sent - 4, 4)] {
        out.put(u16::try_from(count).unwrap_or_default(), bits);
    }
    for &symbol in &ORDER[..sent] {
        out.put(u16::from(length_code.lengths[symbol]), 3);
    }
    for &(symbol, extra) in lengths {
        let symbol = usize::from(symbol);
        out.put(length_code.codes[symbol], length_code.lengths[symbol]);
        if let Some(bits) = symbol.checked_sub(16) {
            out.put(extra, REPEAT_EXTRA[bits]);
        }
    }
}

/// Bits of all symbols of the code-length code.
fn length_bits(counts: &[u32; 19], code: &Code) -> usize {
    let cost = |symbol: usize| {
        let extra = symbol.checked_sub(16).map_or(0, |repeat| REPEAT_EXTRA[repeat]);
        usize::from(code.lengths[symbol]) + usize::from(extra)
    };
    counts.iter().enumerate().map(|(symbol, &count)| count as usize * cost(symbol)).sum()
}

/// The lengths of both codes in the run-length symbols of RFC 1951, section 3.2.7. Runs do not
/// cross from one code to the next.
fn length_symbols(codes: &[&Code]) -> Vec<LengthSymbol> {
    let mut symbols = Vec::new();
    for code in codes {
        for run in code.lengths[..=code.last].chunk_by(|left, right| left == right) {
            push_run(run[0], run.len(), &mut symbols);
        }
    }
    symbols
}

fn push_run(length: u8, count: usize, symbols: &mut Vec<LengthSymbol>) {
    let mut left = count;
    let extra = |count: usize, least: usize| u16::try_from(count - least).unwrap_or_default();
    if length > 0 {
        symbols.push((length, 0));
        left -= 1;
    }
    while left > 0 {
        let (most, least, symbol) = match (length, left) {
            (0, 11..) => (138, 11, 18),
            (0, 3..) => (10, 3, 17),
            (1.., 3..) => (6, 3, 16),
            _ => {
                symbols.extend(std::iter::repeat_n((length, 0), left));
                return;
            }
        };
        let taken = left.min(most);
        symbols.push((symbol, extra(taken, least)));
        left -= taken;
    }
}

/// The code of a match's length − 3, and the extra bits.
fn length_code(length: u8) -> (usize, u16) {
    if length == 255 {
        return (LENGTH_CODES - 1, 0);
    }
    let mut base = 0_u16;
    for (code, &bits) in LENGTH_EXTRA.iter().enumerate() {
        if u16::from(length) < base + (1 << bits) {
            return (code, u16::from(length) - base);
        }
        base += 1 << bits;
    }
    (LENGTH_CODES - 1, 0)
}

/// The code of a distance, and the extra bits.
fn distance_code(distance: usize) -> (usize, u16) {
    let zero_based = distance - 1;
    if zero_based < 4 {
        return (zero_based, 0);
    }
    let bits = zero_based.ilog2() as usize - 1;
    let code = 2 * bits + (zero_based >> bits);
    (code, u16::try_from(zero_based & ((1 << bits) - 1)).unwrap_or_default())
}

/// Extra bits of a distance's code.
fn distance_extra(code: usize) -> usize {
    (code / 2).saturating_sub(1)
}

/// The fixed codes of RFC 1951, section 3.2.6.
fn fixed_codes() -> (Code, Code) {
    let lengths = [(8, 144), (9, 112), (7, 24), (8, 8)];
    let literals = lengths.iter().flat_map(|&(bits, count)| std::iter::repeat_n(bits, count));
    (Code::with_lengths(literals.collect(), 287), Code::with_lengths(vec![5; DISTANCE_CODES], 29))
}
