//! Files that consist of several compressed members, one after another, as `gzip`, `xz`, `bzip2` and `zstd` write them
//! and allow them to be concatenated. Zeros after the last member are padding, as left by tapes and `dd`; anything else
//! there is an error that gives its position.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use xz2::bufread::XzDecoder;
use xz2::stream::Stream;

use super::error::CorpusError;
use super::format::Format;
use super::unpacking::Unpacking;

/// Most that a decoder may take: `xz` itself makes dictionaries of up to 1.5 GB, `zstd` of 2 GiB.
const MOST_DECODER_BYTES: u64 = 1 << 31;
const MOST_WINDOW_BITS: u32 = 31;
/// Bytes shown of data that does not belong to a file.
const SHOWN: usize = 8;

/// Unpacks all members of a file.
pub(super) fn unpack(
    unpacking: &mut Unpacking,
    file: &mut BufReader<File>,
) -> Result<(), CorpusError> {
    loop {
        let mut decoder =
            decoder(unpacking.format, file).map_err(|error| unpacking.damaged(&error))?;
        unpacking.take(&mut decoder)?;
        drop(decoder);
        match after_member(unpacking.format, file).map_err(|error| unpacking.damaged(&error))? {
            After::Member => {}
            After::End => return Ok(()),
            After::Other(what) => return Err(unpacking.refuse(what)),
        }
    }
}

/// The decoder of the next member, which reads no byte beyond it.
fn decoder<'a>(format: Format, file: &'a mut BufReader<File>) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match format {
        Format::Plain | Format::Zip => Box::new(file),
        Format::Gzip => Box::new(GzDecoder::new(file)),
        Format::Bzip2 => Box::new(BzDecoder::new(file)),
        Format::Xz => Box::new(XzDecoder::new_stream(
            file,
            Stream::new_stream_decoder(MOST_DECODER_BYTES, 0)?,
        )),
        Format::Lzma => {
            Box::new(XzDecoder::new_stream(file, Stream::new_lzma_decoder(MOST_DECODER_BYTES)?))
        }
        Format::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?.single_frame();
            decoder.window_log_max(MOST_WINDOW_BITS)?;
            Box::new(decoder)
        }
    })
}

/// What comes after a member.
enum After {
    Member,
    End,
    /// Something that does not belong there, in words.
    Other(String),
}

fn after_member(format: Format, file: &mut BufReader<File>) -> io::Result<After> {
    let end = file.stream_position()?;
    let zeros = skip_zeros(file)?;
    let at = end + zeros;
    let mut next = Vec::new();
    file.take(SHOWN as u64).read_to_end(&mut next)?;
    // Only .xz has padding between its members, in fours.
    let padded = zeros == 0 || format == Format::Xz && zeros % 4 == 0;
    if next.is_empty() {
        return Ok(After::End);
    }
    if padded && begins_member(format, &next) {
        file.seek_relative(-(next.len() as i64))?;
        return Ok(After::Member);
    }
    let rest = file.get_ref().metadata()?.len().saturating_sub(at);
    let shown: Vec<String> = next.iter().map(|byte| format!("{byte:02x}")).collect();
    let more = if rest > next.len() as u64 { " …" } else { "" };
    Ok(After::Other(format!(
        "after its last member, from byte {at} on, it has {rest} bytes of something else: {}{more}",
        shown.join(" ")
    )))
}

/// Whether these bytes begin another member.
fn begins_member(format: Format, next: &[u8]) -> bool {
    match format {
        Format::Gzip => next.starts_with(b"\x1f\x8b"),
        Format::Bzip2 => next.starts_with(b"BZh"),
        Format::Xz => next.starts_with(b"\xfd7zXZ\0"),
        Format::Zstd => {
            next.starts_with(b"\x28\xb5\x2f\xfd")
                || matches!(next, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
        }
        Format::Plain | Format::Zip | Format::Lzma => false,
    }
}

/// Reads zeros as long as there are any, and counts them.
fn skip_zeros(file: &mut BufReader<File>) -> io::Result<u64> {
    let mut zeros = 0;
    loop {
        let buffer = file.fill_buf()?;
        let here = buffer.iter().take_while(|&&byte| byte == 0).count();
        let all = here == buffer.len();
        file.consume(here);
        zeros += here as u64;
        if !all || here == 0 {
            return Ok(zeros);
        }
    }
}
