//! Saved weights in other forms: after a trip through a code, and as they are shipped.

use lmtrain_runs::Bytes;
use lmtrain_runs::record::WeightCode;

use crate::shipped::{is_shipped, pack};
use crate::tensor_file::{FormatError, StoredPrecision, TensorFile};
use crate::{SavedWeights, WeightsError, weight_code};

impl SavedWeights {
    /// These weights after a trip through a code, and the bytes that they took in it. As they were
    /// saved they are in the code that they were trained for.
    ///
    /// # Errors
    /// If they cannot be coded, a number being too large or none at all.
    pub fn recoded(&self, code: WeightCode) -> Result<(Self, Bytes), WeightsError> {
        let place = self.origin.plan.name.clone();
        if !WeightCode::ALL.contains(&code) {
            let source = FormatError(format!("{code} is read in records, and not made any more"));
            return Err(WeightsError::Format { place, source });
        }
        let recode = || -> Result<(Vec<u8>, Bytes), FormatError> {
            let file = self.file()?;
            let coded = weight_code::encode(&file, code)?;
            let tensors = weight_code::decode(&coded, &weight_code::shapes(&file), code)?;
            let file = TensorFile { metadata: file.metadata, ..tensors };
            Ok((file.to_bytes(StoredPrecision::Single)?, Bytes(coded.len() as u64)))
        };
        let (bytes, coded) =
            recode().map_err(|source| WeightsError::Format { place: place.clone(), source })?;
        let weights = match code == self.origin.plan.choices.weights.into() {
            true => self.clone(),
            false => Self::from_bytes(bytes, &place)?,
        };
        Ok((weights, coded))
    }

    /// The same weights in the form that is shipped, if they are whole numbers; halves are shipped as they are saved.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn shipped(&self) -> Result<Self, WeightsError> {
        let place = self.origin.plan.name.clone();
        let code = self.origin.plan.choices.weights.into();
        if code == WeightCode::F16 || is_shipped(&self.bytes) {
            return Ok(self.clone());
        }
        let bytes = self.file().and_then(|file| pack(&file, &self.origin, code));
        let bytes =
            bytes.map_err(|source| WeightsError::Format { place: place.clone(), source })?;
        Self::from_bytes(bytes, &place)
    }
}
