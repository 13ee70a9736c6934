//! The CPU back end: loops through a code generator, contractions through micro-kernels.
//!
//! - `emit` (a feature) turns kernels into machine code: [`emit_kernel`], then [`link`].
//! - `device` (a feature) loads and runs it: [`CpuModule`], [`Launch`]. It needs no compiler.
//! - [`CpuCode`] is what lies between the two, plain data that can be stored.
//!
//! Pages are never writable and executable at once, and nothing is executed before its features
//! were checked against this machine.

mod code;
#[cfg(feature = "device")]
mod device;
#[cfg(feature = "emit")]
mod emit;
mod features;

pub use code::{CpuCode, CpuKernel};
#[cfg(feature = "device")]
pub use device::{Buffer, CpuModule, Launch, LaunchError, LoadError};
#[cfg(feature = "emit")]
pub use emit::{CpuTarget, Dump, EmitError, Emitted, emit_kernel, is_native, is_native_cast, link};
pub use features::CpuFeatures;
