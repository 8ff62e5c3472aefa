//! PNG, grey with 8 bits per pixel, as libpng makes it at its highest level, and so Pillow, which the paper's code
//! uses: each row is filtered by the filter with the smallest sum of differences, and deflate uses only matches of more
//! than five bytes (zlib's `Z_FILTERED`). Empty input gives empty output, since an image must have pixels.

use std::io::{self, Read, Write};

use super::deflate::{Matching, deflate};
use super::input::Input;
use super::layout::Layout;

/// Bytes of a chunk of the file, so that few are needed.
const CHUNK_BYTES: usize = 1 << 20;
/// Deflate with a window of 32 KiB, at the slowest.
const ZLIB_HEADER: [u8; 2] = [0x78, 0xda];
/// The largest prime below 2^16: what Adler's sums are taken modulo.
const ADLER_MODULUS: u32 = 65_521;

/// Patches as they are, and everything else as an image that is not higher than wide.
pub(super) fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    about: Input,
) -> io::Result<()> {
    encode(input, output, Layout::of(about)?)
}

/// The paper's code gives the height for the width: the same bytes, row after row, in an image 32 wide and 64 high.
pub(super) fn compress_transposed(
    input: &mut dyn Read,
    output: &mut dyn Write,
    about: Input,
) -> io::Result<()> {
    encode(input, output, Layout::of(about)?.transposed())
}

fn encode(input: &mut dyn Read, output: &mut dyn Write, layout: Layout) -> io::Result<()> {
    if layout.pixels() == 0 {
        return Ok(());
    }
    output.write_all(b"\x89PNG\r\n\x1a\n")?;
    let mut head = [layout.width.to_be_bytes(), layout.height.to_be_bytes()].concat();
    // 8 bits, grey, deflate, a filter for each row, no interlacing.
    head.extend([8, 0, 0, 0, 0]);
    write_chunk(output, *b"IHDR", &head)?;
    let mut data = Data { output, waiting: Vec::new() };
    data.write_all(&ZLIB_HEADER)?;
    let mut rows = Rows::new(input, layout);
    deflate(&mut rows, &mut data, Matching::Long)?;
    data.write_all(&rows.adler().to_be_bytes())?;
    data.write_out()?;
    write_chunk(data.output, *b"IEND", &[])
}

fn write_chunk(output: &mut dyn Write, kind: [u8; 4], data: &[u8]) -> io::Result<()> {
    let length = u32::try_from(data.len()).map_err(io::Error::other)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&kind);
    crc.update(data);
    output.write_all(&length.to_be_bytes())?;
    output.write_all(&kind)?;
    output.write_all(data)?;
    output.write_all(&crc.finalize().to_be_bytes())
}

/// Compressed pixels on their way into chunks of the file.
struct Data<'a> {
    output: &'a mut dyn Write,
    waiting: Vec<u8>,
}

impl Data<'_> {
    fn write_out(&mut self) -> io::Result<()> {
        write_chunk(self.output, *b"IDAT", &self.waiting)?;
        self.waiting.clear();
        Ok(())
    }
}

impl Write for Data<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.waiting.len() >= CHUNK_BYTES {
            self.write_out()?;
        }
        self.waiting.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads pixels, and gives rows of differences, each after the number of its filter.
struct Rows<'a> {
    input: &'a mut dyn Read,
    left: u32,
    above: Vec<u8>,
    row: Vec<u8>,
    /// The row under each filter.
    filtered: [Vec<u8>; 5],
    /// The one that is given, and what of it was.
    given: (usize, usize),
    adler: [u32; 2],
}

impl<'a> Rows<'a> {
    fn new(input: &'a mut dyn Read, layout: Layout) -> Self {
        let width = layout.width as usize;
        let filtered = std::array::from_fn(|_| vec![0; width + 1]);
        let (above, row) = (vec![0; width], vec![0; width]);
        Self {
            input,
            left: layout.height,
            above,
            row,
            filtered,
            given: (0, width + 1),
            adler: [1, 0],
        }
    }

    /// Reads the next row, filters it, and chooses.
    fn next(&mut self) -> io::Result<()> {
        std::mem::swap(&mut self.above, &mut self.row);
        self.input.read_exact(&mut self.row)?;
        let sums = [0, 1, 2, 3, 4].map(|filter| {
            let sum =
                filter_row(filter, &self.row, &self.above, &mut self.filtered[filter as usize]);
            (sum, filter as usize)
        });
        let (_, least) = sums.into_iter().min().unwrap_or_default();
        for &byte in &self.filtered[least] {
            self.adler[0] = (self.adler[0] + u32::from(byte)) % ADLER_MODULUS;
            self.adler[1] = (self.adler[1] + self.adler[0]) % ADLER_MODULUS;
        }
        self.given = (least, 0);
        self.left -= 1;
        Ok(())
    }

    /// The checksum of all that was given.
    fn adler(&self) -> u32 {
        self.adler[1] << 16 | self.adler[0]
    }
}

impl Read for Rows<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given.1 == self.filtered[self.given.0].len() && self.left > 0 {
            self.next()?;
        }
        let mut rest = &self.filtered[self.given.0][self.given.1..];
        let count = rest.read(buffer)?;
        self.given.1 += count;
        Ok(count)
    }
}

/// Differences of a row from what a filter expects, after its number, into `filtered`; the sum of their sizes, as
/// numbers between -128 and 127.
fn filter_row(filter: u8, row: &[u8], above: &[u8], filtered: &mut [u8]) -> u64 {
    filtered[0] = filter;
    let (mut left, mut corner, mut sum) = (0, 0, 0);
    for ((difference, &pixel), &up) in filtered[1..].iter_mut().zip(row).zip(above) {
        let expected = match filter {
            0 => 0,
            1 => left,
            2 => up,
            3 => left.midpoint(up),
            _ => paeth(left, up, corner),
        };
        *difference = pixel.wrapping_sub(expected);
        sum += u64::from(difference.cast_signed().unsigned_abs());
        (left, corner) = (pixel, up);
    }
    sum
}

/// The neighbour that is nearest to left + up - corner.
fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, up, corner].map(i16::from);
    let far = |it: i16| (a + b - c - it).abs();
    if far(a) <= far(b) && far(a) <= far(c) {
        left
    } else if far(b) <= far(c) {
        up
    } else {
        corner
    }
}
