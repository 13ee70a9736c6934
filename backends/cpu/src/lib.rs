//! The CPU back end: loops through a code generator, contractions through micro-kernels.
//!
//! - `emit` (a feature) turns kernels into machine code: [`emit_kernel`], then [`link`].
//!   [`assemble`] makes entries of a program of them.
//! - `device` (a feature) loads and runs programs: [`CpuDevice`]. It needs no compiler.
//! - [`CpuCode`] is what lies between the two, plain data that can be stored.
//! - [`plan_contract`] resolves contractions to [`CpuContract`]s, [`BoundContract`] runs them.
//!
//! Pages are never writable and executable at once, and nothing is executed before its features
//! were checked against this machine.

mod chain;
mod code;
mod contract;
#[cfg(feature = "device")]
mod device;
#[cfg(feature = "emit")]
mod emit;
mod entry;
mod features;

pub use alula_microkernel::{ISA_VARIABLE, Isa, Products};
pub use chain::{BLOCK_SYMBOLS, ChainArg};
pub use code::{CODE_VERSION, CpuCode, CpuKernel, abi};
pub use contract::{
    AxisMap, BiasAxis, BoundContract, BoundInteger, ContractChoice, ContractError,
    ContractOperands, CpuContract, DepthwiseMap, Epilogue, Form, IntegerOperands, Matrices,
    PackedFor, Packing, Product, TILE_SYMBOLS, WindowMap,
};
#[cfg(feature = "emit")]
pub use contract::{Layout, NotSupported, TileEpilogue, TileParam, Wanted, plan_contract};
#[cfg(feature = "device")]
pub use device::{
    Buffer, CpuDevice, CpuModule, Launch, LaunchError, LoadError, TARGET, TileKernel, TilePlan,
};
#[cfg(feature = "emit")]
pub use emit::{
    Assembled, CpuTarget, Dump, EmitError, Emitted, Unit, assemble, emit_kernel, is_native,
    is_native_cast, is_native_storage, link,
};
pub use entry::contractions;
pub use features::CpuFeatures;
