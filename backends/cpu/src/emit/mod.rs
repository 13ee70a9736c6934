//! Kernels to machine code.
//!
//! A kernel that comes here is legalized for [`is_native`] and scheduled; printing takes no
//! decisions. Vectors are 128 bits wide: lanes in groups of four, see `repr`.

mod assemble;
mod body;
mod caps;
mod cast;
mod dim;
mod division;
mod error;
mod function;
mod half;
mod kinds;
mod lanes;
mod looks;
mod loops;
mod memory;
mod ops;
mod partials;
mod printer;
mod repr;
mod target;
mod wide;

pub use assemble::{Assembled, Unit, assemble};
pub use caps::{is_native, is_native_cast, is_native_storage};
pub use error::EmitError;
pub use function::{Dump, emit_kernel};
pub use target::CpuTarget;

use crate::{CpuCode, CpuKernel};

/// One kernel's code, not yet placed among others.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// Its description; the offset is 0.
    pub kernel: CpuKernel,
    /// Machine code that refers to nothing outside of itself.
    pub code: Vec<u8>,
    /// Whether the processor rounds to bf16, as those of [`Isa::Amx`](crate::Isa::Amx) do.
    pub rounds_bf16: bool,
    /// The code generator's input, if asked for.
    pub clif: Option<String>,
    /// The machine code as text, if asked for.
    pub asm: Option<String>,
}

/// Functions begin at multiples of this many bytes.
const FUNCTION_ALIGN: usize = 64;

/// Places kernels one after another in one code section, in the order given.
pub fn link(target: &CpuTarget, emitted: impl IntoIterator<Item = Emitted>) -> CpuCode {
    let mut code = CpuCode {
        features: target.features().clone(),
        bytes: Vec::new(),
        kernels: Vec::new(),
    };
    for Emitted {
        mut kernel,
        code: bytes,
        ..
    } in emitted
    {
        let offset = code.bytes.len().next_multiple_of(FUNCTION_ALIGN);
        code.bytes.resize(offset, 0);
        code.bytes.extend_from_slice(&bytes);
        kernel.offset = offset as u64;
        code.kernels.push(kernel);
    }
    code
}
