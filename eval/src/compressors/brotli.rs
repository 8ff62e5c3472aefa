//! Brotli, quality 11, with the longest window that the standard allows.

use std::io::{self, Read, Write};

use brotli::enc::BrotliEncoderParams;

use super::input::Input;

/// Bits of the shortest and of the longest window.
const WINDOW_LOGS: std::ops::RangeInclusive<u32> = 10..=24;
/// Bytes of a window that no match reaches.
const WINDOW_GAP: u64 = 16;

/// The window is no longer than the input needs, as the program `brotli` has it.
pub(super) fn compress(
    mut input: &mut dyn Read,
    mut output: &mut dyn Write,
    about: Input,
) -> io::Result<()> {
    let holds_all = |log: &u32| (1 << log) - WINDOW_GAP >= about.length;
    let log = WINDOW_LOGS.into_iter().find(holds_all).unwrap_or(*WINDOW_LOGS.end());
    let parameters = BrotliEncoderParams {
        quality: 11,
        lgwin: log.cast_signed(),
        size_hint: usize::try_from(about.length).unwrap_or(usize::MAX),
        ..BrotliEncoderParams::default()
    };
    brotli::BrotliCompress(&mut input, &mut output, &parameters).map(|_| ())
}
