//! Codes of the weights: how many bytes a model takes when its size counts. A code turns named tensors into bytes and
//! back. Names and shapes follow from the plan, so they are not stored. The rate under a code is measured with the
//! decoded weights.
//!
//! `int8` and `int4` round matrices to integer levels ([`Levels`]), with which the network then computes. Their bytes
//! are: all other tensors in half precision, the scales in bf16, and the levels as coded by the range coder with
//! adaptive counts. A file that already holds levels is coded unchanged.

use std::collections::BTreeMap;

use half::{bf16, f16};
use lmtrain_runs::record::WeightCode;

use crate::format_error::FormatError;
use crate::level_code;
use crate::levels::{Bits, Levels, Scaled};
use crate::tensor_file::{Numbers, TensorFile};

/// Shapes by name.
pub(crate) type Shapes = BTreeMap<String, Vec<usize>>;

/// For a matrix, what shares a scale and how many bits a code uses: matrices that multiply rows have a scale for each
/// output; tables that tokens look up have one for each token. These tables and the head always have eight bits.
#[must_use]
pub fn rounding(
    name: &str,
    shape: &[usize],
    code: WeightCode,
) -> Option<([usize; 2], Scaled, Bits)> {
    let shape: [usize; 2] = shape.try_into().ok()?;
    let kind = name.rsplit('.').next().unwrap_or(name);
    let scaled = match kind {
        "embedding" | "values" => Scaled::Rows,
        _ => Scaled::Columns,
    };
    let wide = scaled == Scaled::Rows || kind == "head";
    match code {
        WeightCode::F32 | WeightCode::F16 | WeightCode::Int8Xz => None,
        WeightCode::Int8 => Some((shape, scaled, Bits::Eight)),
        WeightCode::Int4 => Some((shape, scaled, if wide { Bits::Eight } else { Bits::Four })),
    }
}

/// Rounds the matrices of a file to the levels of a code; what levels there are stay.
///
/// # Errors
/// If a number is none, naming its tensor.
pub fn round(file: &TensorFile, code: WeightCode) -> Result<TensorFile, FormatError> {
    let mut rounded = TensorFile { metadata: file.metadata.clone(), ..TensorFile::default() };
    // Levels that the code has stay as they are; others are rounded like any weights.
    let mut file = file.clone();
    for (name, levels) in std::mem::take(&mut file.levels) {
        let bits = rounding(&name, &levels.shape, code).map(|(.., bits)| bits);
        if bits.is_some_and(|bits| levels.fits_in(bits)) {
            rounded.levels.insert(name, levels);
        } else {
            file.tensors.insert(name, numbers_of(&levels));
        }
    }
    for (name, numbers) in &file.tensors {
        let Some((shape, scaled, bits)) = rounding(name, &numbers.shape, code) else {
            rounded.tensors.insert(name.clone(), numbers.clone());
            continue;
        };
        if let Some(value) = numbers.values.iter().find(|value| !value.is_finite()) {
            return Err(too_large(name, *value));
        }
        let levels = Levels::round(&numbers.values, shape, scaled, bits);
        if let Some(scale) = levels.scales.iter().find(|scale| !scale.is_finite()) {
            return Err(too_large(name, *scale));
        }
        rounded.levels.insert(name.clone(), levels);
    }
    Ok(rounded)
}

/// Tensors as the bytes of a code.
///
/// # Errors
/// If a number is too large for it, or none at all, naming its tensor.
pub(crate) fn encode(file: &TensorFile, code: WeightCode) -> Result<Vec<u8>, FormatError> {
    let file = &match code {
        WeightCode::F32 | WeightCode::F16 | WeightCode::Int8Xz => floats(file),
        WeightCode::Int8 | WeightCode::Int4 => round(file, code)?,
    };
    let mut bytes = Vec::new();
    for (name, numbers) in &file.tensors {
        for value in &numbers.values {
            match code {
                WeightCode::F32 => bytes.extend(value.to_le_bytes()),
                _ => bytes.extend(half(name, *value)?),
            }
        }
    }
    let scales = file.levels.values().flat_map(|levels| &levels.scales);
    bytes.extend(scales.flat_map(|scale| bf16::from_f32(*scale).to_le_bytes()));
    let matrices = file.levels.iter().filter_map(|(name, levels)| {
        let (.., bits) = rounding(name, &levels.shape, code)?;
        Some((name.as_str(), bits, &levels.levels[..]))
    });
    if !file.levels.is_empty() {
        bytes.extend(level_code::encode(matrices));
    }
    Ok(bytes)
}

/// A file whose levels are the weights that they stand for.
fn floats(file: &TensorFile) -> TensorFile {
    let mut file = file.clone();
    for (name, levels) in std::mem::take(&mut file.levels) {
        file.tensors.insert(name, numbers_of(&levels));
    }
    file
}

fn numbers_of(levels: &Levels) -> Numbers {
    Numbers { shape: levels.shape.to_vec(), values: levels.weights() }
}

/// Reads [`encode`] back; what it gives has no metadata.
///
/// # Errors
/// If there are more or fewer bytes than the shapes ask for, or what is coded says that it is damaged.
pub(crate) fn decode(
    bytes: &[u8],
    shapes: &Shapes,
    code: WeightCode,
) -> Result<TensorFile, FormatError> {
    let (mut rest, mut file) = (bytes, TensorFile::default());
    for (name, shape) in shapes {
        if rounding(name, shape, code).is_some() {
            continue;
        }
        let count = shape.iter().product();
        let values = match code {
            WeightCode::F32 => {
                let words = take(&mut rest, 4 * count)?.as_chunks().0;
                words.iter().map(|word| f32::from_le_bytes(*word)).collect()
            }
            _ => words(&mut rest, count)?.map(|word| f16::from_le_bytes(word).to_f32()).collect(),
        };
        file.tensors.insert(name.clone(), Numbers { shape: shape.clone(), values });
    }
    let rounded = shapes.iter().filter_map(|(name, shape)| {
        rounding(name, shape, code).map(|(shape, scaled, bits)| (name, shape, scaled, bits))
    });
    let mut matrices = Vec::new();
    for (name, shape, scaled, bits) in rounded {
        let count = shape[usize::from(scaled == Scaled::Columns)];
        let scales = words(&mut rest, count)?.map(|word| bf16::from_le_bytes(word).to_f32());
        matrices.push((
            name,
            bits,
            Levels { shape, scaled, levels: Vec::new(), scales: scales.collect() },
        ));
    }
    if matrices.is_empty() {
        return match rest.len() {
            0 => Ok(file),
            more => Err(FormatError(format!("there are {more} bytes after the last tensor"))),
        };
    }
    let counts =
        matrices.iter().map(|(name, bits, it)| (name.as_str(), *bits, it.shape[0] * it.shape[1]));
    let all = level_code::decode(rest, counts)?;
    for ((name, _, it), levels) in matrices.into_iter().zip(all) {
        file.levels.insert(name.clone(), Levels { levels, ..it });
    }
    Ok(file)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], FormatError> {
    let short = || FormatError(format!("there are {} bytes instead of {count}", rest.len()));
    let (taken, after) = rest.split_at_checked(count).ok_or_else(short)?;
    *rest = after;
    Ok(taken)
}

/// So many words of 16 bits.
fn words<'a>(
    rest: &mut &'a [u8],
    count: usize,
) -> Result<impl Iterator<Item = [u8; 2]> + use<'a>, FormatError> {
    Ok(take(rest, 2 * count)?.as_chunks().0.iter().copied())
}

fn half(name: &str, value: f32) -> Result<[u8; 2], FormatError> {
    let half = f16::from_f32(value);
    if half.is_finite() { Ok(half.to_le_bytes()) } else { Err(too_large(name, value)) }
}

fn too_large(name: &str, value: f32) -> FormatError {
    FormatError(format!("{value} in tensor `{name}` does not fit into 16 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shapes(file: &TensorFile) -> Shapes {
        let floats = file.tensors.iter().map(|(name, it)| (name.clone(), it.shape.clone()));
        let levels = file.levels.iter().map(|(name, it)| (name.clone(), it.shape.to_vec()));
        floats.chain(levels).collect()
    }

    /// A matrix and a vector of these numbers.
    fn file(values: &[f32], columns: usize) -> TensorFile {
        let rows = values.len() / columns;
        let matrix = values[..rows * columns].to_vec();
        let vector = values[rows * columns..].to_vec();
        let tensors = BTreeMap::from([
            ("blocks.0.up".to_owned(), Numbers { shape: vec![rows, columns], values: matrix }),
            ("vector".to_owned(), Numbers { shape: vec![vector.len()], values: vector }),
        ]);
        TensorFile { tensors, ..TensorFile::default() }
    }

    proptest! {
        #[test]
        fn single_precision_is_exact_and_half_is_rounded(
            values in prop::collection::vec(-6e4_f32..6e4, 0..60), columns in 1_usize..9,
        ) {
            let file = file(&values, columns);
            let shapes = shapes(&file);
            let bytes = encode(&file, WeightCode::F32).expect("any number");
            prop_assert_eq!(bytes.len(), 4 * values.len());
            prop_assert_eq!(decode(&bytes, &shapes, WeightCode::F32).expect("whole"), file.clone());
            let bytes = encode(&file, WeightCode::F16).expect("all fit");
            prop_assert_eq!(bytes.len(), 2 * values.len());
            let mut rounded = file;
            for numbers in rounded.tensors.values_mut() {
                numbers.values.iter_mut().for_each(|it| *it = f16::from_f32(*it).to_f32());
            }
            prop_assert_eq!(decode(&bytes, &shapes, WeightCode::F16).expect("whole"), rounded);
        }

        #[test]
        fn levels_come_back_and_stay_what_they_are(
            values in prop::collection::vec(-9.0_f32..9.0, 0..200), columns in 1_usize..20,
        ) {
            let file = file(&values, columns);
            for code in [WeightCode::Int8, WeightCode::Int4] {
                let bytes = encode(&file, code).expect("all fit");
                let back = decode(&bytes, &shapes(&file), code).expect("whole");
                prop_assert_eq!(&back.levels, &round(&file, code).expect("finite").levels);
                // A file of levels is coded as it is, and its weights are those of its levels.
                prop_assert_eq!(&encode(&back, code).expect("levels"), &bytes);
                let weights = floats(&back);
                prop_assert_eq!(&weights.tensors["blocks.0.up"].values, &back.levels["blocks.0.up"].weights());
            }
        }

        #[test]
        fn damaged_codes_are_errors_or_numbers(
            position in 0_usize..4000, byte: u8, cut in 1_usize..4000,
        ) {
            let file = file(&[0.5; 67], 8);
            let shapes = shapes(&file);
            for code in WeightCode::ALL {
                let bytes = encode(&file, code).expect("all fit");
                let whole = decode(&bytes, &shapes, code).expect("whole");
                let mut damaged = bytes.clone();
                damaged[position % bytes.len()] = byte;
                let _ = decode(&damaged, &shapes, code);
                let longer = [&bytes[..], &[0, 0]].concat();
                prop_assert!(decode(&longer, &shapes, code).is_err());
                // What a range coder's bytes lack reads as zeros, which may be other levels.
                let shorter = &bytes[..bytes.len().saturating_sub(1 + cut % bytes.len())];
                let back = decode(shorter, &shapes, code);
                prop_assert!(back.is_err() || shorter.len() + 2 > bytes.len() || back.is_ok_and(|back| back != whole));
            }
        }
    }

    #[test]
    fn fewer_bits_are_for_what_multiplies_rows() {
        let bits = |name| {
            rounding(name, &[4, 4], WeightCode::Int4).map(|(_, scaled, bits)| (scaled, bits))
        };
        assert_eq!(bits("blocks.3.qkv"), Some((Scaled::Columns, Bits::Four)));
        assert_eq!(bits("head"), Some((Scaled::Columns, Bits::Eight)));
        assert_eq!(bits("embedding"), Some((Scaled::Rows, Bits::Eight)));
        assert_eq!(bits("blocks.3.values"), Some((Scaled::Rows, Bits::Eight)));
        assert_eq!(rounding("blocks.0.gain", &[4], WeightCode::Int8), None);
        // Levels of 4 bits are some of 8; those of 8 are rounded again, as the weights that they are.
        let weights = file(&[0.1, 0.9, -3.0, 2.0], 2);
        let [int8, int4] =
            [WeightCode::Int8, WeightCode::Int4].map(|code| round(&weights, code).expect("finite"));
        assert_eq!(round(&int4, WeightCode::Int8).expect("finite"), int4);
        let again = round(&int8, WeightCode::Int4).expect("finite");
        assert_eq!(again, round(&floats(&int8), WeightCode::Int4).expect("finite"));
        assert_eq!(round(&int8, WeightCode::F16).expect("finite"), floats(&int8));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for value in [f32::NEG_INFINITY, f32::NAN, f32::INFINITY] {
            for code in [WeightCode::F16, WeightCode::Int8, WeightCode::Int4] {
                let error = encode(&file(&[value, 0.0], 1), code);
                assert!(
                    error.is_err_and(|error| error.0.contains("`blocks.0.up`")),
                    "{value} {code}"
                );
            }
        }
    }
}
