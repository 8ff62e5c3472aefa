//! FLAC, one channel: the frames are made by the `flac-codec` crate; for each block, several windows are tried and the
//! smallest result is kept, as in the program `flac`. Samples have 16 bits if the corpus has them; all other bytes are
//! samples of 8 bits around 128. Data other than sound has 16,000 samples a second, as in the paper.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use flac_codec::encode::{FlacStreamWriter, Options, Window};
use lmtrain_runs::Medium;

use super::input::Input;

/// Samples a second of what is no sound.
const RATE_HZ: u32 = 16_000;
/// Samples of a block.
const BLOCK_SAMPLES: u16 = 4096;
/// What samples are weighted by before the predictor of a block is computed. No one is best for all blocks.
const WINDOWS: [Window; 4] =
    [Window::Tukey(0.5), Window::Hann, Window::Rectangle, Window::Tukey(0.2)];

pub(super) fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    about: Input,
) -> io::Result<()> {
    // Of no samples the format has no count.
    if about.length == 0 {
        return Ok(());
    }
    let (bits, rate_hz) = match about.medium {
        // Half a sample is none: such bytes are samples each.
        Medium::Audio { bits: 16, rate_hz } if about.length.is_multiple_of(2) => (16, rate_hz),
        Medium::Audio { rate_hz, .. } => (8, rate_hz),
        _ => (8, RATE_HZ),
    };
    let rate_hz = if is_told_by_frames(rate_hz) { rate_hz } else { RATE_HZ };
    output.write_all(&head(bits, rate_hz, about.length * 8 / u64::from(bits)))?;
    let mut encoders = WINDOWS.map(Encoder::new);
    loop {
        let mut bytes = Vec::new();
        let block = u64::from(BLOCK_SAMPLES) * u64::from(bits) / 8;
        input.take(block).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let samples = samples_of(&bytes, bits);
        let frames = encoders.iter_mut().map(|encoder| encoder.frame(rate_hz, bits, &samples));
        let frames = frames.collect::<io::Result<Vec<_>>>()?;
        let smallest = frames.into_iter().min_by_key(Vec::len);
        output.write_all(&smallest.unwrap_or_default())?;
    }
}

/// Whether the header of a frame has room for a rate: in Hz, or in tens of them.
fn is_told_by_frames(rate_hz: u32) -> bool {
    let in_tens = rate_hz.is_multiple_of(10).then_some(rate_hz / 10);
    rate_hz > 0 && [Some(rate_hz), in_tens].into_iter().flatten().any(|it| it <= 0xffff)
}

/// What stands before the frames. The sizes of these and the hash of the samples are zero, as the program `flac` leaves
/// them in a stream that cannot go back.
fn head(bits: u32, rate_hz: u32, samples: u64) -> Vec<u8> {
    let mut head = b"fLaC".to_vec();
    // The last block of metadata, of 34 bytes.
    head.extend([0x80, 0, 0, 34]);
    head.extend([BLOCK_SAMPLES.to_be_bytes(); 2].concat());
    head.extend([0; 6]);
    // 20 bits of rate, 3 of channels and 5 of bits, each of these less one, and 36 of samples.
    let of_one_channel = u64::from(rate_hz) << 44 | u64::from(bits - 1) << 36;
    // More samples than the format can count are said to be unknown.
    let counted = if samples < 1 << 36 { samples } else { 0 };
    head.extend((of_one_channel | counted).to_be_bytes());
    head.extend([0; 16]);
    head
}

/// Makes frames with a window of its own, each the next in number.
struct Encoder {
    writer: FlacStreamWriter<Shared>,
    written: Shared,
}

impl Encoder {
    fn new(window: Window) -> Self {
        let written = Shared::default();
        let writer = FlacStreamWriter::new(written.clone(), Options::best().window(window));
        Self { writer, written }
    }

    fn frame(&mut self, rate_hz: u32, bits: u32, samples: &[i32]) -> io::Result<Vec<u8>> {
        self.writer.write(rate_hz, 1, bits, samples).map_err(io::Error::other)?;
        Ok(self.written.0.take())
    }
}

/// What an encoder writes to, and its owner reads.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn samples_of(bytes: &[u8], bits: u32) -> Vec<i32> {
    match bits {
        16 => bytes.as_chunks().0.iter().map(|&pair| i16::from_le_bytes(pair).into()).collect(),
        _ => bytes.iter().map(|&byte| i32::from(byte) - 128).collect(),
    }
}
