//! Checkpoints: everything needed to continue training, in one file that is written atomically, and the best network so
//! far in another. burn-train's own checkpoints are written in place by another thread, which panics if it cannot
//! write; a run must survive being killed at any moment.

use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use lmtrain_runs::files::write_atomic;
use lmtrain_runs::{Bits, Run, StepRecord, notice};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::network::Network;
use crate::ops::Kernels;
use crate::optimizer::State;
use crate::weights::{network_from, tensors_of};
use lmtrain_engine::Origin;
use lmtrain_engine::tensor_file::{Digest, FormatError, Numbers, StoredPrecision, TensorFile};
use lmtrain_engine::weight_code::round;

/// How far training has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// Optimizer steps done.
    pub step: u64,
    /// Seconds of training, over all sessions.
    pub seconds: f64,
    /// Prequential code length so far; absent once data repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prequential_bits: Option<Bits>,
    /// The lowest validation so far, in bits a byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_bits_per_byte: Option<f64>,
    /// The record of the last step, if its validation was not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unvalidated: Option<StepRecord>,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    origin: Origin,
    progress: Reached,
}

const NETWORK: &str = "network.";
const MOMENTS: &str = "moments.";
const AVERAGE: &str = "average.";

fn last_path(run: &Run) -> PathBuf {
    run.checkpoint_folder().join("last.safetensors")
}

/// Saves network, optimizer and progress.
///
/// # Errors
/// If the file cannot be written.
pub fn save<B: Kernels>(
    run: &Run,
    origin: Origin,
    network: &Network<B>,
    state: &State<B>,
    progress: &Reached,
) -> Result<(), TrainError> {
    let mut file = TensorFile::default();
    for (path, numbers) in tensors_of(network) {
        file.tensors.insert(format!("{NETWORK}{path}"), numbers);
    }
    for (path, moments) in &state.moments {
        for (index, moment) in moments.iter().enumerate() {
            let values: Vec<f32> = moment.to_data().iter().collect();
            let numbers = Numbers { shape: vec![values.len()], values };
            file.tensors.insert(format!("{MOMENTS}{index}.{path}"), numbers);
        }
    }
    for (path, mean) in &state.average {
        let values: Vec<f32> = mean.to_data().iter().collect();
        let numbers = Numbers { shape: vec![values.len()], values };
        file.tensors.insert(format!("{AVERAGE}{path}"), numbers);
    }
    let broken = |numbers: &Numbers| numbers.values.iter().any(|value| !value.is_finite());
    if let Some((tensor, _)) = file.tensors.iter().find(|(_, numbers)| broken(numbers)) {
        return Err(TrainError::Broken { step: progress.step, tensor: tensor.clone() });
    }
    file.metadata = json(&Metadata { origin, progress: progress.clone() })?;
    write(&last_path(run), &file, StoredPrecision::Single)
}

/// What [`save`] saved.
pub struct Saved<B: Kernels> {
    /// The network.
    pub network: Network<B>,
    /// The state of the optimizer.
    pub state: State<B>,
    /// How far training had come.
    pub progress: Reached,
    /// By what plan.
    pub origin: Origin,
}

/// Reads the last checkpoint, if there is one.
///
/// # Errors
/// If it is damaged.
pub fn load<B: Kernels>(run: &Run, device: &B::Device) -> Result<Option<Saved<B>>, TrainError> {
    let path = last_path(run);
    let Some(mut file) = read(&path)? else { return Ok(None) };
    let damaged = |error: FormatError| TrainError::Damaged { path: path.clone(), reason: error.0 };
    let Metadata { origin, progress } = serde_json::from_str(&file.metadata)
        .map_err(|error| damaged(FormatError(format!("its metadata: {error}"))))?;
    let mut state = State { step: progress.step, ..State::default() };
    let mut weights = TensorFile::default();
    for (name, numbers) in std::mem::take(&mut file.tensors) {
        if let Some(path) = name.strip_prefix(NETWORK) {
            weights.tensors.insert(path.to_owned(), numbers);
        } else if let Some(path) = name.strip_prefix(AVERAGE) {
            let mean = Tensor::from_data(TensorData::new(numbers.values, numbers.shape), device);
            state.average.insert(path.to_owned(), mean);
        } else if let Some((_, path)) =
            name.strip_prefix(MOMENTS).and_then(|rest| rest.split_once('.'))
        {
            // Names are sorted, so the first moment comes before the second.
            let data = TensorData::new(numbers.values, numbers.shape);
            let moments = state.moments.entry(path.to_owned()).or_default();
            moments.push(Tensor::from_data(data, device));
        }
    }
    let network = network_from(&origin.plan, &mut weights, device).map_err(damaged)?;
    Ok(Some(Saved { network, state, progress, origin }))
}

/// Saves the best network so far as the run's weights, in half precision or as the levels that it was trained for: what
/// is measured later is what is counted.
///
/// # Errors
/// If a file cannot be written, or a weight does not fit into 16 bits.
pub fn save_best<B: Kernels>(
    run: &Run,
    origin: &Origin,
    network: &Network<B>,
) -> Result<(), TrainError> {
    let file =
        TensorFile { metadata: json(origin)?, tensors: tensors_of(network), ..Default::default() };
    let file = round(&file, origin.plan.choices.weights.into()).map_err(TrainError::Format)?;
    write(&run.weights_path(), &file, StoredPrecision::Half)
}

fn json<T: Serialize>(value: &T) -> Result<String, TrainError> {
    serde_json::to_string(value).map_err(|error| TrainError::Format(FormatError(error.to_string())))
}

fn write(path: &Path, file: &TensorFile, precision: StoredPrecision) -> Result<(), TrainError> {
    Ok(write_atomic(path, &file.to_bytes(precision)?)?)
}

fn read(path: &Path) -> Result<Option<TensorFile>, TrainError> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|source| TrainError::Read { path: path.to_owned(), source })?,
    };
    let (file, digest) = TensorFile::from_bytes(&bytes)
        .map_err(|error| TrainError::Damaged { path: path.to_owned(), reason: error.0 })?;
    if digest == Digest::Absent {
        notice::without_digest(path);
    }
    Ok(Some(file))
}
