//! Where networks compute: the processor, always there, or a CUDA device in builds that have it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::backend::Flex;
use burn::backend::flex::FlexDevice;
use lmtrain_runs::Plan;

use crate::batches::Tokens;
use crate::learner::{self, Fitted, Job, TrainError};

/// burn's CUDA backend.
#[cfg(feature = "cuda")]
pub(crate) type Cuda = burn_cuda::Cuda<f32, i32>;

#[cfg(feature = "cuda")]
impl crate::ops::Kernels for Cuda {}

/// A place to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor, with kernels that give the same bits on every machine.
    Cpu,
    /// A CUDA device by its index.
    #[cfg(feature = "cuda")]
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.pad("cpu"),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => formatter.pad(&format!("cuda:{index}")),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" | "cpu" => Ok(Self::Cpu),
            #[cfg(feature = "cuda")]
            "cuda" => Ok(Self::Cuda(0)),
            #[cfg(feature = "cuda")]
            _ if text.starts_with("cuda:") => {
                let index = text["cuda:".len()..].parse();
                index.map(Self::Cuda).map_err(|_| format!("`{text}`: write cuda:0, cuda:1 …"))
            }
            #[cfg(not(feature = "cuda"))]
            _ if text.starts_with("cuda") => Err("this build has no CUDA; build it with \
                `cargo build --release --features cuda`"
                .to_owned()),
            _ => Err(format!("`{text}` is no device: write auto, cpu or cuda")),
        }
    }
}

impl Device {
    /// Trains a run here.
    ///
    /// # Errors
    /// See [`TrainError`].
    pub fn fit(&self, job: Job) -> Result<Fitted, TrainError> {
        match self {
            Self::Cpu => learner::fit::<Flex>(job, &FlexDevice),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => learner::fit::<Cuda>(job, &burn_cuda::CudaDevice::new(*index)),
        }
    }

    /// Seconds of one step of a plan here.
    ///
    /// # Errors
    /// If the data do not fill one sequence.
    pub fn seconds_per_step(
        &self,
        plan: &Plan,
        tokens: Arc<dyn Tokens>,
        stop: &AtomicBool,
    ) -> Result<f64, TrainError> {
        match self {
            Self::Cpu => learner::seconds_per_step::<Flex>(plan, tokens, &FlexDevice, stop),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => {
                let device = burn_cuda::CudaDevice::new(*index);
                learner::seconds_per_step::<Cuda>(plan, tokens, &device, stop)
            }
        }
    }
}
