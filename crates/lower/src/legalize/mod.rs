//! Kernels in the words that a target has.
//!
//! A target says which operators, conversions and storage formats it prints itself ([`Caps`]).
//! Everything else becomes straight-line code of what it does print, with selects in place of
//! branches, so that lanes stay lanes. What an expansion uses is legalized in turn.
//!
//! - A float format that the target cannot store is carried as the unsigned integer of its width;
//!   conversions work on the bits and round correctly. Arithmetic on narrow floats happens in
//!   `f32`, rounded back.
//! - Loops of lanes become serial where there are no lanes; sums are rounded in another order then.
//! - Short loops inside of loops of lanes are written out, where the target asks for it.
//! - `exp`, `log`, `tanh` and `erf` of `f32` are pure `f32`, within 2 ULP, and `erfc` within 6; the
//!   other `f32` functions are computed in `f64` and rounded. `f64` functions are within 4 ULP
//!   (`erfc` 6, `pow` 8).
//!   `sin`, `cos` and `tan` hold that up to |x| = 1.6e6; beyond, the reduced argument loses one
//!   bit with each doubling.
//! - Signs of zeros are kept by `exp`, `log`, `tanh`, `erf` and the odd functions that work on the
//!   magnitude; `sin` and `tan` may return +0 for -0.

mod angles;
mod arithmetic;
mod code;
mod complement;
mod double;
mod minifloat;
mod power;
mod single;
#[cfg(test)]
mod tests;
mod unroll;

use alula_kernel::Kernel;
use alula_tensor::{DType, ScalarOp};

use code::Code;

/// What a target prints itself, with exactly the meaning of the scalar tables.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Operators by the dtype of their operands (for `select`: of the last two).
    pub op: fn(ScalarOp, DType) -> bool,
    /// Conversions, from and to.
    pub cast: fn(DType, DType) -> bool,
    /// Formats that values, parameters and locals may have.
    pub storage: fn(DType) -> bool,
    /// Loops of lanes. Without, their iterations run one after the other.
    pub lanes: bool,
    /// Whether short loops inside of those are written out.
    pub unrolled: bool,
}

/// What cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LegalizeError {
    /// An operator that the target lacks and that nothing expresses.
    #[error("kernel {kernel}: {op} of {dtype} is not in the target and has no expansion")]
    Operator {
        /// Name of the kernel.
        kernel: String,
        /// The operator.
        op: ScalarOp,
        /// The dtype of its operands.
        dtype: DType,
    },
    /// A conversion that the target lacks and that nothing expresses.
    #[error("kernel {kernel}: cast from {from} to {to} is not in the target and has no expansion")]
    Cast {
        /// Name of the kernel.
        kernel: String,
        /// The dtype converted.
        from: DType,
        /// The dtype wanted.
        to: DType,
    },
}

/// Expands whatever the target lacks. Parameters of formats that it cannot store change their
/// dtype to the unsigned integer of the same width; their bytes stay.
///
/// # Errors
/// An operator or conversion without an expansion in terms of what the target has.
pub fn legalize(kernel: &mut Kernel, caps: &Caps) -> Result<(), LegalizeError> {
    *kernel = Code::rewrite(kernel, caps)?;
    Ok(())
}
