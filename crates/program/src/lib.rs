//! The contract between compiler and machine: what a compiled model is, without how it was made.
//!
//! A [`Program`] is plain data: plans (slots and steps), kernels as opaque code for one target,
//! and constants. The runtime runs plans and hands launches to a [`Module`], which a back end's
//! device makes of the program. It never sees an operator.

mod abi;
mod check;
mod device;
mod host;
mod pack;
mod peak;
mod plan;
mod program;
mod slots;
mod text;

pub use abi::PROGRAM_ABI;
pub use check::{Sizes, check_launch};
pub use device::{Arena, Arg, Device, DeviceError, Launch, Module};
pub use host::{HostFn, LetterCase, PixelFormat};
pub use pack::{Lifetime, pack};
pub use peak::Peak;
pub use plan::{Check, Place, Plan, Port, Slot, SlotId, Step, SymbolDef, SymbolOrigin};
pub use program::{Constant, KernelEntry, KernelParam, ParamAccess, Program, Tuned};
