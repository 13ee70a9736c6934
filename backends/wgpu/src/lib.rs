//! The WGSL back end: kernels as shader text, run through `wgpu`.
//!
//! - `emit` (a feature) prints kernels as WGSL and has each validated: [`emit_kernel`], then
//!   [`link`].
//! - `device` (a feature) runs them on an adapter: [`WgpuDevice`]. It needs no compiler of ours.
//! - [`WgpuKernel`] is what the device must know of a kernel besides its text.
//!
//! Indices are 32 bits wide. Every dim that a kernel uses is evaluated on the host before a
//! launch, and a launch whose dims leave 32 bits is refused.

mod code;
#[cfg(feature = "device")]
mod device;
#[cfg(feature = "emit")]
mod emit;

pub use code::{CODE_VERSION, PARAMS_MAX, PARAMS_PORTABLE, WgpuKernel, abi};
#[cfg(feature = "device")]
pub use device::{WgpuArena, WgpuDevice, WgpuModule};
#[cfg(feature = "emit")]
pub use emit::{
    EmitError, Emitted, WgpuCode, emit_kernel, is_native, is_native_cast, is_stored, link,
};
