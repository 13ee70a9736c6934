//! Kernels as WGSL, one shader each.

use alula_kernel::Kernel;
use alula_lower::build::Policy;
use alula_lower::legalize::Caps;
use alula_lower::plan::Lowered;
use alula_program::Program;
use alula_wgpu::{EmitError, Emitted};

use super::launches::{Code, NoCode, Words, each, merge, nameless, program as put_together, works};
use super::{CompileError, CompileOptions};
use crate::{Precision, Target};

/// Threads of a workgroup.
const LANES: u32 = 64;

const CAPS: Caps = Caps {
    op: alula_wgpu::is_native,
    cast: alula_wgpu::is_native_cast,
    storage: alula_wgpu::is_stored,
    lanes: false,
    unrolled: false,
};

pub(super) fn words(options: &CompileOptions) -> Words {
    Words::new(Policy::Gpu { lanes: LANES }, CAPS, options)
}

/// Prints every launch and puts the program together.
pub(super) fn program(lowered: Lowered, options: &CompileOptions) -> Result<Program, CompileError> {
    let words = words(options);
    let emitted = each(&lowered, Target::Wgpu, |_, launch| {
        let kernel = words.kernel(launch)?;
        Ok((nameless(&kernel), emit(&kernel)?))
    })?;
    let (unique, position_of) = merge(emitted.iter().map(|(kernel, _)| kernel));
    let linked = alula_wgpu::link(unique.iter().map(|&k| emitted[k].1.clone()));
    let code = Code {
        kernels: linked.kernels,
        code: linked.code,
        features: linked.features,
        abi: alula_wgpu::abi(),
        works: works(&lowered),
        precision: Precision::Highest,
    };
    Ok(put_together(Target::Wgpu, lowered, &position_of, code))
}

pub(super) fn emit(kernel: &Kernel) -> Result<Emitted, NoCode> {
    let emitted = alula_wgpu::emit_kernel(kernel).map_err(|error| match error {
        EmitError::Invalid { .. } => NoCode::failed(error),
        EmitError::Unsupported { .. } | EmitError::Params { .. } | EmitError::TooLarge { .. } => {
            NoCode::refused(error)
        }
    })?;
    tracing::debug!(
        kernel = kernel.name,
        bytes = emitted.text.len(),
        "kernel emitted"
    );
    Ok(emitted)
}
