//! How files are compressed.

use std::path::Path;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    Xz,
    Gzip,
    Zip,
    Bzip2,
    Zstd,
    /// What LZMA files were before .xz.
    Lzma,
}

/// Suffixes of files, in any case. The first bytes of a file decide what it is; a name that disagrees is reported.
pub(super) const SUFFIXES: [(&str, Format); 12] = [
    ("xz", Format::Xz),
    ("txz", Format::Xz),
    ("gz", Format::Gzip),
    ("tgz", Format::Gzip),
    ("zip", Format::Zip),
    ("bz2", Format::Bzip2),
    ("tbz", Format::Bzip2),
    ("tbz2", Format::Bzip2),
    ("zst", Format::Zstd),
    ("tzst", Format::Zstd),
    ("lzma", Format::Lzma),
    ("tlz", Format::Lzma),
];

impl Format {
    /// What a file's name says, if it says anything.
    pub(super) fn of_name(path: &Path) -> Option<Self> {
        let suffix = path.extension()?.to_str()?;
        let row = SUFFIXES.iter().find(|(known, _)| suffix.eq_ignore_ascii_case(known));
        row.map(|(_, format)| *format)
    }
}
