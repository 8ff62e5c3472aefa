//! Our own CUDA kernels beside burn's: the text of `kernels/*.cu` with its shapes as macros, compiled by NVRTC at the
//! first launch of each, on the streams and in the memory that CubeCL manages.

use std::fmt::Write;
use std::sync::LazyLock;

use burn::tensor::{DType, Shape, Tensor, TensorPrimitive};
use burn_cubecl::tensor::CubeTensor;
use cubecl::cuda::CudaRuntime;
use cubecl::ir::{AddressType, StorageType};
use cubecl::prelude::{CompiledKernel, KernelBuilder, KernelId, KernelMetadata, KernelSettings};
use cubecl::server::{Handle, KernelArguments, MetadataBindingInfo};
use cubecl::{CompilationError, Compiler, CubeCount, CubeDim, CubeTask, ExecutionMode, Runtime};
use cubecl_cpp::shared::SharedMemory;

use super::Cuda;

/// A tensor on the GPU, as CubeCL holds it.
pub(super) type Held = CubeTensor<CudaRuntime>;

type CudaCompiler = <CudaRuntime as Runtime>::Compiler;

/// Whether each launch is waited for, so that what fails is named: for those who write kernels.
static WAITS: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("LMTRAIN_WAIT_FOR_KERNELS").is_some());

const PRELUDE: &str = include_str!("kernels/prelude.cu");

/// A kernel of one of the sources: its entry point, and the macros that shape it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel<'a> {
    /// The text.
    pub(super) source: &'static str,
    /// The name of the entry point.
    pub(super) entry: &'static str,
    /// Names and values.
    pub(super) macros: &'a [(&'static str, f64)],
    /// Threads of a block.
    pub(super) threads: usize,
    /// Bytes of shared memory that the launch gives it, besides its own.
    pub(super) shared: usize,
}

/// What is compiled once: a kernel with its macros written out.
struct Task {
    source: &'static str,
    entry: &'static str,
    macros: String,
    threads: u32,
    shared: usize,
}

impl KernelMetadata for Task {
    fn name(&self) -> &'static str {
        self.entry
    }

    fn id(&self) -> KernelId {
        let shape = (self.entry, self.macros.clone());
        KernelId::new::<Self>().info(shape).cube_dim(CubeDim::new_1d(self.threads))
    }

    fn address_type(&self) -> StorageType {
        AddressType::U64.unsigned_type()
    }
}

impl CubeTask<CudaCompiler> for Task {
    fn compile(
        &self,
        compiler: &mut CudaCompiler,
        options: &<CudaCompiler as Compiler>::CompilationOptions,
        mode: ExecutionMode,
        address_type: StorageType,
    ) -> Result<CompiledKernel<CudaCompiler>, CompilationError> {
        let cube_dim = CubeDim::new_1d(self.threads);
        let settings = KernelSettings::default().cube_dim(cube_dim).kernel_name(self.entry);
        // A kernel that does nothing: CubeCL reads of it how much shared memory a launch gives.
        let nothing = KernelBuilder::default().build(settings);
        let mut nothing = compiler.compile(nothing, options, mode, address_type)?;
        if self.shared > 0 {
            let item = nothing.body.address_type;
            let length = self.shared.div_ceil(item.size());
            let memory = SharedMemory::Array { index: 0, item, length, align: 16, offset: 0 };
            nothing.body.shared_memories.push(memory);
        }
        Ok(CompiledKernel {
            entrypoint_name: self.entry.to_owned(),
            debug_name: Some(self.entry),
            source: format!("{}{PRELUDE}{}", self.macros, self.source),
            repr: Some(nothing),
            cube_dim,
            debug_info: None,
        })
    }
}

impl Kernel<'_> {
    /// Launches it over a grid of blocks, on buffers in the order of its arguments; `numbers` come by value after them.
    pub(super) fn launch(
        self,
        grid: [usize; 3],
        buffers: &[&Handle],
        numbers: &[f32],
        near: &Held,
    ) {
        let macros = self.macros.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = match value.fract() == 0.0 {
                true => writeln!(text, "#define {name} {value}"),
                false => writeln!(text, "#define {name} {value:?}f"),
            };
            text
        });
        let Self { source, entry, threads, shared, .. } = self;
        let threads = u32::try_from(threads).expect("at most 1024 threads");
        let task = Box::new(Task { source, entry, macros, threads, shared });
        let [x, y, z] = grid.map(|blocks| u32::try_from(blocks).expect("fewer than 2^32 blocks"));
        let bits = |pair: &[f32]| {
            let high = pair.get(1).map_or(0, |number| u64::from(number.to_bits()));
            high << 32 | u64::from(pair[0].to_bits())
        };
        let numbers: Vec<u64> = numbers.chunks(2).map(bits).collect();
        let arguments = KernelArguments::new()
            .with_buffers(buffers.iter().map(|buffer| (*buffer).clone().binding()).collect())
            .with_info(MetadataBindingInfo {
                dynamic_metadata_offset: numbers.len(),
                data: numbers,
            });
        near.client.launch(task, CubeCount::Static(x, y, z), arguments);
        if *WAITS {
            let done = cubecl::future::block_on(near.client.sync());
            done.unwrap_or_else(|error| panic!("kernel {entry}, {:?}: {error:?}", self.macros));
        }
    }
}

/// The tensor as one row of numbers after another, without gaps.
pub(super) fn held<const D: usize>(tensor: Tensor<Cuda, D>) -> Held {
    burn_cubecl::kernel::into_contiguous(tensor.into_primitive().tensor())
}

/// The same of whole numbers.
pub(super) fn held_tokens<const D: usize>(tensor: Tensor<Cuda, D, burn::tensor::Int>) -> Held {
    burn_cubecl::kernel::into_contiguous(tensor.into_primitive())
}

/// burn's handle of it.
pub(super) fn tensor<const D: usize>(held: Held) -> Tensor<Cuda, D> {
    Tensor::from_primitive(TensorPrimitive::Float(held))
}

/// Memory for a tensor of this shape beside another, with nothing in it yet.
pub(super) fn empty(shape: impl Into<Shape>, dtype: DType, near: &Held) -> Held {
    let shape = shape.into();
    let bytes = shape.num_elements() * dtype.size();
    let handle = near.client.empty(bytes);
    CubeTensor::new_contiguous(near.client.clone(), near.device.clone(), shape, handle, dtype)
}

/// The two halves [rows, columns] of a tensor [2 · rows, columns], in the same memory.
pub(super) fn halves(both: &Held) -> [Held; 2] {
    let rows = both.meta.shape()[0] / 2;
    [0, rows].map(|first| row_range(both, first, rows))
}

/// Rows of a tensor from `first` on, in the same memory.
pub(super) fn row_range(x: &Held, first: usize, count: usize) -> Held {
    let mut shape = x.meta.shape().clone();
    let a_row = (shape.num_elements() / shape[0] * x.dtype.size()) as u64;
    let after = shape[0] - first - count;
    shape[0] = count;
    let handle = x.handle.clone();
    let handle = handle.offset_start(first as u64 * a_row).offset_end(after as u64 * a_row);
    CubeTensor::new_contiguous(x.client.clone(), x.device.clone(), shape, handle, x.dtype)
}
