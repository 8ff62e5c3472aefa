//! GPUs of any vendor by wgpu (Vulkan, Metal, DirectX): all operations are burn's, in f32.

use std::sync::OnceLock;

use burn_wgpu::graphics::AutoGraphicsApi;
use burn_wgpu::{RuntimeOptions, WgpuDevice, init_setup};

use crate::guard::quietly;
use crate::ops::Kernels;

/// burn's backend on wgpu.
pub(crate) type Wgpu = burn_wgpu::Wgpu<f32, i32>;

impl Kernels for Wgpu {}

/// A GPU that is there.
#[derive(Clone, Debug)]
pub(crate) struct AnyGpu {
    name: String,
    /// Whether a program on the processor stands in for it, such as Mesa's llvmpipe.
    pub(crate) is_software: bool,
}

impl std::fmt::Display for AnyGpu {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(&self.name)
    }
}

/// The GPU that the system prefers.
///
/// # Errors
/// Why there is none that can be used.
pub(crate) fn gpu() -> Result<&'static AnyGpu, String> {
    static GPU: OnceLock<Result<AnyGpu, String>> = OnceLock::new();
    GPU.get_or_init(find).as_ref().map_err(Clone::clone)
}

/// burn's handle of it. Whatever is computed there comes after [`gpu`], which sets the device up.
pub(crate) fn device() -> WgpuDevice {
    let _ = gpu();
    WgpuDevice::default()
}

fn find() -> Result<AnyGpu, String> {
    // It panics where there is none.
    let options = RuntimeOptions::default();
    let setup = quietly(|| init_setup::<AutoGraphicsApi>(&WgpuDevice::default(), options));
    let setup = setup.map_err(|_| {
        "no GPU is found by Vulkan, Metal or DirectX; on Linux its Vulkan driver may be missing (Debian's package \
         `mesa-vulkan-drivers` has those of AMD and Intel)"
            .to_owned()
    })?;
    let info = setup.adapter.get_info();
    // By its name: wgpu's own types are not among burn's.
    let is_software = format!("{:?}", info.device_type) == "Cpu";
    Ok(AnyGpu { name: format!("{}, {:?}", info.name, info.backend), is_software })
}
