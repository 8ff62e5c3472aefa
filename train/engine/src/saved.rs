//! Weights as a run saves them, with the plan that made them.

use std::path::Path;
use std::sync::Arc;

use lmtrain_eval::Predictor;
use lmtrain_runs::notice;
use lmtrain_runs::plan::MOST_CONTEXT;
use lmtrain_runs::record::WeightCode;
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::shipped::{is_shipped, unpack};
use crate::tensor_file::{FormatError, TensorFile};
use crate::{Engine, ExactPredictor, Origin, Signature};

/// Weights as they were saved, with the plan that made them.
#[derive(Clone)]
pub struct SavedWeights {
    /// The file's bytes: safetensors, or the form that is shipped.
    pub bytes: Arc<Vec<u8>>,
    /// Plan, tokenizer and step.
    pub origin: Origin,
    /// SHA-256 of the file.
    pub identity: [u8; 32],
    /// The code that the file has them in.
    pub code: WeightCode,
    /// The packed vocabulary that is with them; empty if none is.
    pub vocabulary: Arc<Vec<u8>>,
}

/// Weights that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the weights in {place} cannot be used: {source}")]
    Format {
        /// Where they were.
        place: String,
        /// What is wrong.
        source: FormatError,
    },
    /// A GPU failed.
    #[error("{0}")]
    Device(String),
}

impl SavedWeights {
    /// Reads a run's weights.
    ///
    /// # Errors
    /// If the file cannot be read, is no file of weights, or is damaged.
    pub fn read(path: &Path) -> Result<Self, WeightsError> {
        let place = path.display().to_string();
        let bytes = std::fs::read(path)
            .map_err(|source| WeightsError::Read { path: place.clone(), source })?;
        let (saved, digest) = Self::open(bytes, &place)?;
        if digest == Digest::Absent {
            notice::without_digest(path);
        }
        Ok(saved)
    }

    /// Uses the bytes of such a file. If they have no digest of their own, something else must vouch for them. `place`
    /// is named in errors.
    ///
    /// # Errors
    /// If they are no file of weights, or damaged.
    pub fn from_bytes(bytes: Vec<u8>, place: &str) -> Result<Self, WeightsError> {
        Self::open(bytes, place).map(|(saved, _)| saved)
    }

    fn open(bytes: Vec<u8>, place: &str) -> Result<(Self, Digest), WeightsError> {
        let refuse = |source| WeightsError::Format { place: place.to_owned(), source };
        let (file, shipped, digest) = match is_shipped(&bytes) {
            true => {
                unpack(&bytes).map(|it| (it.file, Some((it.code, it.vocabulary)), Digest::Checked))
            }
            false => TensorFile::from_bytes(&bytes).map(|(file, digest)| (file, None, digest)),
        }
        .map_err(refuse)?;
        let origin: Origin = serde_json::from_str(&file.metadata)
            .map_err(|error| refuse(FormatError(format!("metadata: {error}"))))?;
        let (code, vocabulary) =
            shipped.unwrap_or_else(|| (origin.plan.choices.weights.into(), Vec::new()));
        let identity = Sha256::digest(&bytes).into();
        check_plan(&origin, &file).map_err(refuse)?;
        let (bytes, vocabulary) = (Arc::new(bytes), Arc::new(vocabulary));
        Ok((Self { bytes, origin, identity, code, vocabulary }, digest))
    }

    /// The same weights, as those of a run of this name: the name within them is what the run was
    /// called when it was trained.
    #[must_use]
    pub fn of_run(mut self, name: &str) -> Self {
        name.clone_into(&mut self.origin.plan.name);
        self
    }

    /// Whether they are in the form of a packed network, `.lmw`.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        is_shipped(&self.bytes)
    }

    /// The tensors, whose digest was checked.
    ///
    /// # Errors
    /// None but of memory: they were read before.
    pub fn file(&self) -> Result<TensorFile, FormatError> {
        match is_shipped(&self.bytes) {
            true => unpack(&self.bytes).map(|shipped| shipped.file),
            false => TensorFile::from_checked(&self.bytes),
        }
    }

    /// The network that they are, ready to predict on the processor.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn predictor(&self) -> Result<Box<dyn Predictor>, WeightsError> {
        Ok(Box::new(self.exact()?))
    }

    /// The same, with its network to look into.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen.
    pub fn exact(&self) -> Result<ExactPredictor, WeightsError> {
        let plan = &self.origin.plan;
        let engine = self
            .file()
            .and_then(|mut file| Engine::of_run(plan, &mut file))
            .map_err(|source| WeightsError::Format { place: plan.name.clone(), source })?;
        let signature = Signature::of(&engine, plan.begin_token(), self.identity);
        let side_by_side = engine.side_by_side();
        Ok(ExactPredictor::new(engine, signature, side_by_side))
    }
}

/// An archive's weights may be anyone's: what they say of their plan must be what they are before
/// memory is taken by it.
fn check_plan(origin: &Origin, file: &TensorFile) -> Result<(), FormatError> {
    let context = origin.plan.context;
    if !(1..=MOST_CONTEXT).contains(&context) {
        return Err(FormatError(format!("a context of {context} tokens")));
    }
    let numbers = file.count();
    if numbers as u64 != origin.plan.parameters() {
        let parameters = origin.plan.parameters();
        return Err(FormatError(format!(
            "it has {numbers} weights, but its plan has {parameters}"
        )));
    }
    Ok(())
}
