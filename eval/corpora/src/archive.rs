//! Compressed files: their unpacked length, and their bytes as a stream.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::container::check_packed;
use super::error::CorpusError;
use super::format::Format;
use super::members;
use super::progress::ProgressCallback;
use super::unpacking::{Unpacking, refused};

/// The unpacked length of a compressed file, if the file states it; gzip, bzip2 and Zstandard files do not.
pub(super) fn unpacked_length(path: &Path, format: Format) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    match format {
        Format::Plain => Some(file.metadata().ok()?.len()),
        Format::Gzip | Format::Bzip2 | Format::Zstd => None,
        Format::Xz => super::xz_index::unpacked_length(&mut file),
        Format::Lzma => {
            let mut header = [0; 13];
            file.read_exact(&mut header).ok()?;
            let length = u64::from_le_bytes(header[5..].try_into().ok()?);
            Some(length).filter(|&length| length != u64::MAX)
        }
        Format::Zip => {
            let mut archive = ZipArchive::new(BufReader::new(file)).ok()?;
            let index = only_entry(&mut archive).ok()?;
            Some(archive.by_index_raw(index).ok()?.size())
        }
    }
}

/// Unpacks a file into `output`; gives the number of bytes written.
///
/// # Errors
/// [`CorpusError::Archive`] if the file is damaged, truncated or not of its format,
/// [`CorpusError::Container`] if what comes out is to be unpacked once more.
pub(super) fn unpack(
    path: &Path,
    format: Format,
    output: &mut dyn Write,
    progress: &mut ProgressCallback,
) -> Result<u64, CorpusError> {
    check_packed(path, format)?;
    let of = unpacked_length(path, format);
    let mut unpacking = Unpacking::new(path, format, output, progress, of);
    let mut file = BufReader::new(File::open(path).map_err(CorpusError::file("open", path))?);
    match format {
        Format::Plain => unpacking.take(&mut file)?,
        Format::Zip => {
            let refuse = |error| refused(path, error);
            let mut archive = ZipArchive::new(file).map_err(|error| refuse(named(error)))?;
            let index = only_entry(&mut archive).map_err(refuse)?;
            check_method(&mut archive, index).map_err(refuse)?;
            let mut entry = archive.by_index(index).map_err(|error| refuse(named(error)))?;
            unpacking.take(&mut entry)?;
        }
        _ => members::unpack(&mut unpacking, &mut file)?,
    }
    unpacking.finish()
}

/// An error of a ZIP archive: an unsupported feature is not reported as damage.
fn named(error: zip::result::ZipError) -> String {
    use zip::result::ZipError;
    match error {
        ZipError::UnsupportedArchive(what) => {
            format!("it is of a kind that is not supported ({what})")
        }
        ZipError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it is truncated".to_owned()
        }
        error => format!("it is damaged ({error})"),
    }
}

/// Refuses a member that is compressed by another method than ZIP's usual ones, or encrypted.
fn check_method<R: Read + io::Seek>(
    archive: &mut ZipArchive<R>,
    index: usize,
) -> Result<(), String> {
    let member = archive.by_index_raw(index).map_err(named)?;
    let name = String::from_utf8_lossy(member.name_raw()).into_owned();
    if member.encrypted() {
        return Err(format!("its member `{name}` is encrypted"));
    }
    match member.compression() {
        CompressionMethod::Stored | CompressionMethod::Deflated => Ok(()),
        other => Err(format!(
            "its member `{name}` is compressed by a method that is not supported ({other}); only \
             stored and deflated members are\nhint: unpack the archive, and give the file in it"
        )),
    }
}

/// The only file in an archive, apart from folders and the files that macOS adds.
fn only_entry<R: Read + io::Seek>(archive: &mut ZipArchive<R>) -> Result<usize, String> {
    let mut found = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(named)?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if !name.ends_with('/') && !name.starts_with("__MACOSX/") {
            found.push((index, name));
        }
    }
    match found.as_slice() {
        [(index, _)] => Ok(*index),
        [] => Err("it contains no file".to_owned()),
        [(_, first), (_, second), ..] => {
            let count = found.len();
            Err(format!(
                "a corpus is a single file, but it contains {count}: `{first}`, `{second}` …"
            ))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::ops::ControlFlow;

    use proptest::prelude::*;

    use super::*;
    use crate::container::format_of;
    use crate::format::SUFFIXES;
    use crate::progress::silent;
    use crate::unpacking::BUFFER_BYTES;

    /// Every format in which a file is packed.
    pub(in super::super) const PACKED: [Format; 6] =
        [Format::Xz, Format::Gzip, Format::Zip, Format::Bzip2, Format::Zstd, Format::Lzma];

    /// `content` as a file of this format.
    pub(in super::super) fn packed(content: &[u8], format: Format) -> Vec<u8> {
        match format {
            Format::Plain => content.to_vec(),
            Format::Xz => xz2::encode_all(content, 6).expect("packs"),
            Format::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
                encoder.write_all(content).expect("packs");
                encoder.finish().expect("packs")
            }
            Format::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), Default::default());
                encoder.write_all(content).expect("packs");
                encoder.finish().expect("packs")
            }
            Format::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("packs");
                encoder.include_checksum(true).expect("packs");
                encoder.write_all(content).expect("packs");
                encoder.finish().expect("packs")
            }
            Format::Lzma => {
                let options = xz2::stream::LzmaOptions::new_preset(6).expect("packs");
                let stream = xz2::stream::Stream::new_lzma_encoder(&options).expect("packs");
                let mut encoder = xz2::write::XzEncoder::new_stream(Vec::new(), stream);
                encoder.write_all(content).expect("packs");
                encoder.finish().expect("packs")
            }
            Format::Zip => zipped(&[("folder/", b""), ("folder/corpus", content)]),
        }
    }

    fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in entries {
            let options = zip::write::SimpleFileOptions::default();
            writer.start_file(*name, options).expect("packs");
            writer.write_all(content).expect("packs");
        }
        writer.finish().expect("packs").into_inner()
    }

    /// The content of the file of this name.
    fn unpacked_as(content: &[u8], name: &str) -> Result<Vec<u8>, CorpusError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        let mut output = Vec::new();
        unpack(&path, format_of(&path)?, &mut output, &mut silent)?;
        Ok(output)
    }

    fn unpacked(content: &[u8]) -> Result<Vec<u8>, CorpusError> {
        unpacked_as(content, "corpus")
    }

    #[test]
    fn every_format_comes_back_whatever_it_is_called() {
        let long = b"one text, many times. ".repeat(50_000);
        for format in PACKED {
            for content in [&b""[..], b"x", &long] {
                let packed = packed(content, format);
                for name in ["corpus", "corpus.txt", "corpus.GZ", "corpus.xz", "corpus.lzma"] {
                    assert!(unpacked_as(&packed, name).expect(name) == content, "{format:?}");
                }
            }
        }
    }

    #[test]
    fn members_of_one_file_are_joined() {
        for format in [Format::Xz, Format::Gzip, Format::Bzip2, Format::Zstd] {
            let both = [packed(b"one ", format), packed(b"two", format)].concat();
            assert_eq!(unpacked(&both).expect("unpacks"), b"one two", "{format:?}");
        }
        let frame = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
        let skipped = [&frame[..], &packed(b"text", Format::Zstd)].concat();
        assert_eq!(unpacked(&skipped).expect("unpacks"), b"text", "frames may be skipped");
    }

    #[test]
    fn zeros_after_the_last_member_are_padding() {
        for format in PACKED.into_iter().filter(|&format| format != Format::Zip) {
            for zeros in [4, 512, 300_000] {
                let padded = [packed(b"text", format), vec![0; zeros]].concat();
                assert_eq!(unpacked(&padded).expect("unpacks"), b"text", "{format:?}");
            }
        }
    }

    #[test]
    fn other_bytes_after_the_last_member_are_named() {
        for format in PACKED.into_iter().filter(|&format| format != Format::Zip) {
            let whole = packed(b"text", format);
            for (more, zeros, named) in [
                (&b"\nsigned"[..], 0, "7 bytes of something else: 0a 73 69 67 6e 65 64"),
                (&b"\0\0\0much more than that"[..], 3, "19 bytes of something else: 6d 75"),
            ] {
                let message = unpacked(&[&whole[..], more].concat()).expect_err("more").to_string();
                let place = format!("from byte {} on, it has {named}", whole.len() + zeros);
                assert!(message.contains(&place), "{format:?}: {message}");
            }
        }
    }

    #[test]
    fn cut_and_damaged_files_are_refused() {
        let text = crate::random::uniform_bytes(1, 100_000);
        for (suffix, format) in
            SUFFIXES.into_iter().filter(|(suffix, _)| matches!(suffix.len(), 2..=4))
        {
            let (whole, name) = (packed(&text, format), format!("corpus.{suffix}"));
            for length in [0, 1, 20, whole.len() / 2, whole.len() - 1] {
                let error = unpacked_as(&whole[..length], &name).expect_err("cut").to_string();
                assert!(error.contains(&format!("{name}: ")), "{error}");
            }
            let mut flipped = whole;
            let middle = flipped.len() / 2;
            flipped[middle] ^= 1;
            // The oldest format has no checksum: only its length may tell.
            if format != Format::Lzma {
                unpacked_as(&flipped, &name).expect_err("damaged");
            }
        }
    }

    #[test]
    fn an_archive_holds_one_file() {
        let two = zipped(&[("a", b"1"), ("b", b"2")]);
        let message = unpacked(&two).expect_err("two").to_string();
        assert!(message.contains("it contains 2: `a`, `b`"), "{message}");
        assert!(message.contains("--corpus raw:"), "{message}");
        let none = zipped(&[("a/", b"")]);
        assert!(unpacked(&none).expect_err("none").to_string().contains("no file"));
        let mac = zipped(&[("a", b"1"), ("__MACOSX/._a", b"2")]);
        assert_eq!(unpacked(&mac).expect("one"), b"1");
    }

    #[test]
    fn members_by_other_methods_are_not_supported_rather_than_damaged() {
        let text = b"stored, and said to be something else ".repeat(9);
        for (method, named) in
            [(9, "Deflate64"), (12, "Bzip2"), (14, "Lzma"), (93, "Zstd"), (95, "Xz"), (98, "Ppmd")]
        {
            let mut archive = zipped(&[("corpus", &text)]);
            // The method stands in the member's own header and in the directory.
            let directory = archive.windows(4).position(|four| four == b"PK\x01\x02");
            for place in [8, directory.expect("a directory") + 10] {
                archive[place..place + 2].copy_from_slice(&u16::to_le_bytes(method));
            }
            let message = unpacked(&archive).expect_err("another method").to_string();
            assert!(message.contains("not supported") && message.contains(named), "{message}");
            assert!(!message.contains("damaged") && message.contains("`corpus`"), "{message}");
        }
        let mut encrypted = zipped(&[("corpus", &text)]);
        let directory = encrypted.windows(4).position(|four| four == b"PK\x01\x02");
        for place in [6, directory.expect("a directory") + 8] {
            encrypted[place] |= 1;
        }
        let message = unpacked(&encrypted).expect_err("encrypted").to_string();
        assert!(message.contains("`corpus` is encrypted"), "{message}");
    }

    #[test]
    fn unpacking_stops_when_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("corpus.xz");
        std::fs::write(&path, packed(&vec![0; 3 * BUFFER_BYTES], Format::Xz)).expect("written");
        let mut output = Vec::new();
        let mut stop = |_| ControlFlow::Break(());
        let error = unpack(&path, Format::Xz, &mut output, &mut stop).expect_err("stopped");
        assert!(error.is_interrupted() && output.len() <= BUFFER_BYTES);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn garbage_never_panics(
            garbage in proptest::collection::vec(any::<u8>(), 0..300),
            position in any::<prop::sample::Index>(),
            byte: u8,
        ) {
            for format in PACKED {
                let whole = packed(&garbage, format);
                let _ = unpacked(&garbage);
                let _ = unpacked(&[&whole[..whole.len().min(14)], &garbage[..]].concat());
                let mut damaged = whole;
                let position = position.index(damaged.len());
                damaged[position] = byte;
                let _ = unpacked(&damaged);
            }
        }
    }
}
