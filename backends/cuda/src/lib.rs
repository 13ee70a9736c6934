//! The CUDA back end: kernels as PTX text, run through the driver.
//!
//! - `emit` (a feature) prints kernels as PTX: [`emit_kernel`], then [`link`].
//! - `device` (a feature) runs them: [`CudaDevice`] over a [`Driver`], which is the CUDA driver
//!   ([`CudaDriver`]) or whatever else can run PTX. It needs no compiler of ours, and the CUDA
//!   library is looked for only when a device is opened.
//! - `interpreter` (a feature) adds `InterpreterDriver`, which runs PTX without a GPU.
//! - [`CudaKernel`] is what the device must know of a kernel besides its text.

mod code;
#[cfg(feature = "device")]
mod device;
#[cfg(feature = "emit")]
mod emit;

pub use code::{CODE_VERSION, CudaKernel, abi};
#[cfg(feature = "interpreter")]
pub use device::InterpreterDriver;
#[cfg(feature = "device")]
pub use device::{
    CudaArena, CudaDevice, CudaDriver, CudaModule, Driver, DriverError, FunctionId, ModuleId,
};
#[cfg(feature = "emit")]
pub use emit::{
    CudaCode, EmitError, Emitted, emit_kernel, is_native, is_native_cast, is_stored, link,
    module_text,
};
