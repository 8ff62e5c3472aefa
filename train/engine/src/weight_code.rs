//! Weights in fewer bits: what a model costs when its size counts. A code turns named tensors into
//! bytes and back; names and shapes follow from the plan, and so are in no code. The rate of a code
//! is measured with what came back out of it.

use std::collections::BTreeMap;
use std::io::Read;

use half::f16;
use lmtrain_eval::compressors;
use lmtrain_runs::record::WeightCode;
use lmtrain_runs::{Bytes, Medium};
use xz2::read::XzDecoder;

use crate::tensor_file::{FormatError, Numbers, Precision, TensorFile};
use crate::{SavedWeights, WeightsError};

/// Tensors by name.
type Tensors = BTreeMap<String, Numbers>;
/// The largest integer of a row: its largest number by size.
const LARGEST: f32 = 127.0;

impl SavedWeights {
    /// These weights after a trip through a code, and the bytes that they took in it. As they were
    /// saved they are in [`WeightCode::F16`].
    ///
    /// # Errors
    /// If they cannot be coded, a number being too large or none at all.
    pub fn recoded(&self, code: WeightCode) -> Result<(Self, Bytes), WeightsError> {
        let place = self.origin.plan.name.clone();
        let recode = || -> Result<(Vec<u8>, Bytes), FormatError> {
            let mut file = TensorFile::from_checked(&self.bytes)?;
            let coded = encode(&file.tensors, code)?;
            let shapes = file.tensors.iter();
            let shapes = shapes.map(|(name, numbers)| (name.clone(), numbers.shape.clone()));
            file.tensors = decode(&coded, &shapes.collect(), code)?;
            Ok((file.to_bytes(Precision::Single)?, Bytes(coded.len() as u64)))
        };
        let (bytes, coded) =
            recode().map_err(|source| WeightsError::Format { place: place.clone(), source })?;
        let weights = match code {
            WeightCode::F16 => self.clone(),
            _ => Self::from_bytes(bytes, &place)?,
        };
        Ok((weights, coded))
    }
}

/// Tensors as the bytes of a code.
///
/// # Errors
/// If a number is too large for it, or none at all, naming its tensor.
fn encode(tensors: &Tensors, code: WeightCode) -> Result<Vec<u8>, FormatError> {
    let values =
        || tensors.iter().flat_map(|(name, it)| it.values.iter().map(move |it| (name, it)));
    match code {
        WeightCode::F32 => Ok(values().flat_map(|(_, value)| value.to_le_bytes()).collect()),
        WeightCode::F16 => {
            let halves = values().map(|(name, value)| half(name, *value));
            Ok(halves.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
        WeightCode::Int8 => integers(tensors),
        WeightCode::Int8Xz => {
            let refuse = |error: &dyn std::fmt::Display| FormatError(format!("LZMA2: {error}"));
            let lzma2 = compressors::by_name("lzma2").map_err(|error| refuse(&error))?;
            lzma2.compress_chunk(&integers(tensors)?, Medium::Bytes).map_err(|error| refuse(&error))
        }
    }
}

/// Reads [`encode`] back.
///
/// # Errors
/// If there are more or fewer bytes than the shapes ask for, or what they are compressed with says
/// that they are damaged.
fn decode(
    bytes: &[u8],
    shapes: &BTreeMap<String, Vec<usize>>,
    code: WeightCode,
) -> Result<Tensors, FormatError> {
    let mut rest = bytes;
    let tensors = match code {
        WeightCode::F32 => read(shapes, |count| {
            let words = take(&mut rest, 4 * count)?.as_chunks().0;
            Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
        })?,
        WeightCode::F16 => read(shapes, |count| halves(&mut rest, count))?,
        WeightCode::Int8 => integers_back(&mut rest, shapes)?,
        WeightCode::Int8Xz => {
            let length = integers_length(shapes);
            let mut unpacked = Vec::new();
            // One byte more than belongs there is enough to tell.
            XzDecoder::new(bytes)
                .take(length as u64 + 1)
                .read_to_end(&mut unpacked)
                .map_err(|error| FormatError(format!("LZMA2: {error}")))?;
            return decode(&unpacked, shapes, WeightCode::Int8);
        }
    };
    match rest.len() {
        0 => Ok(tensors),
        more => Err(FormatError(format!("{more} bytes more than the tensors have"))),
    }
}

/// How a tensor is cut into rows that share a scale: a matrix by its first index, and a vector not
/// at all, whose few numbers stay halves.
fn rows(shape: &[usize]) -> Option<(usize, usize)> {
    match shape {
        [] | [_] => None,
        [rows, columns @ ..] => Some((*rows, columns.iter().product())),
    }
}

/// First every half, the scales of matrices and the numbers of vectors, then every integer, so
/// that a compressor meets each kind by itself.
fn integers(tensors: &Tensors) -> Result<Vec<u8>, FormatError> {
    let (mut bytes, mut integers) = (Vec::new(), Vec::new());
    for (name, Numbers { shape, values }) in tensors {
        let Some((_, columns)) = rows(shape) else {
            for value in values {
                bytes.extend(half(name, *value)?);
            }
            continue;
        };
        for row in values.chunks_exact(columns.max(1)) {
            let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            if let Some(value) = row.iter().find(|value| !value.is_finite()) {
                return Err(too_large(name, *value));
            }
            let scale = half(name, largest / LARGEST)?;
            bytes.extend(scale);
            let scale = f16::from_le_bytes(scale).to_f32();
            let integer = |value: &f32| {
                let steps = if scale > 0.0 { (value / scale).round() } else { 0.0 };
                #[expect(clippy::cast_possible_truncation, reason = "clamped to 8 bits")]
                let integer = steps.clamp(-LARGEST, LARGEST) as i8;
                integer.cast_unsigned()
            };
            integers.extend(row.iter().map(integer));
        }
    }
    bytes.extend(integers);
    Ok(bytes)
}

fn integers_back(
    rest: &mut &[u8],
    shapes: &BTreeMap<String, Vec<usize>>,
) -> Result<Tensors, FormatError> {
    let mut tensors = Tensors::new();
    for (name, shape) in shapes {
        let count = rows(shape).map_or_else(|| shape.iter().product(), |(rows, _)| rows);
        let values = halves(rest, count)?;
        tensors.insert(name.clone(), Numbers { shape: shape.clone(), values });
    }
    for Numbers { shape, values } in tensors.values_mut() {
        let Some((_, columns)) = rows(shape) else { continue };
        let scales = std::mem::take(values);
        for scale in scales {
            let integers = take(rest, columns)?.iter();
            values.extend(integers.map(|byte| scale * f32::from(byte.cast_signed())));
        }
    }
    Ok(tensors)
}

/// Bytes of [`integers`] for these shapes.
fn integers_length(shapes: &BTreeMap<String, Vec<usize>>) -> usize {
    let of_shape = |shape: &Vec<usize>| match rows(shape) {
        Some((rows, columns)) => rows * (2 + columns),
        None => 2 * shape.iter().product::<usize>(),
    };
    shapes.values().map(of_shape).sum()
}

/// Tensors of these shapes from what reads so many numbers.
fn read(
    shapes: &BTreeMap<String, Vec<usize>>,
    mut numbers: impl FnMut(usize) -> Result<Vec<f32>, FormatError>,
) -> Result<Tensors, FormatError> {
    let tensor = |(name, shape): (&String, &Vec<usize>)| {
        let values = numbers(shape.iter().product())?;
        Ok((name.clone(), Numbers { shape: shape.clone(), values }))
    };
    shapes.iter().map(tensor).collect()
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], FormatError> {
    let short = || FormatError(format!("{} bytes where {count} belong", rest.len()));
    let (taken, after) = rest.split_at_checked(count).ok_or_else(short)?;
    *rest = after;
    Ok(taken)
}

fn halves(rest: &mut &[u8], count: usize) -> Result<Vec<f32>, FormatError> {
    let words = take(rest, 2 * count)?.as_chunks().0;
    Ok(words.iter().map(|word| f16::from_le_bytes(*word).to_f32()).collect())
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

    fn shapes_of(tensors: &Tensors) -> BTreeMap<String, Vec<usize>> {
        tensors.iter().map(|(name, it)| (name.clone(), it.shape.clone())).collect()
    }

    /// A matrix and a vector of these numbers.
    fn tensors(values: &[f32], columns: usize) -> Tensors {
        let rows = values.len() / columns;
        let matrix = values[..rows * columns].to_vec();
        let vector = values[rows * columns..].to_vec();
        BTreeMap::from([
            ("matrix".to_owned(), Numbers { shape: vec![rows, columns], values: matrix }),
            ("vector".to_owned(), Numbers { shape: vec![vector.len()], values: vector }),
        ])
    }

    proptest! {
        #[test]
        fn single_precision_is_exact_and_half_is_rounded(
            values in prop::collection::vec(-6e4_f32..6e4, 0..60), columns in 1_usize..9,
        ) {
            let tensors = tensors(&values, columns);
            let shapes = shapes_of(&tensors);
            let bytes = encode(&tensors, WeightCode::F32).expect("any number");
            prop_assert_eq!(bytes.len(), 4 * values.len());
            prop_assert_eq!(decode(&bytes, &shapes, WeightCode::F32).expect("whole"), tensors.clone());
            let bytes = encode(&tensors, WeightCode::F16).expect("all fit");
            prop_assert_eq!(bytes.len(), 2 * values.len());
            let mut rounded = tensors;
            for numbers in rounded.values_mut() {
                numbers.values.iter_mut().for_each(|it| *it = f16::from_f32(*it).to_f32());
            }
            prop_assert_eq!(decode(&bytes, &shapes, WeightCode::F16).expect("whole"), rounded);
        }

        #[test]
        fn integers_are_within_half_a_step(
            values in prop::collection::vec(-9.0_f32..9.0, 0..200), columns in 1_usize..20,
        ) {
            let tensors = tensors(&values, columns);
            let shapes = shapes_of(&tensors);
            let plain = encode(&tensors, WeightCode::Int8).expect("all fit");
            prop_assert_eq!(plain.len(), integers_length(&shapes));
            let back = decode(&plain, &shapes, WeightCode::Int8).expect("whole");
            let packed = encode(&tensors, WeightCode::Int8Xz).expect("all fit");
            prop_assert_eq!(&decode(&packed, &shapes, WeightCode::Int8Xz).expect("whole"), &back);
            let rows = tensors["matrix"].values.chunks_exact(columns);
            for (row, back) in rows.zip(back["matrix"].values.chunks_exact(columns)) {
                let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
                // The scale's own rounding, 2^-11, counts up to 127 times at the row's largest.
                let step = largest / 127.0;
                for (value, back) in row.iter().zip(back) {
                    prop_assert!((value - back).abs() <= 0.57 * step + 1e-5, "{value} {back}");
                }
            }
        }

        #[test]
        fn damaged_codes_are_errors_or_numbers(
            position in 0_usize..4000, byte: u8, cut in 1_usize..4000,
        ) {
            let tensors = tensors(&[0.5; 67], 8);
            let shapes = shapes_of(&tensors);
            for code in WeightCode::ALL {
                let mut bytes = encode(&tensors, code).expect("all fit");
                let length = bytes.len();
                bytes[position % length] = byte;
                let _ = decode(&bytes, &shapes, code);
                bytes.push(0);
                prop_assert!(code == WeightCode::Int8Xz || decode(&bytes, &shapes, code).is_err());
                bytes.truncate(length - 1 - cut % length);
                prop_assert!(decode(&bytes, &shapes, code).is_err());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for value in [1e9, f32::NAN, f32::INFINITY] {
            for code in [WeightCode::F16, WeightCode::Int8, WeightCode::Int8Xz] {
                let error = encode(&tensors(&[value, 0.0], 1), code);
                // A row of 10^9 has a scale that does not fit either.
                assert!(error.is_err_and(|error| error.0.contains("`matrix`")), "{value} {code}");
            }
        }
        let zeros = tensors(&[0.0; 8], 4);
        let bytes = encode(&zeros, WeightCode::Int8).expect("zeros fit");
        assert_eq!(decode(&bytes, &shapes_of(&zeros), WeightCode::Int8).expect("whole"), zeros);
    }
}
