//! An interpreter for PTX, NVIDIA's virtual instruction set, after the PTX ISA manual.
//!
//! It runs kernels on machines with no GPU, and is stricter than one: warps run in lock step and
//! take turns in a seeded random order, allocations are bounds-checked and poisoned, shared memory
//! has a race detector, barriers must be convergent, and anything in the text that is not known is
//! an error, never skipped. It counts instructions, bytes and bank conflicts.
//!
//! Contract: a kernel that runs here without a fault, under several seeds and both `cp.async`
//! modes, is free of the faults that [`Fault`] lists on the paths it took. Results equal a
//! device's except where PTX leaves freedom: `.approx` functions and matrix sums are evaluated in
//! double precision and rounded once. Blocks run one after another, so a kernel in which blocks
//! wait for each other meets the instruction limit. Cache hints and memory-order modifiers have
//! no effect. Races between lanes of one warp, and in device memory, are not looked for. Warps
//! that meet a block barrier without a thread count must meet at the same instruction.
//!
//! The interpreter knows nothing of the compiler that emits the kernels.
//!
//! ```
//! use alula_ptx_interpreter::{Device, LaunchOptions, Module, ParamValue};
//!
//! let module = Module::parse(
//!     ".version 7.0
//!      .target sm_75
//!      .address_size 64
//!      .visible .entry double(.param .u64 data) {
//!        .reg .b32 %r<4>;
//!        .reg .b64 %rd<3>;
//!        ld.param.u64 %rd0, [data];
//!        mov.u32 %r0, %tid.x;
//!        mul.wide.u32 %rd1, %r0, 4;
//!        add.s64 %rd2, %rd0, %rd1;
//!        ld.global.u32 %r1, [%rd2];
//!        add.u32 %r2, %r1, %r1;
//!        st.global.u32 [%rd2], %r2;
//!        ret;
//!      }",
//! )?;
//! let mut device = Device::new();
//! let data = device.alloc_with(&7u32.to_le_bytes().repeat(32));
//! let options = LaunchOptions::default();
//! device.launch(&module, "double", [1; 3], [32, 1, 1], 0, &[ParamValue::U64(data)], &options)?;
//! let mut out = [0; 4];
//! device.read(data, &mut out)?;
//! assert_eq!(u32::from_le_bytes(out), 14);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod bytes;
mod decode;
mod device;
mod error;
mod float;
mod flow;
mod integer;
mod lex;
mod link;
mod modifiers;
mod module;
mod operand;
mod parse;
mod program;
mod run;
mod shared;
mod stats;
mod types;

pub use device::Device;
pub use error::{Error, Fault, ParseError, Trap};
pub use module::{Kernel, Module, Param};
pub use run::{LaunchOptions, ParamValue};
pub use stats::{Class, Stats};
pub use types::Space;
