//! Speed on this machine, for `lmtrain bench`: its peak, and how long the steps of a plan take. Nothing is saved.

use std::sync::Arc;
use std::time::Instant;

use burn::backend::Flex;
use burn::backend::flex::FlexDevice;
use burn::tensor::{Distribution, Tensor};
use lmtrain_runs::random::SplitMix64;
use lmtrain_runs::{Plan, Precision};
use rayon::prelude::*;

#[cfg(feature = "wgpu")]
use crate::any_gpu::{self, Wgpu};
use crate::batches::Tokens;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::device::on_gpu;
use crate::device::{Device, Work};
use crate::error::TrainError;
#[cfg(feature = "cuda")]
use crate::gpu::{self, Cuda};
use crate::learner;
use crate::network::Network;
use crate::ops::{Kernels, number_type};
use crate::weights::tensors_of;
use lmtrain_engine::tensor_file::{self, TensorFile};
use lmtrain_engine::{Origin, SavedWeights, WeightsError};
use lmtrain_kernels::{Factors, multiply_adds};

/// Times of which the shortest counts.
const TRIALS: usize = 7;
/// Bytes that the copy test copies: more than any cache holds.
const COPIED: usize = 256 << 20;

/// Floating-point operations of one trial of the processor: some milliseconds, so that some trials fall
/// between what else the machine does.
const MULTIPLY_ADDS: u64 = 1 << 28;
/// Side of the square matrices that a GPU multiplies; one of any vendor may be a slow one.
#[cfg(feature = "cuda")]
const SIDE: usize = 8192;
#[cfg(feature = "wgpu")]
const SIDE_OF_ANY: usize = 2048;

/// What a device can do at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// Floating-point operations a second at most: of the processor multiply-adds in registers
    /// ([`multiply_adds`]), measured; of CUDA devices what their tensor cores are made for, of all of them together; of
    /// other GPUs only the product is known.
    pub flops_per_s: f64,
    /// The same in a product of large matrices, measured: by our own kernels or, on CUDA in f32, by burn's.
    pub gemm_flops_per_s: f64,
    /// Bytes copied a second, each read and written.
    pub copy_bytes_per_s: f64,
}

impl Device {
    /// Measures what the device can do at most in this precision, in about a second.
    ///
    /// # Errors
    /// If a GPU fails.
    pub fn peak(&self, precision: Precision) -> Result<Peak, TrainError> {
        let flops_per_s = self.peak_flops_per_s(precision)?;
        match self {
            Self::Auto | Self::Cpu => {
                let product = Flex::project_forward;
                let gemm = gemm_flops_per_s::<Flex>(768, precision, &FlexDevice, product);
                Ok(Peak {
                    // What a product reached in a better moment, the processor can do.
                    flops_per_s: flops_per_s.max(gemm),
                    gemm_flops_per_s: gemm,
                    copy_bytes_per_s: copy_bytes_per_s(),
                })
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(_) | Self::EveryCuda => on_gpu(|| {
                let devices = self.cuda_devices();
                let device = &devices[0];
                let gemm = gemm_flops_per_s::<Cuda>(SIDE, precision, device, Cuda::project_forward);
                let gemm_flops_per_s = gemm * devices.len() as f64;
                let copy_bytes_per_s = element_bytes_per_s::<Cuda>(device);
                Ok(Peak { flops_per_s, gemm_flops_per_s, copy_bytes_per_s })
            }),
            #[cfg(feature = "wgpu")]
            Self::AnyGpu => {
                let copy = || Ok(element_bytes_per_s::<Wgpu>(&any_gpu::device()));
                let copy_bytes_per_s = on_gpu(copy)?;
                Ok(Peak { flops_per_s, gemm_flops_per_s: flops_per_s, copy_bytes_per_s })
            }
        }
    }

    /// [`Peak::flops_per_s`] alone, in a fraction of a second: machines that others share change
    /// their speed, so that it is measured around each figure that is a share of it.
    ///
    /// # Errors
    /// If a GPU fails.
    pub fn peak_flops_per_s(&self, precision: Precision) -> Result<f64, TrainError> {
        match self {
            Self::Auto | Self::Cpu => Ok(multiply_adds_per_s(precision)),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) | Self::EveryCuda => {
                let gpus = gpu::gpus().map_err(TrainError::Device)?;
                let are_asked =
                    |index: &usize| *self == Self::EveryCuda || *self == Self::Cuda(*index);
                let asked = (0..gpus.len()).filter(are_asked);
                Ok(asked.map(|index| gpus[index].peak(precision)).sum())
            }
            #[cfg(feature = "wgpu")]
            Self::AnyGpu => on_gpu(|| {
                let (device, product) = (any_gpu::device(), Wgpu::project_forward);
                Ok(gemm_flops_per_s::<Wgpu>(SIDE_OF_ANY, precision, &device, product))
            }),
        }
    }

    /// Seconds of each of `steps` training steps of a plan, after some that are not counted, on random tokens.
    ///
    /// # Errors
    /// If the plan cannot be trained.
    pub fn training_seconds(&self, plan: &Plan, steps: u64) -> Result<Vec<f64>, TrainError> {
        let count = 16 * plan.batch * plan.context;
        let vocabulary = plan.tokenization.vocabulary() as u64;
        let tokens = Arc::new(RandomTokens { count, vocabulary });
        self.perform(TimedSteps { plan, tokens, steps })
    }
}

struct TimedSteps<'a> {
    plan: &'a Plan,
    tokens: Arc<dyn Tokens>,
    steps: u64,
}

impl Work for TimedSteps<'_> {
    type Done = Vec<f64>;

    fn on<B: Kernels>(self, devices: &[B::Device]) -> Result<Vec<f64>, TrainError> {
        learner::timed_steps::<B>(self.plan, self.tokens, devices, self.steps)
    }
}

/// The weights that a plan's seed gives, with no output matrix at zero: as good as trained ones for measuring speed,
/// and for nothing else.
///
/// # Errors
/// If they cannot be stored.
pub fn untrained(plan: &Plan) -> Result<SavedWeights, WeightsError> {
    let mut plan = plan.clone();
    plan.choices.zero_outputs = false;
    let network = Network::<Flex>::new(&plan, &FlexDevice);
    let place = format!("a new {}", plan.size);
    let origin = Origin { plan, tokenizer: "00".repeat(32), step: 0 };
    let metadata = serde_json::to_string(&origin).unwrap_or_default();
    let file = TensorFile { metadata, tensors: tensors_of(&network), ..Default::default() };
    let bytes = file
        .to_bytes(tensor_file::StoredPrecision::Half)
        .map_err(|source| WeightsError::Format { place: place.clone(), source })?;
    SavedWeights::from_bytes(bytes, &place)
}

/// Tokens drawn at random, as many as some steps take.
struct RandomTokens {
    count: usize,
    vocabulary: u64,
}

impl Tokens for RandomTokens {
    fn count(&self) -> usize {
        self.count
    }

    fn raw_bytes(&self) -> u64 {
        self.count as u64
    }

    fn raw_bytes_of(&self, _start: usize, count: usize) -> u64 {
        count as u64
    }

    fn read(&self, start: usize, tokens: &mut [i32]) {
        for (index, token) in tokens.iter_mut().enumerate() {
            let drawn = SplitMix64::new((start + index) as u64).below(self.vocabulary);
            *token = i32::try_from(drawn).unwrap_or(0);
        }
    }
}

/// The shortest of some trials, in seconds; one before them is not counted.
fn shortest(mut work: impl FnMut()) -> f64 {
    work();
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..TRIALS).map(time).fold(f64::INFINITY, f64::min)
}

/// On every thread at once, of the fastest trial.
fn multiply_adds_per_s(precision: Precision) -> f64 {
    let factors = match precision {
        Precision::F32 => Factors::Single,
        Precision::Bf16 => Factors::Bfloat,
    };
    let trial = || {
        let each = rayon::broadcast(|_| multiply_adds(factors, MULTIPLY_ADDS));
        each.into_iter().sum::<u64>()
    };
    let mut done = 0;
    let seconds = shortest(|| done = trial());
    done as f64 / seconds
}

fn gemm_flops_per_s<B: Kernels>(
    side: usize,
    precision: Precision,
    device: &B::Device,
    product: impl Fn(Tensor<B, 2>, Tensor<B, 2>) -> Tensor<B, 2>,
) -> f64 {
    let matrix = || {
        let random = Tensor::<B, 2>::random([side, side], Distribution::Default, device);
        random.cast(number_type(precision))
    };
    let (a, b) = (matrix(), matrix());
    let seconds = shortest(|| {
        let _product = product(a.clone(), b.clone());
        let _ = B::sync(device);
    });
    2.0 * (side as f64).powi(3) / seconds
}

fn copy_bytes_per_s() -> f64 {
    let from = vec![1_u8; COPIED];
    let mut to = vec![0_u8; COPIED];
    let part = COPIED.div_ceil(rayon::current_num_threads());
    let seconds = shortest(|| {
        to.par_chunks_mut(part).zip(from.par_chunks(part)).for_each(|(to, from)| {
            to.copy_from_slice(from);
        });
    });
    COPIED as f64 / seconds
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn element_bytes_per_s<B: Kernels>(device: &B::Device) -> f64 {
    let from = Tensor::<B, 1>::ones([COPIED], device);
    let seconds = shortest(|| {
        let _to = from.clone().mul_scalar(2.0);
        let _ = B::sync(device);
    });
    4.0 * COPIED as f64 / seconds
}
