//! Where networks compute: the CPU, which is always available, or a CUDA device in builds that support it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::backend::Flex;
use burn::backend::flex::FlexDevice;
use lmtrain_engine::pretrained::PretrainedModel;
use lmtrain_engine::{SavedWeights, WeightsError};
use lmtrain_eval::Predictor;
use lmtrain_runs::{Plan, Precision};

use crate::batches::Tokens;
use crate::error::TrainError;
#[cfg(feature = "cuda")]
use crate::gpu::{self, Cuda};
use crate::learner::{self, Fitted, Job};
#[cfg(feature = "cuda")]
use crate::on_device::OnDevice;

/// A place to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The first GPU if there is one, otherwise the CPU; [`Device::open`] decides which.
    Auto,
    /// The processor, with kernels that give the same bits on every machine.
    Cpu,
    /// A CUDA device by its index.
    #[cfg(feature = "cuda")]
    Cuda(usize),
    /// Every CUDA device, each with a share of a step's passes.
    #[cfg(feature = "cuda")]
    EveryCuda,
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.pad("auto"),
            Self::Cpu => formatter.pad("cpu"),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => formatter.pad(&format!("cuda:{index}")),
            #[cfg(feature = "cuda")]
            Self::EveryCuda => formatter.pad("cuda:all"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            #[cfg(feature = "cuda")]
            "cuda" => Ok(Self::Cuda(0)),
            #[cfg(feature = "cuda")]
            "cuda:all" => Ok(Self::EveryCuda),
            #[cfg(feature = "cuda")]
            _ if text.starts_with("cuda:") => {
                let index = text["cuda:".len()..].parse();
                index
                    .map(Self::Cuda)
                    .map_err(|_| format!("`{text}`: write cuda:0, cuda:1 … or cuda:all"))
            }
            #[cfg(not(feature = "cuda"))]
            _ if text.starts_with("cuda") => Err("this build has no CUDA support; build it with \
                `cargo build --release --features cuda`"
                .to_owned()),
            _ => Err(format!("`{text}` is not a device: write auto, cpu or cuda")),
        }
    }
}

impl Device {
    /// Resolves `auto`, and checks that the device exists; also returns what to tell the user about it.
    ///
    /// # Errors
    /// Why there is no such device, and what to do.
    pub fn open(self) -> Result<(Self, Option<String>), String> {
        match self {
            Self::Cpu => Ok((Self::Cpu, None)),
            #[cfg(not(feature = "cuda"))]
            Self::Auto => Ok((Self::Cpu, None)),
            #[cfg(feature = "cuda")]
            Self::Auto => Ok(match gpu::gpus() {
                Ok(gpus) => (Self::Cuda(0), Some(format!("computing on cuda:0 ({})", gpus[0]))),
                Err(reason) => (Self::Cpu, Some(format!("computing on the processor: {reason}"))),
            }),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) | Self::EveryCuda => self.open_cuda(),
        }
    }

    #[cfg(feature = "cuda")]
    fn open_cuda(self) -> Result<(Self, Option<String>), String> {
        let hint = "hint: `--device cpu` computes on the processor";
        let gpus =
            gpu::gpus().map_err(|reason| format!("cannot use `{self}`: {reason}\n{hint}"))?;
        let found = |index: usize, gpu| format!("computing on cuda:{index} ({gpu})");
        match self {
            Self::Cuda(index) => match gpus.get(index) {
                Some(gpu) => Ok((self, Some(found(index, gpu)))),
                None => {
                    let last = gpus.len() - 1;
                    Err(format!(
                        "there is no `{self}`: the GPUs here are cuda:0 to cuda:{last}\n{hint}"
                    ))
                }
            },
            _ => {
                let lines = gpus.iter().enumerate().map(|(index, gpu)| found(index, gpu));
                Ok((self, Some(lines.collect::<Vec<_>>().join("\n"))))
            }
        }
    }

    /// The precision of training: the requested one, otherwise bf16 on GPUs that support it and f32 elsewhere.
    ///
    /// # Errors
    /// If the device has no such numbers.
    pub fn precision(&self, asked: Option<Precision>) -> Result<Precision, String> {
        match self {
            // Every processor has bf16, if only some are faster with it.
            Self::Auto | Self::Cpu => Ok(asked.unwrap_or(Precision::F32)),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) | Self::EveryCuda => {
                let known = gpu::gpus()?.iter().all(gpu::Gpu::knows_bf16);
                match asked {
                    Some(Precision::Bf16) if !known => {
                        Err(refusal("this GPU does not support bf16"))
                    }
                    Some(precision) => Ok(precision),
                    None if known => Ok(Precision::Bf16),
                    None => Ok(Precision::F32),
                }
            }
        }
    }

    /// The requested precision of scoring.
    ///
    /// # Errors
    /// If the device has no such numbers: the processor scores as it codes, which is in f32.
    pub fn scoring_precision(&self, asked: Precision) -> Result<Precision, String> {
        match self {
            Self::Auto | Self::Cpu if asked == Precision::Bf16 => {
                Err(refusal("the processor measures only in f32"))
            }
            _ => self.precision(Some(asked)),
        }
    }

    /// Whether training in bf16 is faster than in f32.
    pub fn is_faster_in_bf16(&self) -> bool {
        match self {
            Self::Auto | Self::Cpu => lmtrain_kernels::multiplies_pairs(),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) | Self::EveryCuda => self.precision(Some(Precision::Bf16)).is_ok(),
        }
    }

    /// A trained run, ready to predict here; a GPU scores in `precision`, the processor in f32.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen, or a GPU fails.
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables, reason = "the processor has f32"))]
    pub fn predictor(
        &self,
        saved: &SavedWeights,
        precision: Precision,
    ) -> Result<Box<dyn Predictor>, WeightsError> {
        match self {
            Self::Auto | Self::Cpu => saved.predictor(),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) | Self::EveryCuda => {
                let device = self.cuda_devices()[0].clone();
                if precision == Precision::Bf16 {
                    return Ok(Box::new(OnDevice::<Cuda, _>::of_run(saved, device)?));
                }
                let run = OnDevice::<Cuda>::new(&saved.exact()?, precision, device);
                Ok(Box::new(run.map_err(WeightsError::Device)?))
            }
        }
    }

    /// A pretrained model on a GPU, where it only measures, with its weights copied there; nothing for the CPU, on
    /// which the model itself computes.
    ///
    /// # Errors
    /// What the device failed with.
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables, reason = "the model itself"))]
    pub fn pretrained(
        &self,
        model: &PretrainedModel,
        precision: Precision,
    ) -> Result<Option<Box<dyn Predictor>>, String> {
        match self {
            Self::Auto | Self::Cpu => Ok(None),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) | Self::EveryCuda => {
                let device = self.cuda_devices()[0].clone();
                let model = OnDevice::<Cuda>::new(model.predictor(), precision, device)?;
                Ok(Some(Box::new(model)))
            }
        }
    }

    /// Trains a run here.
    ///
    /// # Errors
    /// See [`TrainError`].
    pub fn fit(&self, job: Job) -> Result<Fitted, TrainError> {
        match self {
            Self::Auto | Self::Cpu => learner::fit::<Flex>(job, &[FlexDevice]),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) | Self::EveryCuda => {
                on_gpus(self.cuda_devices(), |devices| learner::fit::<Cuda>(job, devices))
            }
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
            Self::Auto | Self::Cpu => {
                learner::seconds_per_step::<Flex>(plan, tokens, &[FlexDevice], stop)
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(_) | Self::EveryCuda => on_gpus(self.cuda_devices(), |devices| {
                learner::seconds_per_step::<Cuda>(plan, tokens, devices, stop)
            }),
        }
    }

    /// burn's handles; none on the processor.
    #[cfg(feature = "cuda")]
    pub(crate) fn cuda_devices(&self) -> Vec<burn_cuda::CudaDevice> {
        match self {
            Self::Auto | Self::Cpu => Vec::new(),
            Self::Cuda(index) => vec![gpu::device(*index)],
            Self::EveryCuda => (0..gpu::gpus().map_or(1, <[_]>::len)).map(gpu::device).collect(),
        }
    }
}

/// Why there is no bf16.
fn refusal(reason: &str) -> String {
    format!("`--precision bf16`: {reason}\nhint: `--precision f32`, or another `--device`")
}

/// Trains on GPUs, whose panics become errors.
#[cfg(feature = "cuda")]
pub(crate) fn on_gpus<T>(
    devices: Vec<burn_cuda::CudaDevice>,
    work: impl FnOnce(&[burn_cuda::CudaDevice]) -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    crate::guard::guarded(|| work(&devices)).map_err(TrainError::Device).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_to_themselves_and_others_are_refused() {
        for device in [Device::Auto, Device::Cpu] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert!("gpu".parse::<Device>().is_err());
        #[cfg(feature = "cuda")]
        {
            assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
            assert_eq!("cuda:3".parse(), Ok(Device::Cuda(3)));
            assert_eq!("cuda:all".parse(), Ok(Device::EveryCuda));
            assert!("cuda:x".parse::<Device>().is_err());
        }
    }

    #[test]
    fn the_processor_trains_in_either_precision_and_scores_in_one() {
        assert_eq!(Device::Cpu.open(), Ok((Device::Cpu, None)));
        assert_eq!(Device::Cpu.precision(None), Ok(Precision::F32));
        for precision in [Precision::F32, Precision::Bf16] {
            assert_eq!(Device::Cpu.precision(Some(precision)), Ok(precision));
        }
        assert_eq!(Device::Cpu.scoring_precision(Precision::F32), Ok(Precision::F32));
        let error = Device::Cpu.scoring_precision(Precision::Bf16).expect_err("has none");
        assert!(error.contains("--precision f32"), "{error}");
    }
}
