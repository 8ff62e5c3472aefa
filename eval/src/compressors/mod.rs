//! General compressors, the yardsticks beside which networks are measured. To add one: a file here
//! with a function of [`Compressor`]'s kind, and a row in [`COMPRESSORS`].

mod deflate;
mod gzip;
mod lzma2;

use std::io::{self, Read, Write};

/// Compresses all of the input. The length, if known, may decide how much memory is taken.
type Compress = fn(&mut dyn Read, &mut dyn Write, Option<u64>) -> io::Result<()>;

/// A compressor with all of its choices made.
pub struct Compressor {
    /// Its name on the command line and in records.
    pub name: &'static str,
    /// The choices, in words.
    pub preset: &'static str,
    /// What does it, and its version.
    pub library: &'static str,
    compress: Compress,
}

/// Every compressor there is.
pub static COMPRESSORS: [Compressor; 2] = [
    Compressor {
        name: "gzip",
        preset: "level 9",
        library: concat!("lmtrain ", env!("CARGO_PKG_VERSION"), ", as GNU gzip 1.12"),
        compress: gzip::compress,
    },
    Compressor {
        name: "lzma2",
        preset: "preset 9e, .xz with CRC-64",
        library: "liblzma 5.8",
        compress: lzma2::compress,
    },
];

/// A name that no compressor has.
#[derive(Debug, thiserror::Error)]
#[error("no compressor is called `{name}`; there are {}", names())]
pub struct UnknownCompressor {
    /// The name.
    pub name: String,
}

/// The compressor of this name.
///
/// # Errors
/// [`UnknownCompressor`], which names those there are.
pub fn by_name(name: &str) -> Result<&'static Compressor, UnknownCompressor> {
    let found = COMPRESSORS.iter().find(|compressor| compressor.name == name);
    found.ok_or_else(|| UnknownCompressor { name: name.to_owned() })
}

fn names() -> String {
    let names: Vec<String> =
        COMPRESSORS.iter().map(|compressor| format!("`{}`", compressor.name)).collect();
    names.join(", ")
}

impl Compressor {
    /// Compresses all of `input`, in bounded memory.
    ///
    /// # Errors
    /// If reading or writing fails.
    pub fn compress(&self, input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
        (self.compress)(input, output, None)
    }

    /// Compresses a chunk.
    ///
    /// # Errors
    /// If the compressor fails, for want of memory for instance.
    pub fn compress_chunk(&self, chunk: &[u8]) -> io::Result<Vec<u8>> {
        let (mut rest, mut output) = (chunk, Vec::new());
        (self.compress)(&mut rest, &mut output, Some(chunk.len() as u64))?;
        Ok(output)
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({}, {})", self.name, self.preset, self.library)
    }
}

#[cfg(test)]
mod tests;
