//! NVIDIA GPUs: which there are, asked without a panic where there is no driver; and burn's CUDA backend with kernels of
//! our own (`kernels/*.cu`), for networks in bf16 above all: most operations of those in f32 are burn's. burn loads the
//! driver and NVRTC, CUDA's run-time compiler, when it runs.

mod attention;
mod head;
mod kernels;
mod launch;
mod optimizer;
mod products;
mod rows;

use std::sync::OnceLock;

use burn_cuda::CudaDevice;
use cudarc::driver::sys::CUdevice_attribute;
use cudarc::driver::{CudaContext, DriverError};
use lmtrain_runs::{Bytes, Precision};

use crate::guard::quietly;

/// burn's CUDA backend.
pub(crate) type Cuda = burn_cuda::Cuda<f32, i32>;

const MULTIPROCESSORS: CUdevice_attribute =
    CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
const CLOCK: CUdevice_attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE;
/// Compute capability from which the tensor cores multiply bf16 (Ampere).
const BF16_CAPABILITY: (i32, i32) = (8, 0);

/// A GPU that is there.
#[derive(Clone, Debug)]
pub(crate) struct Gpu {
    name: String,
    memory: Bytes,
    capability: (i32, i32),
    multiprocessors: i32,
    /// In kHz, at most.
    clock: i32,
}

impl Gpu {
    /// Whether its tensor cores know bf16.
    pub(crate) fn knows_bf16(&self) -> bool {
        self.capability >= BF16_CAPABILITY
    }

    /// What its tensor cores are made for, in floating-point operations a second at its highest clock: dense products of
    /// bf16 summed in f32, or of f32 as TF32, which are half as fast. As the vendor's "CUDA C++ Programming Guide" and
    /// white papers of each architecture have them; 0 where it has no such cores.
    pub(crate) fn peak(&self, precision: Precision) -> f64 {
        let a_clock = match self.capability {
            (..8, _) => 0.0,
            (8, 0) => 2048.0,
            (8, _) | (12, _) => 1024.0,
            (9, _) => 4096.0,
            _ => 8192.0,
        };
        let share = if precision == Precision::Bf16 { 1.0 } else { 0.5 };
        share * a_clock * f64::from(self.multiprocessors) * f64::from(self.clock) * 1e3
    }
}

impl std::fmt::Display for Gpu {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor) = self.capability;
        write!(formatter, "{}, {}, compute capability {major}.{minor}", self.name, self.memory)
    }
}

/// The GPUs, at least one.
///
/// # Errors
/// Why there is none that can be used.
pub(crate) fn gpus() -> Result<&'static [Gpu], String> {
    static GPUS: OnceLock<Result<Vec<Gpu>, String>> = OnceLock::new();
    GPUS.get_or_init(find).as_deref().map_err(Clone::clone)
}

fn find() -> Result<Vec<Gpu>, String> {
    let every = || -> Result<Vec<Gpu>, DriverError> {
        (0..CudaContext::device_count()?).map(|index| describe(index as usize)).collect()
    };
    let found = quietly(every).map_err(|_| {
        "no NVIDIA driver is installed here (`libcuda.so.1` cannot be loaded)".to_owned()
    })?;
    let found = found.map_err(|error| format!("the NVIDIA driver reports {error:?}"))?;
    if found.is_empty() {
        return Err("the NVIDIA driver finds no GPU".to_owned());
    }
    // The first call loads the library, which burn would panic without at its first kernel.
    quietly(|| cudarc::nvrtc::result::create_program(c"", None).is_ok()).map_err(|_| {
        "CUDA's run-time compiler is not installed here (`libnvrtc.so` cannot be loaded; it is \
         in the CUDA toolkit, and in the package `nvidia-cuda-nvrtc` for Python, whose folder \
         must then be in LD_LIBRARY_PATH)"
            .to_owned()
    })?;
    Ok(found)
}

fn describe(index: usize) -> Result<Gpu, DriverError> {
    let context = CudaContext::new(index)?;
    Ok(Gpu {
        name: context.name()?,
        memory: Bytes(context.total_mem()? as u64),
        capability: context.compute_capability()?,
        multiprocessors: context.attribute(MULTIPROCESSORS)?,
        clock: context.attribute(CLOCK)?,
    })
}

/// burn's handle of a GPU by its index.
pub(crate) fn device(index: usize) -> CudaDevice {
    CudaDevice::new(index)
}
