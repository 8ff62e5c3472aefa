//! The digest of a safetensors file, stored in the file: the first key of the JSON in its metadata entry `lmtrain`.
//!
//! ```text
//! {"__metadata__":{"lmtrain":"{\"sha256\":\"91ab…\",\"plan\":…
//! ```
//! It is the SHA-256 of all bytes, header and numbers, computed with zeros in place of its own 64 digits. Files of
//! older versions have none and can still be read.

use sha2::{Digest as _, Sha256};

use crate::format_error::FormatError;

/// What the metadata begin with, up to the digits.
const BEGIN: &str = "{\"sha256\":\"";
/// The same as it stands in the header, where the metadata are a string of JSON.
const BEGIN_IN_HEADER: &[u8] = b"\"{\\\"sha256\\\":\\\"";
const DIGITS: usize = 64;

/// Whether a file's digest was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// It is that of the file.
    Checked,
    /// There is none: an older version wrote the file.
    Absent,
}

/// Metadata, which are an object of JSON, with room for the digest.
pub(crate) fn with_room(metadata: &str) -> Result<String, FormatError> {
    let refuse = || FormatError("the metadata is not a JSON object".to_owned());
    let rest = metadata.strip_prefix('{').ok_or_else(refuse)?;
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    Ok(format!("{BEGIN}{:0<DIGITS$}\"{comma}{rest}", ""))
}

/// Metadata without their digest, if they have one.
pub(crate) fn without(metadata: &str) -> String {
    match split(metadata) {
        Some((_, rest)) => {
            let rest = rest.strip_prefix('"').unwrap_or(rest);
            format!("{{{}", rest.strip_prefix(',').unwrap_or(rest))
        }
        None => metadata.to_owned(),
    }
}

/// Digits and what follows them, if metadata begin with a digest.
fn split(metadata: &str) -> Option<(&str, &str)> {
    metadata.strip_prefix(BEGIN)?.split_at_checked(DIGITS)
}

/// Puts the digest of a file into the room that it has for it.
pub(crate) fn put(bytes: &mut [u8]) -> Result<(), FormatError> {
    let place = place(bytes).ok_or_else(|| FormatError("there is no room for a digest".into()))?;
    let digits = digits(bytes, place);
    bytes[place..place + DIGITS].copy_from_slice(digits.as_bytes());
    Ok(())
}

/// Checks a file's digest, if its metadata have one.
pub(crate) fn check(bytes: &[u8], metadata: &str) -> Result<Digest, FormatError> {
    let Some((held, _)) = split(metadata) else {
        return match looks_like_one(metadata) {
            true => Err(FormatError("the key of its digest is damaged".to_owned())),
            false => Ok(Digest::Absent),
        };
    };
    let found = place(bytes).map(|place| digits(bytes, place));
    if found.as_deref() == Some(held) {
        return Ok(Digest::Checked);
    }
    Err(FormatError("its bytes have another SHA-256 than its metadata say".to_owned()))
}

/// Where the digits are.
fn place(bytes: &[u8]) -> Option<usize> {
    let (length, rest) = bytes.split_first_chunk()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let begin = header.windows(BEGIN_IN_HEADER.len()).position(|it| it == BEGIN_IN_HEADER)?;
    let place = length.len() + begin + BEGIN_IN_HEADER.len();
    (place + DIGITS <= length.len() + header.len()).then_some(place)
}

/// The digest of a file whose own digits are at `place`.
fn digits(bytes: &[u8], place: usize) -> String {
    let mut hash = Sha256::new();
    hash.update(&bytes[..place]);
    hash.update([b'0'; DIGITS]);
    hash.update(&bytes[place + DIGITS..]);
    format!("{:x}", hash.finalize())
}

/// Whether metadata begin with a key of as many letters and a value of 64 hexadecimal digits.
fn looks_like_one(metadata: &str) -> bool {
    let value = metadata.as_bytes().get(BEGIN.len()..BEGIN.len() + DIGITS);
    value.is_some_and(|value| value.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor_file::{Numbers, StoredPrecision, TensorFile};
    use safetensors::tensor::{Dtype, TensorView};

    fn file(metadata: &str) -> TensorFile {
        let numbers = Numbers { shape: vec![3], values: vec![0.5, -2.0, 7.0] };
        let tensors = [("a".to_owned(), numbers)].into();
        TensorFile { metadata: metadata.to_owned(), tensors, ..Default::default() }
    }

    #[test]
    fn every_flipped_bit_of_a_file_is_noticed() {
        let good = file("{\"plan\":\"x\"}").to_bytes(StoredPrecision::Half).expect("fits");
        for place in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[place] ^= 1 << bit;
                assert!(TensorFile::from_bytes(&bad).is_err(), "bit {bit} of byte {place}");
            }
        }
    }

    #[test]
    fn metadata_keep_what_they_say() {
        for metadata in ["{}", "{ }", "{\"plan\":{\"sha256\":\"no digest\"}}", "{\"a\":\"\\\"\"}"] {
            let bytes = file(metadata).to_bytes(StoredPrecision::Single).expect("fits");
            let (read, digest) = TensorFile::from_bytes(&bytes).expect("reads");
            assert_eq!((read.metadata.as_str(), digest), (metadata, Digest::Checked));
            assert_eq!(TensorFile::from_checked(&bytes).expect("reads"), read);
        }
        assert!(file("[]").to_bytes(StoredPrecision::Single).is_err());
    }

    #[test]
    fn files_of_older_versions_have_none() {
        let stored = TensorView::new(Dtype::F32, vec![1], &[0; 4]);
        let metadata = [("lmtrain".to_owned(), "{\"plan\":\"x\"}".to_owned())].into();
        let bytes = safetensors::serialize([("a", stored.expect("fits"))], Some(metadata));
        let (read, digest) = TensorFile::from_bytes(&bytes.expect("fits")).expect("reads");
        assert_eq!((read.metadata.as_str(), digest), ("{\"plan\":\"x\"}", Digest::Absent));
    }
}
