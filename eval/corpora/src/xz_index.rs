//! The unpacked length of an xz file, from the index at the end of each of its streams
//! (<https://tukaani.org/xz/xz-file-format.txt>, sections 2.1.2 and 4). Nothing is unpacked for this, and the index is
//! not trusted: the length is compared with the decoder's own count afterwards.

use std::io::{Read, Seek, SeekFrom};

const FOOTER_BYTES: u64 = 12;
/// Room for millions of blocks.
const MOST_INDEX_BYTES: u64 = 1 << 26;
/// Streams and paddings looked at.
const MOST_STEPS: u32 = 10_000;

/// The sum over all streams; none if the file is not as the format says.
pub(super) fn unpacked_length(file: &mut (impl Read + Seek)) -> Option<u64> {
    let mut end = file.seek(SeekFrom::End(0)).ok()?;
    let mut sum = 0u64;
    let mut steps = 0..MOST_STEPS;
    while end > 0 {
        steps.next()?;
        if read_at(file, end.checked_sub(4)?, 4)? == [0; 4] {
            end -= 4;
            continue;
        }
        let footer = read_at(file, end.checked_sub(FOOTER_BYTES)?, FOOTER_BYTES)?;
        let backward = u32::from_le_bytes(footer[4..8].try_into().ok()?);
        let index_bytes = (u64::from(backward) + 1) * 4;
        if &footer[10..] != b"YZ" || index_bytes > MOST_INDEX_BYTES {
            return None;
        }
        let index_start = (end - FOOTER_BYTES).checked_sub(index_bytes)?;
        let (blocks, unpacked) = sums_of(&read_at(file, index_start, index_bytes)?)?;
        // The stream's header is as long as its footer.
        end = index_start.checked_sub(blocks)?.checked_sub(FOOTER_BYTES)?;
        sum = sum.checked_add(unpacked)?;
    }
    Some(sum)
}

/// The bytes of all blocks in the file, and unpacked.
fn sums_of(index: &[u8]) -> Option<(u64, u64)> {
    let mut rest = index.strip_prefix(&[0])?;
    let records = number(&mut rest)?;
    let (mut blocks, mut unpacked) = (0u64, 0u64);
    for _ in 0..records {
        let block = number(&mut rest)?.checked_next_multiple_of(4)?;
        blocks = blocks.checked_add(block)?;
        unpacked = unpacked.checked_add(number(&mut rest)?)?;
    }
    Some((blocks, unpacked))
}

/// Seven bits a byte, the least significant first; the last has its top bit clear.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for position in 0..9 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn read_at(file: &mut (impl Read + Seek), start: u64, bytes: u64) -> Option<Vec<u8>> {
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut buffer = vec![0; usize::try_from(bytes).ok()?];
    file.read_exact(&mut buffer).ok()?;
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn length_of(file: &[u8]) -> Option<u64> {
        unpacked_length(&mut Cursor::new(file))
    }

    #[test]
    fn streams_and_padding_are_summed() {
        let text = b"some text ".repeat(10_000);
        let one = xz2::encode_all(&text[..], 6).expect("packs");
        let empty = xz2::encode_all(&b""[..], 6).expect("packs");
        assert_eq!(length_of(&one), Some(100_000));
        assert_eq!(length_of(&empty), Some(0));
        let several = [&one[..], &[0; 8], &empty, &one, &[0; 4]].concat();
        assert_eq!(length_of(&several), Some(200_000));
        assert_eq!(length_of(&one[..one.len() - 4]), None);
        assert_eq!(length_of(&one[4..]), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(
            garbage in proptest::collection::vec(any::<u8>(), 0..200),
            backward in 0u32..64,
        ) {
            let _ = length_of(&garbage);
            let footer = [&[0; 4], &backward.to_le_bytes()[..], b"\0\0YZ"].concat();
            let _ = length_of(&[&garbage[..], &footer].concat());
        }
    }
}
