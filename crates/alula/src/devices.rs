//! What this machine can run.

use alula_program::Device;

use crate::{Error, Target};

/// A place where models can run.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// The target whose programs it runs.
    pub target: Target,
    /// Whether this build and this machine have it.
    pub is_available: bool,
    /// A line about it, or why it is not available.
    pub description: String,
}

/// Every target and whether this machine can run it.
pub fn devices() -> Vec<DeviceInfo> {
    let describe = |target| match target {
        Target::Reference => DeviceInfo {
            target,
            is_available: cfg!(feature = "emit"),
            description: "reference evaluation of every operator, slow".to_owned(),
        },
        Target::Cpu | Target::Wgpu | Target::Cuda => match open_device(target, 0) {
            Ok(device) => DeviceInfo {
                target,
                is_available: true,
                description: device.describe(),
            },
            Err(error) => DeviceInfo {
                target,
                is_available: false,
                description: error.to_string(),
            },
        },
    };
    Target::ALL.into_iter().map(describe).collect()
}

/// The device of a target, with at most so many threads (0: one for each core), for models to share
/// by [`Model::session_on`](crate::Model::session_on). The reference has none.
///
/// # Errors
/// [`Error::Missing`], or what the back end says.
pub fn open_device(target: Target, threads: usize) -> Result<Box<dyn Device>, Error> {
    let threads = self::threads(threads);
    match target {
        Target::Cpu => Ok(Box::new(alula_cpu::CpuDevice::new(threads)?)),
        #[cfg(feature = "wgpu")]
        Target::Wgpu => Ok(Box::new(alula_wgpu::WgpuDevice::open(None)?)),
        #[cfg(feature = "cuda")]
        Target::Cuda => Ok(Box::new(alula_cuda::CudaDevice::open(0)?)),
        other => Err(Error::Missing {
            what: "device",
            target: other,
        }),
    }
}

/// A device that interprets the PTX of [`Target::Cuda`]: slow, but it needs no GPU.
#[cfg(feature = "interpreter")]
pub fn ptx_interpreter() -> Box<dyn Device> {
    let driver = alula_cuda::InterpreterDriver::default();
    Box::new(alula_cuda::CudaDevice::with_driver(std::sync::Arc::new(
        driver,
    )))
}

/// So many threads, or one for each core for 0.
pub(crate) fn threads(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        asked => asked,
    }
}
