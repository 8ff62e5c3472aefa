//! Where networks compute: the CPU, which is always available, or a GPU in builds that support it.

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

#[cfg(feature = "wgpu")]
use crate::any_gpu::{self, Wgpu};
use crate::batches::Tokens;
use crate::error::TrainError;
#[cfg(feature = "cuda")]
use crate::gpu::{self, Cuda};
use crate::learner::{self, Fitted, Job};
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::on_device::OnDevice;
use crate::ops::Kernels;

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
    /// The GPU that the system prefers, of any vendor, by wgpu.
    #[cfg(feature = "wgpu")]
    AnyGpu,
}

/// Work that is the same on every backend of burn.
pub(crate) trait Work {
    /// What it comes to.
    type Done;

    /// Does it; the devices are at least one.
    fn on<B: Kernels>(self, devices: &[B::Device]) -> Result<Self::Done, TrainError>;
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
            #[cfg(feature = "wgpu")]
            Self::AnyGpu => formatter.pad("gpu"),
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
            #[cfg(feature = "wgpu")]
            "gpu" => Ok(Self::AnyGpu),
            #[cfg(not(feature = "wgpu"))]
            "gpu" => Err("this build supports GPUs of any vendor only if it is built with `cargo build --release \
                --features wgpu`; NVIDIA's are faster with `--features cuda`"
                .to_owned()),
            _ => Err(format!("`{text}` is not a device: write auto, cpu, cuda or gpu")),
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
            Self::Auto => Ok(Self::first()),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) | Self::EveryCuda => self.open_cuda(),
            #[cfg(feature = "wgpu")]
            Self::AnyGpu => {
                let gpu = any_gpu::gpu().map_err(|reason| {
                    format!(
                        "cannot use `gpu`: {reason}\nhint: `--device cpu` computes on the processor"
                    )
                })?;
                Ok((self, Some(format!("computing on {gpu}"))))
            }
        }
    }

    /// What `auto` is here.
    fn first() -> (Self, Option<String>) {
        #[cfg_attr(not(any(feature = "cuda", feature = "wgpu")), expect(unused_mut))]
        let mut reasons: Vec<String> = Vec::new();
        #[cfg(feature = "cuda")]
        match gpu::gpus() {
            Ok(gpus) => {
                return (Self::Cuda(0), Some(format!("computing on cuda:0 ({})", gpus[0])));
            }
            Err(reason) => reasons.push(reason),
        }
        #[cfg(feature = "wgpu")]
        match any_gpu::gpu() {
            Ok(gpu) if gpu.is_software => {
                reasons.push(format!("{gpu} is a GPU that the processor imitates"));
            }
            Ok(gpu) => return (Self::AnyGpu, Some(format!("computing on {gpu}"))),
            Err(reason) => reasons.push(reason),
        }
        let reasons = (!reasons.is_empty()).then(|| reasons.join("; "));
        (Self::Cpu, reasons.map(|reasons| format!("computing on the processor: {reasons}")))
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
            #[cfg(feature = "wgpu")]
            Self::AnyGpu if asked == Some(Precision::Bf16) => {
                Err(refusal("`gpu` computes only in f32"))
            }
            #[cfg(feature = "wgpu")]
            Self::AnyGpu => Ok(Precision::F32),
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
            #[cfg(feature = "wgpu")]
            Self::AnyGpu => false,
        }
    }

    /// A trained run, ready to predict here; a GPU scores in `precision`, the processor in f32.
    ///
    /// # Errors
    /// If a tensor is missing or misshapen, or a GPU fails.
    #[cfg_attr(
        not(any(feature = "cuda", feature = "wgpu")),
        expect(unused_variables, reason = "the processor has f32")
    )]
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
            #[cfg(feature = "wgpu")]
            Self::AnyGpu => {
                let run = OnDevice::<Wgpu>::new(&saved.exact()?, precision, any_gpu::device());
                Ok(Box::new(run.map_err(WeightsError::Device)?))
            }
        }
    }

    /// A pretrained model on a GPU, where it only measures, with its weights copied there; nothing for the CPU, on
    /// which the model itself computes.
    ///
    /// # Errors
    /// What the device failed with.
    #[cfg_attr(
        not(any(feature = "cuda", feature = "wgpu")),
        expect(unused_variables, reason = "the model itself")
    )]
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
            #[cfg(feature = "wgpu")]
            Self::AnyGpu => {
                let device = any_gpu::device();
                let model = OnDevice::<Wgpu>::new(model.predictor(), precision, device)?;
                Ok(Some(Box::new(model)))
            }
        }
    }

    /// Trains a run here.
    ///
    /// # Errors
    /// See [`TrainError`].
    pub fn fit(&self, job: Job) -> Result<Fitted, TrainError> {
        self.perform(job)
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
        self.perform(TimeStep { plan, tokens, stop })
    }

    /// Does work on this device's backend; a GPU's panics become errors.
    pub(crate) fn perform<W: Work>(&self, work: W) -> Result<W::Done, TrainError> {
        match self {
            Self::Auto | Self::Cpu => work.on::<Flex>(&[FlexDevice]),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) | Self::EveryCuda => on_gpu(|| work.on::<Cuda>(&self.cuda_devices())),
            #[cfg(feature = "wgpu")]
            Self::AnyGpu => on_gpu(|| work.on::<Wgpu>(&[any_gpu::device()])),
        }
    }

    /// burn's handles; none on the processor.
    #[cfg(feature = "cuda")]
    pub(crate) fn cuda_devices(&self) -> Vec<burn_cuda::CudaDevice> {
        match self {
            Self::Auto | Self::Cpu => Vec::new(),
            #[cfg(feature = "wgpu")]
            Self::AnyGpu => Vec::new(),
            Self::Cuda(index) => vec![gpu::device(*index)],
            Self::EveryCuda => (0..gpu::gpus().map_or(1, <[_]>::len)).map(gpu::device).collect(),
        }
    }
}

/// Why there is no bf16.
fn refusal(reason: &str) -> String {
    format!("`--precision bf16`: {reason}\nhint: `--precision f32`, or another `--device`")
}

impl Work for Job {
    type Done = Fitted;

    fn on<B: Kernels>(self, devices: &[B::Device]) -> Result<Fitted, TrainError> {
        learner::fit::<B>(self, devices)
    }
}

struct TimeStep<'a> {
    plan: &'a Plan,
    tokens: Arc<dyn Tokens>,
    stop: &'a AtomicBool,
}

impl Work for TimeStep<'_> {
    type Done = f64;

    fn on<B: Kernels>(self, devices: &[B::Device]) -> Result<f64, TrainError> {
        learner::seconds_per_step::<B>(self.plan, self.tokens, devices, self.stop)
    }
}

/// Work on a GPU, whose panics become errors.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub(crate) fn on_gpu<T>(work: impl FnOnce() -> Result<T, TrainError>) -> Result<T, TrainError> {
    crate::guard::guarded(work).map_err(TrainError::Device).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_to_themselves_and_others_are_refused() {
        for device in [Device::Auto, Device::Cpu] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        #[cfg(feature = "wgpu")]
        assert_eq!("gpu".parse(), Ok(Device::AnyGpu));
        #[cfg(not(feature = "wgpu"))]
        assert!("gpu".parse::<Device>().is_err_and(|error| error.contains("--features wgpu")));
        assert!("tpu".parse::<Device>().is_err());
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
