//! bzip2, level 9: the same sizes as the program `bzip2 -9`.

use std::io::{self, Read, Write};

use bzip2::Compression;
use bzip2::write::BzEncoder;

use super::input::Input;

pub(super) fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    _about: Input,
) -> io::Result<()> {
    let mut encoder = BzEncoder::new(output, Compression::best());
    io::copy(input, &mut encoder)?;
    encoder.finish().map(|_| ())
}
