//! Classical compressors, with which networks are compared. To add one, add a file here with a function of
//! [`Compressor`]'s type, and a row in [`COMPRESSORS`].

mod bits;
mod brotli;
mod bzip2;
mod deflate;
mod flac;
mod gzip;
mod input;
mod layout;
mod lzma2;
mod oxipng;
mod png;
mod ppmd;
mod webp;
mod zstandard;

use std::io::{self, Read, Write};

use lmtrain_runs::Medium;

pub use input::Input;

/// Compresses all of the input.
type Compress = fn(&mut dyn Read, &mut dyn Write, Input) -> io::Result<()>;

/// A compressor with all of its choices made.
pub struct Compressor {
    /// Its name on the command line and in records.
    pub name: &'static str,
    /// The choices, in words.
    pub preset: &'static str,
    /// Whether it is measured on whole corpora as well as on chunks; not if it takes minutes for megabytes.
    pub takes_wholes: bool,
    library: fn() -> String,
    compress: Compress,
}

/// A library and its version, as `Cargo.lock` has it (`build.rs` reads it): `library!("oxipng", "OXIPNG")`.
macro_rules! library {
    ($name:literal, $variable:literal) => {
        concat!($name, " ", env!(concat!("VERSION_OF_", $variable)))
    };
}

/// Every compressor there is.
pub static COMPRESSORS: [Compressor; 11] = [
    Compressor {
        name: "gzip",
        preset: "level 9",
        takes_wholes: true,
        library: || concat!("lmtrain ", env!("CARGO_PKG_VERSION"), ", as GNU gzip 1.12").to_owned(),
        compress: gzip::compress,
    },
    Compressor {
        name: "lzma2",
        preset: "preset 9e, .xz with CRC-64",
        takes_wholes: true,
        library: lzma2::library,
        compress: lzma2::compress,
    },
    Compressor {
        name: "png",
        preset: "level 9, filtered, 64 wide and 32 high; other lengths nearly square",
        takes_wholes: true,
        library: png_library,
        compress: png::compress,
    },
    Compressor {
        name: "png-32x64",
        preset: "level 9, filtered, 32 wide and 64 high as in the paper's code",
        takes_wholes: true,
        library: png_library,
        compress: png::compress_transposed,
    },
    Compressor {
        name: "oxipng",
        preset: "level 6, 64 wide and 32 high; other lengths nearly square",
        takes_wholes: true,
        library: || {
            [library!("oxipng", "OXIPNG"), library!("libdeflater", "LIBDEFLATER")].join(", ")
        },
        compress: oxipng::compress,
    },
    Compressor {
        name: "flac",
        preset: "level 8, four windows, one channel, 16 bits where the corpus has them and otherwise 8",
        takes_wholes: true,
        library: || library!("flac-codec", "FLAC_CODEC").to_owned(),
        compress: flac::compress,
    },
    Compressor {
        name: "zstd",
        preset: "level 22, long distances, window of up to 2^31 bytes",
        takes_wholes: true,
        library: || format!("zstd {}", zstd::zstd_safe::version_string()),
        compress: zstandard::compress,
    },
    Compressor {
        name: "brotli",
        preset: "quality 11, window of up to 2^24 bytes",
        takes_wholes: true,
        library: || library!("brotli", "BROTLI").to_owned(),
        compress: brotli::compress,
    },
    Compressor {
        name: "bzip2",
        preset: "level 9",
        takes_wholes: true,
        library: || library!("libbz2-rs-sys", "LIBBZ2_RS_SYS").to_owned(),
        compress: bzip2::compress,
    },
    Compressor {
        name: "ppmd",
        preset: "order 32, variant H, 192 MiB",
        takes_wholes: true,
        library: || library!("ppmd-rust", "PPMD_RUST").to_owned(),
        compress: ppmd::compress,
    },
    Compressor {
        name: "webp",
        preset: "lossless, method 6, quality 100, 64 wide and 32 high; other lengths nearly square",
        takes_wholes: false,
        library: || library!("libwebp-sys", "LIBWEBP_SYS").to_owned(),
        compress: webp::compress,
    },
];

fn png_library() -> String {
    concat!("lmtrain ", env!("CARGO_PKG_VERSION"), ", as libpng").to_owned()
}

/// A name that no compressor has.
#[derive(Debug, thiserror::Error)]
#[error("there is no compressor `{name}`; write one of {}", names())]
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
    /// What does it, and its version.
    #[must_use]
    pub fn library(&self) -> String {
        (self.library)()
    }

    /// Compresses all of `input`, which has as many bytes as `about` says.
    ///
    /// # Errors
    /// If reading or writing fails, or the compressor does.
    pub fn compress(
        &self,
        input: &mut dyn Read,
        output: &mut dyn Write,
        about: Input,
    ) -> io::Result<()> {
        (self.compress)(input, output, about)
    }

    /// Compresses a chunk.
    ///
    /// # Errors
    /// If the compressor fails, for want of memory for instance.
    pub fn compress_chunk(&self, chunk: &[u8], medium: Medium) -> io::Result<Vec<u8>> {
        let (mut rest, mut output) = (chunk, Vec::new());
        self.compress(&mut rest, &mut output, Input { medium, length: chunk.len() as u64 })?;
        Ok(output)
    }

    /// The header, which counts once for any number of chunks: as in the paper's code, the compressed form of a single
    /// zero byte.
    ///
    /// # Errors
    /// As [`Self::compress_chunk`].
    pub fn header_bytes(&self, medium: Medium) -> io::Result<u64> {
        Ok(self.compress_chunk(&[0], medium)?.len() as u64)
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({}, {})", self.name, self.preset, self.library())
    }
}

#[cfg(test)]
mod tests;
