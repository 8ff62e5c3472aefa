//! Named tensors in a safetensors file, with one text of metadata. Weights and checkpoints are such files, and Python's
//! `safetensors` reads them directly. The text begins with a digest of the whole file, which is checked on reading
//! (`digest.rs`).
//!
//! A quantized matrix is stored as two tensors: `NAME`, of type I8, and `NAME.scale`, of type BF16 and shape [rows, 1]
//! or [1, columns], so that `NAME * NAME.scale` gives the weights by broadcasting.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use half::{bf16, f16};
use lmtrain_runs::{GIT_LFS_POINTER, is_git_lfs_pointer};
use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::digest;
pub use crate::digest::Digest;
pub use crate::format_error::FormatError;
use crate::levels::{Levels, Scaled};

/// Key of the one metadata entry: several would be written in an order of no one's choice.
const KEY: &str = "lmtrain";

/// A tensor as numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Vec<f32>,
}

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredPrecision {
    /// IEEE half precision, 2 bytes.
    Half,
    /// IEEE single precision, 4 bytes.
    Single,
}

/// Named tensors and a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorFile {
    /// A JSON object, without the file's digest.
    pub metadata: String,
    /// The tensors by name.
    pub tensors: BTreeMap<String, Numbers>,
    /// Matrices of levels by name; a name is in one of the two.
    pub levels: BTreeMap<String, Levels>,
}

/// The name of a matrix's scales.
fn scale_name(name: &str) -> String {
    format!("{name}.scale")
}

struct Stored {
    shape: Vec<usize>,
    dtype: Dtype,
    data: Vec<u8>,
}

impl View for &Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

impl TensorFile {
    /// The file's bytes, with their digest; the same content gives the same bytes.
    ///
    /// # Errors
    /// If a number does not fit into half precision, naming its tensor, or the metadata are no object.
    pub fn to_bytes(&self, precision: StoredPrecision) -> Result<Vec<u8>, FormatError> {
        let mut stored = Vec::new();
        for (name, numbers) in &self.tensors {
            stored.push((name.clone(), numbers.stored(name, precision)?));
        }
        for (name, levels) in &self.levels {
            let [matrix, scales] = levels.stored();
            stored.extend([(name.clone(), matrix), (scale_name(name), scales)]);
        }
        let views = stored.iter().map(|(name, stored)| (name.as_str(), stored));
        let metadata = HashMap::from([(KEY.to_owned(), digest::with_room(&self.metadata)?)]);
        let mut bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|error| FormatError(error.to_string()))?;
        digest::put(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads the result of [`Self::to_bytes`], and says whether there was a digest to check. Half-precision numbers
    /// become single-precision.
    ///
    /// # Errors
    /// If the digest is of other bytes, or as [`Self::from_checked`].
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, Digest), FormatError> {
        let file = Self::from_checked(bytes)?;
        let (_, metadata) = read_header(bytes)?;
        let digest = digest::check(bytes, &metadata)?;
        Ok((file, digest))
    }

    /// Reads bytes whose digest was checked.
    ///
    /// # Errors
    /// If they are no safetensors file, lack the metadata, or hold another type of number.
    pub fn from_checked(bytes: &[u8]) -> Result<Self, FormatError> {
        let (file, metadata) = read_header(bytes)?;
        let metadata = digest::without(&metadata);
        let (mut tensors, mut levels) = (BTreeMap::new(), BTreeMap::new());
        for (name, view) in file.tensors() {
            if view.dtype() == Dtype::I8 {
                levels.insert(name, view.data().iter().map(|byte| byte.cast_signed()).collect());
                continue;
            }
            let values = numbers(&name, view.dtype(), view.data())?;
            tensors.insert(name, Numbers { shape: view.shape().to_vec(), values });
        }
        let scaled = |(name, levels): (String, Vec<i8>)| {
            let scales = tensors.remove(&scale_name(&name));
            let shape = file.tensor(&name).map(|view| view.shape().to_vec()).unwrap_or_default();
            Ok((name.clone(), Levels::stored_as(&name, shape, levels, scales)?))
        };
        let levels = levels.into_iter().map(scaled).collect::<Result<_, FormatError>>()?;
        Ok(Self { metadata, tensors, levels })
    }

    /// The number of weights, not counting scales.
    #[must_use]
    pub fn count(&self) -> usize {
        let numbers = self.tensors.values().map(|numbers| numbers.values.len());
        numbers.chain(self.levels.values().map(|levels| levels.levels.len())).sum()
    }

    /// Removes and returns the tensor of this name and shape; for a quantized matrix, the weights that it stands for.
    ///
    /// # Errors
    /// If it is missing or of another shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, FormatError> {
        let levels = self
            .levels
            .remove(name)
            .map(|levels| Numbers { shape: levels.shape.to_vec(), values: levels.weights() });
        let found = levels.or_else(|| self.tensors.remove(name));
        let found = found.ok_or_else(|| FormatError(format!("tensor `{name}` is missing")))?;
        if found.shape == shape {
            return Ok(found.values);
        }
        let has = &found.shape;
        Err(FormatError(format!("tensor `{name}` has shape {has:?} instead of {shape:?}")))
    }
}

/// A file's tensors, and the text of its metadata.
fn read_header(bytes: &[u8]) -> Result<(SafeTensors<'_>, String), FormatError> {
    if is_git_lfs_pointer(bytes) {
        return Err(FormatError(GIT_LFS_POINTER.to_owned()));
    }
    let refuse = |error: safetensors::SafeTensorError| {
        FormatError(format!("it is not a complete safetensors file: {error}"))
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(refuse)?;
    let metadata = header.metadata().as_ref().and_then(|entries| entries.get(KEY)).cloned();
    let metadata =
        metadata.ok_or_else(|| FormatError(format!("its metadata has no entry `{KEY}`")))?;
    Ok((SafeTensors::deserialize(bytes).map_err(refuse)?, metadata))
}

impl Numbers {
    fn stored(&self, name: &str, precision: StoredPrecision) -> Result<Stored, FormatError> {
        let (dtype, data) = match precision {
            StoredPrecision::Single => {
                (Dtype::F32, self.values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            StoredPrecision::Half => {
                let halves = self.values.iter().map(|value| f16::from_f32(*value));
                if let Some(value) =
                    self.values.iter().find(|value| !f16::from_f32(**value).is_finite())
                {
                    let message = format!("{value} in tensor `{name}` does not fit into 16 bits");
                    return Err(FormatError(message));
                }
                (Dtype::F16, halves.flat_map(f16::to_le_bytes).collect())
            }
        };
        Ok(Stored { shape: self.shape.clone(), dtype, data })
    }
}

impl Levels {
    fn stored(&self) -> [Stored; 2] {
        let levels = self.levels.iter().map(|level| level.cast_unsigned()).collect();
        let scales = self.scales.iter().map(|scale| bf16::from_f32(*scale));
        let shape = match self.scaled {
            Scaled::Rows => vec![self.scales.len(), 1],
            Scaled::Columns => vec![1, self.scales.len()],
        };
        [
            Stored { shape: self.shape.to_vec(), dtype: Dtype::I8, data: levels },
            Stored {
                shape,
                dtype: Dtype::BF16,
                data: scales.flat_map(bf16::to_le_bytes).collect(),
            },
        ]
    }

    fn stored_as(
        name: &str,
        shape: Vec<usize>,
        levels: Vec<i8>,
        scales: Option<Numbers>,
    ) -> Result<Self, FormatError> {
        let refuse = |why: &str| FormatError(format!("the integers of `{name}` {why}"));
        let scales = scales.ok_or_else(|| refuse(&format!("lack `{}`", scale_name(name))))?;
        let shape: [usize; 2] = shape.try_into().map_err(|_| refuse("are not a matrix"))?;
        let scaled = match scales.shape[..] {
            [rows, 1] if rows == shape[0] => Scaled::Rows,
            [1, columns] if columns == shape[1] => Scaled::Columns,
            _ => return Err(refuse(&format!("have scales of shape {:?}", scales.shape))),
        };
        let levels = Self { shape, scaled, levels, scales: scales.values };
        // What is no number of levels, −128, has no opposite, which kernels rely on.
        let usable = !levels.levels.contains(&i8::MIN)
            && levels.scales.iter().all(|scale| scale.is_finite() && *scale >= 0.0);
        match usable && levels.fits() {
            true => Ok(levels),
            false => Err(refuse("or their scales are out of range")),
        }
    }
}

fn numbers(name: &str, dtype: Dtype, data: &[u8]) -> Result<Vec<f32>, FormatError> {
    match dtype {
        Dtype::F32 => {
            Ok(data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        }
        Dtype::F16 => {
            let halves = data.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes));
            Ok(halves.map(f16::to_f32).collect())
        }
        Dtype::BF16 => {
            let halves = data.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes));
            Ok(halves.map(bf16::to_f32).collect())
        }
        other => {
            let known = "F16, F32, BF16 or I8";
            Err(FormatError(format!("tensor `{name}` is stored as {other:?}, not {known}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::levels::Bits;
    use proptest::prelude::*;

    fn example() -> TensorFile {
        let numbers = Numbers { shape: vec![2, 2], values: vec![0.5, -2.0, 0.0, 1024.0] };
        let tensors = BTreeMap::from([("b".into(), numbers.clone()), ("a.0".into(), numbers)]);
        let (rows, columns) = ([0.5, -2.0, 0.0, 1.0, 3.0, -7.0], [4.0, 0.1]);
        let levels = BTreeMap::from([
            ("c".into(), Levels::round(&rows, [2, 3], Scaled::Rows, Bits::Eight)),
            ("d".into(), Levels::round(&columns, [1, 2], Scaled::Columns, Bits::Four)),
        ]);
        TensorFile { metadata: "{\"plan\": \"x\"}".into(), tensors, levels }
    }

    #[test]
    fn a_file_reads_back_in_either_precision() {
        for precision in [StoredPrecision::Half, StoredPrecision::Single] {
            let bytes = example().to_bytes(precision).expect("fits");
            assert_eq!(bytes, example().to_bytes(precision).expect("fits"));
            let read = TensorFile::from_bytes(&bytes).expect("reads");
            assert_eq!(read, (example(), Digest::Checked));
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mut file = example();
        assert!(file.clone().take("e", &[1]).expect_err("missing").0.contains("`e`"));
        assert!(file.clone().take("b", &[4]).expect_err("misshapen").0.contains("[2, 2]"));
        file.tensors.get_mut("b").expect("there").values[0] = 1e9;
        assert!(file.to_bytes(StoredPrecision::Half).expect_err("too large").0.contains("`b`"));
    }

    #[test]
    fn levels_are_taken_as_weights() {
        let mut file = example();
        assert_eq!(file.count(), 16);
        let taken = file.take("c", &[2, 3]).expect("there");
        let close = |(found, value): (&f32, f32)| (found - value).abs() < 0.03;
        assert!(taken.iter().zip([0.5, -2.0, 0.0, 1.0, 3.0, -7.0]).all(close), "{taken:?}");
        assert!(file.take("c", &[2, 3]).is_err(), "taken");
        // −128 is no level, and scales belong to rows or columns.
        let bytes = example().to_bytes(StoredPrecision::Single).expect("fits");
        let refused = |file: &TensorFile| {
            let bytes = file.to_bytes(StoredPrecision::Single).expect("fits");
            TensorFile::from_bytes(&bytes).is_err()
        };
        assert!(TensorFile::from_bytes(&bytes).is_ok());
        let mut other = example();
        other.levels.get_mut("c").expect("there").levels[0] = -128;
        assert!(refused(&other));
        let mut other = example();
        other.levels.get_mut("c").expect("there").scales[0] = f32::NAN;
        assert!(refused(&other));
        let mut other = example();
        other.levels.get_mut("c").expect("there").scales.pop();
        assert!(refused(&other));
    }

    proptest! {
        #[test]
        fn damaged_files_are_errors(position in 0_usize..900, byte: u8, cut in 0_usize..900) {
            let mut bytes = example().to_bytes(StoredPrecision::Single).expect("fits");
            let position = position % bytes.len();
            bytes[position] = byte;
            let _ = TensorFile::from_bytes(&bytes);
            bytes.truncate(cut % bytes.len());
            prop_assert!(TensorFile::from_bytes(&bytes).is_err());
        }
    }
}
