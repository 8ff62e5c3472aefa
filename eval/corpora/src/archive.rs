//! Compressed files: which they are, how long they will be, and their bytes, streamed.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use xz2::read::XzDecoder;
use xz2::stream::{CONCATENATED, Stream};
use zip::ZipArchive;

use super::error::CorpusError;
use super::progress::{Progress, ProgressCallback};

/// Most that the LZMA2 decoder may take: `xz` itself makes dictionaries of up to 1.5 GB.
const MOST_DECODER_BYTES: u64 = 1 << 31;
const BUFFER_BYTES: usize = 1 << 18;

/// How a file is compressed, as its suffix says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    Xz,
    Gzip,
    Zip,
}

impl Format {
    pub(super) fn of(path: &Path) -> Self {
        match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("xz") => Self::Xz,
            Some("gz") => Self::Gzip,
            Some("zip") => Self::Zip,
            _ => Self::Plain,
        }
    }

    /// What such a file begins with, and what it is called.
    fn signature(self) -> (&'static [u8], &'static str) {
        match self {
            Self::Plain => (b"", "a plain file"),
            Self::Xz => (b"\xfd7zXZ\0", "an xz file"),
            Self::Gzip => (b"\x1f\x8b", "a gzip file"),
            Self::Zip => (b"PK", "a ZIP archive"),
        }
    }
}

/// The length of what is in a file, if it is written in it: not so with gzip.
pub(super) fn unpacked_length(path: &Path, format: Format) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    match format {
        Format::Plain => Some(file.metadata().ok()?.len()),
        Format::Gzip => None,
        Format::Xz => super::xz_index::unpacked_length(&mut file),
        Format::Zip => {
            let mut archive = ZipArchive::new(BufReader::new(file)).ok()?;
            let index = only_entry(&mut archive).ok()?;
            Some(archive.by_index(index).ok()?.size())
        }
    }
}

/// Unpacks a file into `output`; gives the number of bytes written.
///
/// # Errors
/// [`CorpusError::Archive`] if the file is damaged, cut short or none of its format.
pub(super) fn unpack(
    path: &Path,
    format: Format,
    output: &mut dyn Write,
    progress: &mut ProgressCallback,
) -> Result<u64, CorpusError> {
    let damaged = |reason: String| CorpusError::Archive { path: path.to_owned(), reason };
    check_signature(path, format)?;
    let of = unpacked_length(path, format);
    let file = BufReader::new(File::open(path).map_err(CorpusError::file("open", path))?);
    let bytes = match format {
        Format::Plain => copy(path, file, output, of, progress)?,
        Format::Gzip => copy(path, MultiGzDecoder::new(file), output, of, progress)?,
        Format::Xz => {
            let stream = Stream::new_stream_decoder(MOST_DECODER_BYTES, CONCATENATED)
                .map_err(|error| damaged(error.to_string()))?;
            copy(path, XzDecoder::new_stream(file, stream), output, of, progress)?
        }
        Format::Zip => {
            let mut archive = ZipArchive::new(file).map_err(|error| damaged(error.to_string()))?;
            let index = only_entry(&mut archive).map_err(damaged)?;
            let entry = archive.by_index(index).map_err(|error| damaged(error.to_string()))?;
            copy(path, entry, output, of, progress)?
        }
    };
    match of {
        Some(of) if of != bytes => Err(damaged(format!("it promises {of} bytes and has {bytes}"))),
        _ => Ok(bytes),
    }
}

fn check_signature(path: &Path, format: Format) -> Result<(), CorpusError> {
    let (signature, called) = format.signature();
    let file = File::open(path).map_err(CorpusError::file("open", path))?;
    let mut beginning = Vec::new();
    file.take(signature.len() as u64)
        .read_to_end(&mut beginning)
        .map_err(CorpusError::file("read", path))?;
    if beginning != signature {
        let reason = format!("by its first bytes it is not {called}");
        return Err(CorpusError::Archive { path: path.to_owned(), reason });
    }
    Ok(())
}

/// The one file in an archive, beside folders and what macOS adds.
fn only_entry<R: Read + io::Seek>(archive: &mut ZipArchive<R>) -> Result<usize, String> {
    let mut found = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|error| error.to_string())?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if !name.ends_with('/') && !name.starts_with("__MACOSX/") {
            found.push((index, name));
        }
    }
    match found.as_slice() {
        [(index, _)] => Ok(*index),
        [] => Err("there is no file in it".to_owned()),
        [(_, first), (_, second), ..] => {
            let count = found.len();
            Err(format!("a corpus is one file, and it has {count}: `{first}`, `{second}` …"))
        }
    }
}

fn copy(
    path: &Path,
    mut input: impl Read,
    output: &mut dyn Write,
    of: Option<u64>,
    progress: &mut ProgressCallback,
) -> Result<u64, CorpusError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let reason = match error.kind() {
                    io::ErrorKind::UnexpectedEof => "it is cut short".to_owned(),
                    _ => format!("it is damaged ({error})"),
                };
                return Err(CorpusError::Archive { path: path.to_owned(), reason });
            }
        };
        output
            .write_all(&buffer[..count])
            .map_err(CorpusError::file("write what is unpacked from", path))?;
        bytes += count as u64;
        if progress(Progress::Unpacking { bytes, of }) == ControlFlow::Break(()) {
            return Err(CorpusError::Interrupted);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::progress::silent;

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

    fn unpacked(content: &[u8], suffix: &str) -> Result<Vec<u8>, CorpusError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(format!("corpus{suffix}"));
        std::fs::write(&path, content).expect("written");
        let mut output = Vec::new();
        unpack(&path, Format::of(&path), &mut output, &mut silent)?;
        Ok(output)
    }

    const FORMATS: [(Format, &str); 4] =
        [(Format::Plain, ""), (Format::Xz, ".xz"), (Format::Gzip, ".gz"), (Format::Zip, ".zip")];

    #[test]
    fn every_format_comes_back() {
        let long = b"one text, many times. ".repeat(50_000);
        for (format, suffix) in FORMATS {
            for content in [&b""[..], b"x", &long] {
                assert_eq!(unpacked(&packed(content, format), suffix).expect("unpacks"), content);
            }
        }
    }

    #[test]
    fn members_of_one_file_are_joined() {
        for (format, suffix) in [(Format::Xz, ".xz"), (Format::Gzip, ".gz")] {
            let both = [packed(b"one ", format), packed(b"two", format)].concat();
            assert_eq!(unpacked(&both, suffix).expect("unpacks"), b"one two");
        }
    }

    #[test]
    fn cut_and_damaged_files_are_refused() {
        let text = crate::random::uniform_bytes(1, 100_000);
        for (format, suffix) in &FORMATS[1..] {
            let whole = packed(&text, *format);
            for length in [0, 1, 20, whole.len() / 2, whole.len() - 1] {
                let error = unpacked(&whole[..length], suffix).expect_err("cut").to_string();
                assert!(error.contains(&format!("corpus{suffix}: ")), "{error}");
            }
            let mut flipped = whole;
            let middle = flipped.len() / 2;
            flipped[middle] ^= 1;
            unpacked(&flipped, suffix).expect_err("damaged");
        }
    }

    #[test]
    fn an_archive_holds_one_file() {
        let two = zipped(&[("a", b"1"), ("b", b"2")]);
        let message = unpacked(&two, ".zip").expect_err("two").to_string();
        assert!(message.contains("it has 2: `a`, `b`"), "{message}");
        let none = zipped(&[("a/", b"")]);
        assert!(unpacked(&none, ".zip").expect_err("none").to_string().contains("no file"));
        let mac = zipped(&[("a", b"1"), ("__MACOSX/._a", b"2")]);
        assert_eq!(unpacked(&mac, ".zip").expect("one"), b"1");
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
            for (format, suffix) in &FORMATS[1..] {
                let _ = unpacked(&garbage, suffix);
                let signed = [format.signature().0, &garbage[..]].concat();
                let _ = unpacked(&signed, suffix);
                let mut damaged = packed(&garbage, *format);
                let position = position.index(damaged.len());
                damaged[position] = byte;
                let _ = unpacked(&damaged, suffix);
            }
        }
    }
}
