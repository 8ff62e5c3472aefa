//! A packed network in one file, `.lmw`, in a given code of the weights. An archive embeds this file for quantized
//! networks, and the adjusted rate of such networks counts its length.
//!
//! ```text
//! magic        "lmw" · version u8: 1, or 2 with a vocabulary
//! code         u8: 0 f32, 1 f16, 2 int8, 3 int4
//! origin       length u32, little-endian · JSON: plan, tokenizer, step
//! vocabulary   length u32 · the vocabulary, packed (version 2 only)
//! weights      as `weight_code` has them; names and shapes follow from the plan
//! digest       SHA-256 of everything before
//! ```

use lmtrain_runs::record::WeightCode;
use sha2::{Digest as _, Sha256};

use crate::format_error::FormatError;
use crate::tensor_file::TensorFile;
use crate::{Origin, shapes, weight_code};

const MAGIC: [u8; 3] = *b"lmw";
/// Without and with a vocabulary.
const VERSIONS: [u8; 2] = [1, 2];
/// Bytes of the digest.
const DIGEST: usize = 32;
/// The most parameters for each byte of the file: a plan with more cannot be a real network's.
const MOST_FOR_A_BYTE: u64 = 4096;

/// Whether these bytes are of this form.
pub(crate) fn is_shipped(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// What such a file holds.
pub(crate) struct Shipped {
    /// The weights; their metadata are the origin.
    pub(crate) file: TensorFile,
    pub(crate) code: WeightCode,
    /// The vocabulary as `lmtrain_tokenizers` packs it; empty if there is none.
    pub(crate) vocabulary: Vec<u8>,
}

/// A file in this form, with a vocabulary unless that is empty.
pub(crate) fn pack(
    file: &TensorFile,
    origin: &Origin,
    code: WeightCode,
    vocabulary: &[u8],
) -> Result<Vec<u8>, FormatError> {
    let refuse = |error: &dyn std::fmt::Display| FormatError(error.to_string());
    let origin = serde_json::to_vec(origin).map_err(|error| refuse(&error))?;
    let code_number = WeightCode::ALL.iter().position(|it| *it == code);
    let code_number = code_number.and_then(|it| u8::try_from(it).ok());
    let code_number =
        code_number.ok_or_else(|| refuse(&format!("a network cannot be packed as {code}")))?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend([VERSIONS[usize::from(!vocabulary.is_empty())], code_number]);
    for part in [&origin[..], vocabulary].into_iter().filter(|part| !part.is_empty()) {
        let length = u32::try_from(part.len()).map_err(|error| refuse(&error))?;
        bytes.extend(length.to_le_bytes());
        bytes.extend(part);
    }
    bytes.extend(weight_code::encode(file, code)?);
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    Ok(bytes)
}

/// Reads what [`pack`] made.
///
/// # Errors
/// If it is damaged.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Shipped, FormatError> {
    let refuse = |why: &str| FormatError(format!("the network is damaged: {why}"));
    let (body, digest) = bytes
        .len()
        .checked_sub(DIGEST)
        .and_then(|length| bytes.split_at_checked(length))
        .ok_or_else(|| refuse("it is truncated"))?;
    if Sha256::digest(body)[..] != *digest {
        return Err(refuse("it does not match its digest"));
    }
    let rest = body.strip_prefix(&MAGIC).ok_or_else(|| {
        refuse(
            "its first bytes are not those of a packed \
        network",
        )
    })?;
    let (&[version, code], rest) =
        rest.split_first_chunk().ok_or_else(|| refuse("it is truncated"))?;
    if !VERSIONS.contains(&version) {
        return Err(FormatError(format!(
            "the packed network has format version {version}, but this program reads versions {} and {}",
            VERSIONS[0], VERSIONS[1]
        )));
    }
    let code = WeightCode::ALL.get(usize::from(code)).copied();
    let code = code.ok_or_else(|| refuse("its code of the weights is unknown"))?;
    let (metadata, mut coded) = part(rest).ok_or_else(|| refuse("it is truncated"))?;
    let mut vocabulary = &[][..];
    if version == VERSIONS[1] {
        (vocabulary, coded) = part(coded).ok_or_else(|| refuse("it is truncated"))?;
    }
    let metadata =
        String::from_utf8(metadata.to_vec()).map_err(|_| refuse("its plan is not UTF-8 text"))?;
    let origin: Origin =
        serde_json::from_str(&metadata).map_err(|error| refuse(&error.to_string()))?;
    if origin.plan.parameters() > MOST_FOR_A_BYTE * bytes.len() as u64 {
        return Err(refuse("its plan has more weights than the file can hold"));
    }
    let file = weight_code::decode(coded, &shapes(&origin.plan), code)?;
    let file = TensorFile { metadata, ..file };
    Ok(Shipped { file, code, vocabulary: vocabulary.to_vec() })
}

/// A part preceded by its length, and the bytes after it.
fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SavedWeights;
    use crate::testing::{plan, weights};
    use lmtrain_runs::recipe::{Recipe, Weights};

    fn saved(chosen: Weights) -> SavedWeights {
        let mut plan = plan(Recipe::Modern);
        plan.choices.weights = chosen;
        let file = weight_code::round(&weights(&plan), chosen.into()).expect("finite");
        let origin = Origin { plan, tokenizer: String::new(), step: 1 };
        let metadata = serde_json::to_string(&origin).expect("serialises");
        let file = TensorFile { metadata, ..file };
        let bytes = file.to_bytes(crate::tensor_file::StoredPrecision::Half).expect("fits");
        SavedWeights::from_bytes(bytes, "a test").expect("weights")
    }

    #[test]
    fn what_is_shipped_is_the_same_network_in_fewer_bytes() {
        for (chosen, most) in [(Weights::Int8, 1.1), (Weights::Int4, 0.75)] {
            let saved = saved(chosen);
            let shipped = saved.shipped().expect("whole");
            let (before, after) = (saved.file().expect("whole"), shipped.file().expect("whole"));
            assert_eq!(before.levels, after.levels);
            assert_eq!(before.tensors, after.tensors);
            assert_eq!(shipped.origin, saved.origin);
            let (_, coded) = saved.recoded(chosen.into()).expect("whole");
            assert_eq!(shipped.bytes.len() as u64, coded.0, "what is shipped is what counts");
            let parameters = saved.origin.plan.parameters() as f64;
            assert!((coded.0 as f64) < most * parameters, "{} of {parameters}", coded.0);
            let [one, two] = [&saved, &shipped].map(|it| it.predictor().expect("complete"));
            let chunk: Vec<u32> = (0..16).map(|it| it * 37 % 256).collect();
            assert_eq!(
                one.score(&[&chunk]).expect("scores"),
                two.score(&[&chunk]).expect("scores")
            );
            // The same with a vocabulary; any code that it was not trained for; and shipping it again.
            let packed = saved.packed(chosen.into(), b"words").expect("whole");
            assert_eq!(packed.vocabulary[..], *b"words");
            assert_eq!(packed.bytes.len(), shipped.bytes.len() + 4 + 5);
            assert_eq!(packed.file().expect("whole"), after);
            let halves = saved.packed(WeightCode::F16, &[]).expect("whole");
            assert_eq!((halves.code, shipped.code), (WeightCode::F16, chosen.into()));
            assert_eq!(shipped.shipped().expect("whole").bytes, shipped.bytes);
        }
        let halves = saved(Weights::F16);
        assert_eq!(halves.shipped().expect("whole").bytes, halves.bytes);
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = saved(Weights::Int4).shipped().expect("whole").bytes;
        for at in (0..bytes.len()).step_by(97) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert!(SavedWeights::from_bytes(damaged, "a test").is_err(), "{at}");
            assert!(SavedWeights::from_bytes(bytes[..at].to_vec(), "a test").is_err(), "{at}");
        }
        // What is whole by its digest may still promise anything.
        let origin = SavedWeights::from_bytes(bytes.to_vec(), "a test").expect("whole").origin;
        let mut larger = origin.clone();
        larger.plan.size = "w4096l64h64".parse().expect("a shape");
        for (origin, coded) in [(&larger, &[][..]), (&origin, &[0; 40])] {
            let json = serde_json::to_vec(origin).expect("serialises");
            let length = (json.len() as u32).to_le_bytes();
            let mut bytes = [&MAGIC[..], &[1, 3], &length, &json, coded].concat();
            let digest = Sha256::digest(&bytes);
            bytes.extend(digest);
            assert!(SavedWeights::from_bytes(bytes, "a test").is_err());
        }
    }
}
