//! Why a kernel could not be printed as a shader.

use thiserror::Error;

/// The errors of `emit`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EmitError {
    /// The kernel holds something that this back end does not print; legalizing or scheduling
    /// for its capabilities removes it.
    #[error("kernel {kernel}: wgsl does not print {what}")]
    Unsupported {
        /// The kernel.
        kernel: String,
        /// Operator, dtype or form.
        what: String,
    },
    /// More buffers than a shader can bind everywhere.
    #[error("kernel {kernel} has {count} parameters, a shader binds {max}")]
    Params {
        /// The kernel.
        kernel: String,
        /// How many it has.
        count: usize,
        /// How many it may have.
        max: usize,
    },
    /// A buffer or a grid that 32-bit indices cannot reach.
    #[error("kernel {kernel}: {what} is {size}, beyond 32-bit indices")]
    TooLarge {
        /// The kernel.
        kernel: String,
        /// A parameter or the grid.
        what: String,
        /// Number of elements or points.
        size: i64,
    },
    /// The validator refused what was printed: a defect of this back end.
    #[error("kernel {kernel}: the shader is not valid: {detail}")]
    Invalid {
        /// The kernel.
        kernel: String,
        /// The validator's words.
        detail: String,
    },
}
