//! Saved weights in other forms: decoded again from a code, and as a packed network.

use lmtrain_runs::Bytes;
use lmtrain_runs::record::WeightCode;

use crate::shipped::{is_shipped, pack};
use crate::tensor_file::FormatError;
use crate::{SavedWeights, WeightsError};

impl SavedWeights {
    /// These weights after encoding and decoding in a code, and the size of their code in bytes: for `f32` and `f16`,
    /// 4 and 2 for each number, as the paper counts; for quantized weights, the length of the packed network without
    /// its vocabulary. In the code that their file uses, the weights are returned unchanged.
    ///
    /// # Errors
    /// If they cannot be coded, a number being too large or none at all.
    pub fn recoded(&self, code: WeightCode) -> Result<(Self, Bytes), WeightsError> {
        if !WeightCode::ALL.contains(&code) {
            let why =
                format!("weights can no longer be coded as {code}; it is only read in records");
            return Err(self.refuse(FormatError(why)));
        }
        let as_it_is = code == self.code && is_shipped(&self.bytes) && self.vocabulary.is_empty();
        let packed = if as_it_is { self.clone() } else { self.packed(code, &[])? };
        let numbers = self.origin.plan.parameters();
        let cost = match code {
            WeightCode::F32 => 4 * numbers,
            WeightCode::F16 => 2 * numbers,
            _ => packed.bytes.len() as u64,
        };
        let weights = if code == self.code { self.clone() } else { packed };
        Ok((weights, Bytes(cost)))
    }

    /// The same weights in the form that is shipped, in any code, with the packed vocabulary that they need; an empty
    /// one is left out.
    ///
    /// # Errors
    /// If they cannot be coded, a number being too large or none at all.
    pub fn packed(&self, code: WeightCode, vocabulary: &[u8]) -> Result<Self, WeightsError> {
        let bytes = self.file().and_then(|file| pack(&file, &self.origin, code, vocabulary));
        Self::from_bytes(bytes.map_err(|source| self.refuse(source))?, &self.origin.plan.name)
    }

    /// The form in which an archive embeds them; the vocabulary has its own place there. Quantized weights are
    /// embedded as a packed network, others as they are saved.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn shipped(&self) -> Result<Self, WeightsError> {
        let whole_numbers = matches!(self.code, WeightCode::Int8 | WeightCode::Int4);
        let as_it_is = is_shipped(&self.bytes) && self.vocabulary.is_empty();
        match whole_numbers && !as_it_is {
            true => self.packed(self.code, &[]),
            false => Ok(self.clone()),
        }
    }

    fn refuse(&self, source: FormatError) -> WeightsError {
        WeightsError::Format { place: self.origin.plan.name.clone(), source }
    }
}
