//! Recognising a file by its first bytes, whatever its name is: compressed files that are unpacked, and formats for
//! which only a hint can be given. Brotli has no signature, so Brotli files are used as they are, like any other file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::CorpusError;
use super::format::Format;

/// Bytes needed to recognise a file: the header of tar.
pub(super) const HEAD_BYTES: usize = 512;

/// A kind of file whose bytes are not what its user means by them.
struct Container {
    /// What it is called.
    name: &'static str,
    /// Whether a file with this beginning has this format.
    is: fn(&[u8]) -> bool,
    then: Then,
}

/// How such a file is handled.
enum Then {
    Unpack(Format),
    /// What to do instead.
    Refuse(&'static str),
}

/// All that are known. To add one, add a row.
static CONTAINERS: &[Container] = &[
    // Method 8 is the only one there ever was, and three of the flags are reserved.
    unpack("a gzip file", Format::Gzip, |head| {
        head.starts_with(b"\x1f\x8b\x08") && head.get(3).is_none_or(|flags| flags & 0xe0 == 0)
    }),
    unpack("an xz file", Format::Xz, |head| head.starts_with(b"\xfd7zXZ\0")),
    unpack("a bzip2 file", Format::Bzip2, is_bzip2),
    // Frames that are skipped may stand before the first of data.
    unpack("a Zstandard file", Format::Zstd, |head| {
        head.starts_with(b"\x28\xb5\x2f\xfd") || matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
    }),
    unpack("a ZIP archive", Format::Zip, |head| {
        [&b"PK\x03\x04"[..], b"PK\x05\x06", b"PK\x07\x08"].iter().any(|it| head.starts_with(it))
    }),
    unpack("an .lzma file", Format::Lzma, is_lzma),
    refuse("a 7z archive", "`7z x` unpacks it", |head| head.starts_with(b"7z\xbc\xaf\x27\x1c")),
    refuse("a RAR archive", "`unrar x` unpacks it", |head| head.starts_with(b"Rar!\x1a\x07")),
    refuse("a tar archive", "unpack it with `tar xf`, and give one file of it", is_tar),
    refuse("an LZ4 file", "`lz4 -d` unpacks it", |head| {
        head.starts_with(b"\x04\x22\x4d\x18") || head.starts_with(b"\x02\x21\x4c\x18")
    }),
    refuse("an lzip file", "`lzip -d` unpacks it", |head| {
        head.starts_with(b"LZIP\0") || head.starts_with(b"LZIP\x01")
    }),
    refuse(
        "a .Z file of the program `compress`",
        "`gzip -d` unpacks it",
        |head| matches!(head, [0x1f, 0x9d, flags, ..] if flags & 0x60 == 0 && (9..=16).contains(&(flags & 0x1f))),
    ),
    refuse("an lzop file", "`lzop -d` unpacks it", |head| head.starts_with(b"\x89LZO\0\r\n\x1a\n")),
    refuse("a Snappy file", "unpack it first", |head| head.starts_with(b"\xff\x06\0\0sNaPpY")),
    refuse("a Zstandard file from before version 0.8", "`zstd -d` unpacks it", |head| {
        matches!(head, [0x1e | 0x22..=0x27, 0xb5, 0x2f, 0xfd, ..])
    }),
    refuse("a ZPAQ archive", "`zpaq x` unpacks it", |head| {
        head.starts_with(b"7kSt\xa0\x31\x83\xd3\x8c\xb2\x28\xb0\xd3")
            || head.starts_with(b"zPQ\x01")
            || head.starts_with(b"zPQ\x02")
    }),
    refuse("an lrzip file", "`lrzip -d` unpacks it", |head| head.starts_with(b"LRZI\0")),
    refuse("a cabinet", "`cabextract` unpacks it", |head| head.starts_with(b"MSCF\0\0\0\0")),
    refuse("a Parquet file", "write its text column to a file", |head| {
        head.starts_with(b"PAR1\x15")
    }),
    refuse("an archive of lmtrain", "`lmtrain decompress` restores its content", |head| {
        head.starts_with(b"\x89LMZ\r\n\x1a\n")
    }),
    refuse("a Git LFS pointer, not the file itself", "`git lfs pull` fetches the file", |head| {
        lmtrain_runs::is_git_lfs_pointer(head)
    }),
];

const fn unpack(name: &'static str, format: Format, is: fn(&[u8]) -> bool) -> Container {
    Container { name, is, then: Then::Unpack(format) }
}

const fn refuse(name: &'static str, hint: &'static str, is: fn(&[u8]) -> bool) -> Container {
    Container { name, is, then: Then::Refuse(hint) }
}

/// `BZh`, a digit for the size of its blocks, and the first digits of π or of its root.
fn is_bzip2(head: &[u8]) -> bool {
    head.starts_with(b"BZh")
        && matches!(head.get(3), Some(b'1'..=b'9'))
        && [&b"\x31\x41\x59\x26\x53\x59"[..], b"\x17\x72\x45\x38\x50\x90"]
            .iter()
            .any(|magic| head.get(4..10) == Some(magic))
}

/// A file in the format before .xz has no signature. What it begins with leaves few other files in:
/// properties below 225, a dictionary of 2^n or 2^n + 2^(n-1) bytes, a length that is unknown or
/// under 2^38 (as `xz` and `file` have it), and the range coder's first byte, which is 0.
fn is_lzma(head: &[u8]) -> bool {
    let (Some(&properties), Some(dictionary), Some(length), Some(0)) =
        (head.first(), number(head, 1..5), number(head, 5..13), head.get(13))
    else {
        return false;
    };
    let highest = dictionary.checked_ilog2().map_or(0, |bits| 1_u64 << bits);
    let whole = dictionary == highest || dictionary == highest + highest / 2;
    let coded = usize::from(properties) % 9 + usize::from(properties) / 9 % 5 <= 4;
    properties < 225
        && coded
        && whole
        && (1 << 12..=3 << 30).contains(&dictionary)
        && (length == u64::MAX || (1..1 << 38).contains(&length))
}

/// The number in some bytes, the least significant first.
fn number(head: &[u8], range: std::ops::Range<usize>) -> Option<u64> {
    let bytes = head.get(range)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// A header whose checksum is right: that of POSIX, of GNU, and of the seventh edition of Unix.
fn is_tar(head: &[u8]) -> bool {
    let Some(header) = head.get(..512) else { return false };
    let digits = String::from_utf8_lossy(&header[148..156]);
    let digits = digits.trim_matches(['\0', ' ']);
    let sum: u64 = header[..148].iter().chain(&header[156..]).map(|&byte| u64::from(byte)).sum();
    header[0] != 0 && u64::from_str_radix(digits, 8) == Ok(sum + 8 * u64::from(b' '))
}

/// How a file is to be read.
///
/// # Errors
/// [`CorpusError::Container`] if it is one that is not unpacked here, [`CorpusError::Misnamed`] if it
/// is called as one that is, and is none.
pub(super) fn format_of(path: &Path) -> Result<Format, CorpusError> {
    let head = head_of(path)?;
    let format = recognised(&head, path, None)?;
    match Format::of_name(path) {
        Some(named) if format == Format::Plain => {
            Err(CorpusError::Misnamed { path: path.to_owned(), called: name_of(named) })
        }
        _ => Ok(format),
    }
}

/// Refuses a file that is to be of this format and does not begin so.
pub(super) fn check_packed(path: &Path, format: Format) -> Result<(), CorpusError> {
    if format == Format::Plain || recognised(&head_of(path)?, path, None).ok() == Some(format) {
        return Ok(());
    }
    let reason = format!("its first bytes are not those of {}", name_of(format));
    Err(CorpusError::Archive { path: path.to_owned(), reason })
}

/// Refuses what was unpacked from a file if it is to be unpacked once more.
pub(super) fn check_unpacked(head: &[u8], path: &Path, from: Format) -> Result<(), CorpusError> {
    match recognised(head, path, Some(name_of(from)))? {
        Format::Plain => Ok(()),
        inside => Err(CorpusError::Container {
            path: path.to_owned(),
            outside: Some(name_of(from)),
            name: name_of(inside),
            hint: "unpack it first",
        }),
    }
}

/// The first bytes of a file.
pub(super) fn head_of(path: &Path) -> Result<Vec<u8>, CorpusError> {
    let file = File::open(path).map_err(CorpusError::file("open", path))?;
    let mut head = Vec::new();
    let read = file.take(HEAD_BYTES as u64).read_to_end(&mut head);
    read.map_err(CorpusError::file("read", path))?;
    Ok(head)
}

/// The format of a file, or of unpacked data, by its first bytes.
fn recognised(
    head: &[u8],
    path: &Path,
    outside: Option<&'static str>,
) -> Result<Format, CorpusError> {
    match CONTAINERS.iter().find(|container| (container.is)(head)) {
        None => Ok(Format::Plain),
        Some(Container { then: Then::Unpack(format), .. }) => Ok(*format),
        Some(&Container { name, then: Then::Refuse(hint), .. }) => {
            Err(CorpusError::Container { path: path.to_owned(), outside, name, hint })
        }
    }
}

/// The name of files of a format.
fn name_of(format: Format) -> &'static str {
    let of = |container: &&Container| matches!(container.then, Then::Unpack(it) if it == format);
    CONTAINERS.iter().find(of).map_or("a plain file", |container| container.name)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::archive::tests::{PACKED, packed};

    fn of(head: &[u8]) -> Result<Format, String> {
        recognised(head, &PathBuf::from("x"), None).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_unpacked_is_known_by_its_first_bytes() {
        for format in PACKED {
            for content in [&b""[..], b"x", &b"some text ".repeat(100)] {
                assert_eq!(of(&packed(content, format)), Ok(format), "{}", content.len());
            }
        }
    }

    #[test]
    fn what_is_not_unpacked_is_refused_with_a_hint() {
        for (head, name, hint) in [
            (&b"7z\xbc\xaf\x27\x1c\0\x04"[..], "a 7z archive", "7z x"),
            (b"Rar!\x1a\x07\x01\0", "a RAR archive", "unrar x"),
            (b"Rar!\x1a\x07\0", "a RAR archive", "unrar x"),
            (b"\x04\x22\x4d\x18\x64\x40", "an LZ4 file", "lz4 -d"),
            (b"LZIP\x01\x0c", "an lzip file", "lzip -d"),
            (b"\x1f\x9d\x90abc", "a .Z file of the program `compress`", "gzip -d"),
            (b"\xff\x06\0\0sNaPpY\x01", "a Snappy file", "unpack"),
            (b"\x25\xb5\x2f\xfd", "before version 0.8", "zstd -d"),
            (b"PAR1\x15\x04", "a Parquet file", "column"),
            (b"\x89LMZ\r\n\x1a\n\x05", "of lmtrain", "lmtrain decompress"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
                "Git LFS",
                "git lfs pull",
            ),
        ] {
            let message = of(head).expect_err(name);
            for part in [name, hint, "raw:x"] {
                assert!(message.contains(part), "{part}: {message}");
            }
        }
    }

    /// As `tar` writes it: name, mode, owner, group, length, time, checksum, type.
    fn tar(magic: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 1536];
        header[..5].copy_from_slice(b"a.txt");
        header[100..136].copy_from_slice(b"0000644\x000001750\x000001750\x0000000000003\0");
        header[136..148].copy_from_slice(b"14000000000\0");
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..257 + magic.len()].copy_from_slice(magic);
        let sum: u64 = header[..512].iter().map(|&byte| u64::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header[512..515].copy_from_slice(b"abc");
        header
    }

    #[test]
    fn tar_archives_of_every_age_are_known() {
        for magic in [&b"ustar\x0000"[..], b"ustar  \0", b""] {
            assert!(of(&tar(magic)).expect_err("tar").contains("a tar archive"));
        }
        let mut damaged = tar(b"");
        damaged[3] ^= 1;
        assert_eq!(of(&damaged), Ok(Format::Plain), "without its checksum there is no telling");
        assert_eq!(of(&[0; 1024]), Ok(Format::Plain));
        let error = check_unpacked(&tar(b"ustar\x0000"), Path::new("a.tgz"), Format::Gzip);
        let message = error.expect_err("tar").to_string();
        assert!(
            message.contains("a.tgz as a corpus: it is a gzip file that holds a tar archive"),
            "{message}"
        );
    }

    #[test]
    fn texts_and_numbers_are_plain() {
        for head in [
            &b""[..],
            b"]",
            b"BZh is how bzip2 files begin",
            b"PK, as in penalty",
            b"LZIP is a program",
            b"Rar!",
            b"7z is a format",
            b"]\0\0\0\0\0\0\0\0\0\0\0\0\0",
            &[0; 600],
            &[0xff; 600],
            b"\0\0\x08\x01\0\0\xea\x60\x05\0\x04\x01\x09\x02\x01",
            b"\x1f\x8b\x07",
            b"RIFF\x24\0\0\0WAVEfmt ",
        ] {
            assert_eq!(of(head), Ok(Format::Plain), "{head:?}");
        }
    }
}
