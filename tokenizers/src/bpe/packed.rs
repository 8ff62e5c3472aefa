//! A vocabulary in few bytes: this is what a decoder needs, what the adjusted rate counts, and what an archive with an
//! embedded model holds. The merges are enough ([`Vocabulary`]). Their token numbers are split into bytes, first the
//! low bytes of all, then the middle ones, then the high ones, and compressed by LZMA2 (preset 9e) without a container,
//! since the archive has its own checksums.

use std::io::{Read, Write};

use xz2::read::XzDecoder;
use xz2::stream::{Filters, LzmaOptions, PRESET_EXTREME, Stream};
use xz2::write::XzEncoder;

use super::vocabulary::{MOST_TOKENS, Vocabulary};

const DICTIONARY_BYTES: u32 = 1 << 21;
/// Bytes of a token's number; it is below 2^18.
const PLANES: usize = 3;

fn filters() -> Result<Filters, String> {
    let mut options =
        LzmaOptions::new_preset(9 | PRESET_EXTREME).map_err(|error| error.to_string())?;
    // Planes of bytes: neither their place nor the byte before says much of the next.
    options.dict_size(DICTIONARY_BYTES).literal_context_bits(0).position_bits(0);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    Ok(filters)
}

/// A vocabulary in few bytes.
pub(super) fn pack(vocabulary: &Vocabulary) -> Result<Vec<u8>, String> {
    let mut planes = Vec::new();
    for side in 0..2 {
        for plane in 0..PLANES {
            planes.extend(vocabulary.merges().iter().map(|merge| merge[side].to_le_bytes()[plane]));
        }
    }
    let stream = Stream::new_raw_encoder(&filters()?).map_err(|error| error.to_string())?;
    let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(&planes).and_then(|()| encoder.finish()).map_err(|error| error.to_string())
}

/// The vocabulary of such bytes.
///
/// # Errors
/// A sentence on what is wrong.
pub(super) fn unpack(packed: &[u8]) -> Result<Vocabulary, String> {
    let stream = Stream::new_raw_decoder(&filters()?).map_err(|error| error.to_string())?;
    let most = (MOST_TOKENS * 2 * PLANES) as u64;
    let mut planes = Vec::new();
    let mut decoder = XzDecoder::new_stream(packed, stream).take(most + 1);
    decoder.read_to_end(&mut planes).map_err(|error| error.to_string())?;
    let count = planes.len() / (2 * PLANES);
    if planes.len() as u64 > most || planes.len() != count * 2 * PLANES {
        return Err(format!("{} bytes are not a list of merges", planes.len()));
    }
    let token = |index: usize, side: usize| {
        let byte = |plane: usize| planes[(side * PLANES + plane) * count + index];
        u32::from_le_bytes([byte(0), byte(1), byte(2), 0])
    };
    Vocabulary::from_merges((0..count).map(|index| [token(index, 0), token(index, 1)]).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_merges_are_a_vocabulary_too() {
        let bytes_alone = Vocabulary::from_merges(Vec::new()).expect("bytes");
        let code = pack(&bytes_alone).expect("packs");
        assert!(code.len() < 8, "{}", code.len());
        assert_eq!(unpack(&code), Ok(bytes_alone));
    }

    proptest! {
        #[test]
        fn any_merges_come_back(
            choices in prop::collection::vec((any::<u32>(), any::<u32>()), 0..500)
        ) {
            let mut merges = Vec::new();
            for (left, right) in choices {
                let count = 256 + merges.len() as u32;
                merges.push([left % count, right % count]);
                if Vocabulary::from_merges(merges.clone()).is_err() {
                    merges.pop();
                }
            }
            let vocabulary = Vocabulary::from_merges(merges).expect("each was tried");
            let code = pack(&vocabulary).expect("packs");
            prop_assert_eq!(unpack(&code), Ok(vocabulary));
        }

        #[test]
        fn garbage_is_refused(code in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(vocabulary) = unpack(&code) {
                prop_assert!(vocabulary.count() < 256 + MOST_TOKENS);
            }
        }
    }
}
