//! A model's tensors: taken by name and shape, and each noted as used and hashed as it is packed. So missing, misshapen
//! and surplus tensors can be named, and the file's memory can be released.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lmtrain_runs::record::WeightCode;
use rayon::prelude::*;
use safetensors::tensor::Dtype;
use sha2::{Digest, Sha256};

use super::error::PretrainedError;
use super::matrix::{Inputs, Lies, Matrix, Source, Tensor, pack, pack_rounded};
use super::rounded::Rounded;
use super::safetensors::{File, Place, Places, open};
use lmtrain_kernels::{PackedPrecision, PackedWeights};

/// All tensors of a model.
pub(super) struct Weights {
    files: Vec<File>,
    places: Places,
    /// SHA-256 of those that were used.
    digests: Mutex<BTreeMap<String, [u8; 32]>>,
    /// Copies of others.
    tied: Mutex<BTreeSet<String>>,
    /// What was wrong so far.
    faults: Mutex<Vec<PretrainedError>>,
    /// How matrices are rounded, if they are.
    rounded: Option<Rounded>,
}

/// Faults after which no more are looked for.
const MOST_FAULTS: usize = 100;

impl Weights {
    /// Opens a folder's weights, to be used as they are or rounded.
    pub(super) fn open(folder: &Path, rounded: Option<Rounded>) -> Result<Self, PretrainedError> {
        let (files, places) = open(folder)?;
        let (digests, tied, faults) = Default::default();
        Ok(Self { files, places, digests, tied, faults, rounded })
    }

    /// What names begin with: `base`, or nothing in models that were saved without their head.
    pub(super) fn base(&self, base: &'static str, probe: &str) -> &'static str {
        if self.places.contains_key(&format!("{base}{probe}")) { base } else { "" }
    }

    /// Notes a fault that names a tensor's file, and gives the error.
    fn refuse(&self, place: Option<&Place>, reason: String) -> PretrainedError {
        let file = &self.files[place.map_or(0, |place| place.file)].path;
        self.found().push(PretrainedError::refused(file, reason.clone()));
        PretrainedError::refused(file, reason)
    }

    fn found(&self) -> MutexGuard<'_, Vec<PretrainedError>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All faults that were found.
    pub(super) fn faults(&self) -> Vec<PretrainedError> {
        std::mem::take(&mut *self.found())
    }

    /// Reads so many layers; where one has a fault, the others are looked at too.
    pub(super) fn layers<T>(
        &self,
        count: usize,
        read: impl Fn(usize) -> Result<T, PretrainedError>,
    ) -> Result<Vec<T>, PretrainedError> {
        let (mut layers, mut first) = (Vec::new(), None);
        for index in 0..count {
            match read(index) {
                Ok(layer) => layers.push(layer),
                Err(error) => first = first.or(Some(error)),
            }
            if self.found().len() >= MOST_FAULTS {
                break;
            }
        }
        first.map_or(Ok(layers), Err)
    }

    /// The tensor of this name and shape.
    fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor<'_>, PretrainedError> {
        let found = self.places.get_key_value(name);
        let missing = || self.refuse(None, format!("tensor `{name}` is missing"));
        let (name, place) = found.ok_or_else(missing)?;
        let precision = match place.dtype {
            Dtype::F32 => PackedPrecision::Single,
            Dtype::F16 => PackedPrecision::Half,
            Dtype::BF16 => PackedPrecision::Bfloat,
            other => {
                let why = format!(
                    "tensor `{name}` is stored as {other:?}; only F32, F16 and BF16 are supported"
                );
                return Err(self.refuse(Some(place), why));
            }
        };
        if place.shape != shape {
            let has = &place.shape;
            let why = format!("tensor `{name}` has shape {has:?} instead of {shape:?}");
            return Err(self.refuse(Some(place), why));
        }
        let bytes = &self.files[place.file].map.bytes()[place.range.clone()];
        Ok(Tensor { name, precision, shape: &place.shape, bytes })
    }

    /// The first dimension of a table of rows of this width, such as an embedding.
    pub(super) fn rows(&self, name: &str, width: usize) -> Result<usize, PretrainedError> {
        match self.places.get(name).map(|place| &place.shape[..]) {
            Some(&[rows, found]) if found == width && rows > 0 => Ok(rows),
            // For the error.
            _ => self.take(name, &[0, width]).map(|_| 0),
        }
    }

    /// The numbers of a vector.
    pub(super) fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, PretrainedError> {
        let tensor = self.take(name, &[length])?;
        self.note(&tensor);
        Ok(tensor.all())
    }

    /// A table of rows, each filled up to `filled` numbers.
    pub(super) fn table(
        &self,
        name: &str,
        [rows, width]: [usize; 2],
        filled: usize,
    ) -> Result<Vec<f32>, PretrainedError> {
        let tensor = self.take(name, &[rows, width])?;
        self.note(&tensor);
        let mut numbers = vec![0.0; rows * filled];
        for (row, to) in numbers.chunks_exact_mut(filled).enumerate() {
            tensor.numbers(row * width, &mut to[..width]);
        }
        Ok(numbers)
    }

    /// A matrix.
    pub(super) fn matrix(
        &self,
        name: &str,
        lies: Lies,
        [inputs, outputs]: [usize; 2],
    ) -> Result<Matrix<'_>, PretrainedError> {
        let shape = match lies {
            Lies::Outputs => [outputs, inputs],
            Lies::Inputs => [inputs, outputs],
        };
        Ok(Matrix { tensor: self.take(name, &shape)?, lies, inputs, outputs })
    }

    /// The table of embeddings [tokens, width] and the head: one matrix if they are tied, where the file may hold it
    /// twice. The first is absent if it is the second.
    pub(super) fn ends(
        &self,
        [embedding, head]: [&str; 2],
        [width, filled]: [usize; 2],
        tied: bool,
    ) -> Result<(Option<PackedWeights>, PackedWeights), PretrainedError> {
        let tokens = self.rows(embedding, width)?;
        let pack = |name| {
            let matrix = self.matrix(name, Lies::Outputs, [width, tokens])?;
            let inputs = Inputs::First(width, filled);
            self.pack_all(&[matrix], &inputs, tokens, &|token| Some((0, token)), true)
        };
        if !tied {
            let (embedding, head) = (pack(embedding), pack(head));
            return Ok((Some(embedding?), head?));
        }
        if let Some(place) = self.places.get(head) {
            let [one, other] = [embedding, head].map(|name| self.take(name, &[tokens, width]));
            if one?.bytes != other?.bytes {
                let why = format!(
                    "tensor `{head}` differs from `{embedding}`, although the configuration ties \
                        them"
                );
                return Err(self.refuse(Some(place), why));
            }
            self.tied().insert(head.to_owned());
        }
        Ok((None, pack(embedding)?))
    }

    /// Packs matrices as [`pack()`] does, hashes them meanwhile, and gives back their memory. After a fault nothing is
    /// packed any more: what follows is only looked at.
    pub(super) fn pack(
        &self,
        matrices: &[Matrix<'_>],
        inputs: &Inputs,
        outputs: usize,
        source: impl Fn(usize) -> Option<(usize, usize)> + Sync,
    ) -> Result<PackedWeights, PretrainedError> {
        self.pack_all(matrices, inputs, outputs, &source, false)
    }

    /// The same of any matrices, those of tokens included: the embedding and the head.
    fn pack_all(
        &self,
        matrices: &[Matrix<'_>],
        inputs: &Inputs,
        outputs: usize,
        source: &Source<'_>,
        of_tokens: bool,
    ) -> Result<PackedWeights, PretrainedError> {
        if !self.found().is_empty() {
            return Err(PretrainedError::GivenUp);
        }
        let hash = || matrices.par_iter().for_each(|matrix| self.note(&matrix.tensor));
        let pack = || match &self.rounded {
            None => pack(matrices, inputs, outputs, source),
            Some(rounded) => {
                let rounding = (rounded, rounded.bits(of_tokens));
                pack_rounded(matrices, inputs, outputs, source, rounding)
            }
        };
        let (packed, ()) = rayon::join(pack, hash);
        for matrix in matrices {
            if let Some(place) = self.places.get(matrix.tensor.name) {
                self.files[place.file].map.release(place.range.clone());
            }
        }
        Ok(packed)
    }

    /// Packs one matrix as it is, inputs and outputs filled up.
    pub(super) fn plain(
        &self,
        name: &str,
        lies: Lies,
        shape: [usize; 2],
        [inputs, outputs]: [usize; 2],
    ) -> Result<PackedWeights, PretrainedError> {
        let matrix = self.matrix(name, lies, shape)?;
        let source = |output| (output < shape[1]).then_some((0, output));
        self.pack(&[matrix], &Inputs::First(shape[0], inputs), outputs, source)
    }

    /// Notes a tensor as used.
    fn note(&self, tensor: &Tensor<'_>) {
        if self.noted().contains_key(tensor.name) {
            return;
        }
        let mut hash = Sha256::new();
        hash.update(format!("{:?} {:?}\n", tensor.precision, tensor.shape));
        hash.update(tensor.bytes);
        self.noted().insert(tensor.name.to_owned(), hash.finalize().into());
    }

    fn noted(&self) -> MutexGuard<'_, BTreeMap<String, [u8; 32]>> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tied(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.tied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes as faults the tensors that the network, of this class, has no place for, but for those with such ends.
    pub(super) fn check_all_used(&self, class: &str, beside: &[&str]) {
        let (noted, tied) = (self.noted(), self.tied());
        let surplus = self.places.iter().filter(|(name, _)| {
            !noted.contains_key(*name)
                && !tied.contains(*name)
                && !beside.iter().any(|end| name.ends_with(end))
        });
        for (name, place) in surplus {
            self.refuse(Some(place), format!("tensor `{name}` does not belong to a {class}"));
        }
    }

    /// The used tensors' places.
    fn used(&self) -> Vec<&Place> {
        self.noted().keys().filter_map(|name| self.places.get(name)).collect()
    }

    /// Numbers in all used tensors.
    pub(super) fn parameters(&self) -> u64 {
        self.used().iter().map(|place| place.shape.iter().product::<usize>() as u64).sum()
    }

    /// Bytes of all used tensors.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.used().iter().map(|place| place.range.len() as u64).sum()
    }

    /// The code of the rounding, if there is one.
    pub(super) fn code(&self) -> Option<WeightCode> {
        self.rounded.as_ref().map(Rounded::code)
    }

    /// Bytes of all used tensors after rounding, the others as they are stored; nothing if none are rounded.
    pub(super) fn rounded_bytes(&self) -> Option<u64> {
        let (levels, tensors) = self.rounded.as_ref()?.finish();
        let others: u64 = self
            .noted()
            .keys()
            .filter(|name| !tensors.contains(*name))
            .filter_map(|name| self.places.get(name))
            .map(|place| place.range.len() as u64)
            .sum();
        Some(levels + others)
    }

    /// Names and hashes of all used tensors.
    pub(super) fn digests(&self) -> Vec<u8> {
        let line =
            |(name, digest): (&String, &[u8; 32])| [name.as_bytes(), &[0], &digest[..]].concat();
        self.noted().iter().flat_map(line).collect()
    }
}
