//! Why a kernel could not be printed as PTX.

use thiserror::Error;

/// The errors of `emit`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EmitError {
    /// The kernel holds something that this back end does not print; legalizing or scheduling
    /// for its capabilities removes it.
    #[error("kernel {kernel}: ptx does not print {what}")]
    Unsupported {
        /// The kernel.
        kernel: String,
        /// Operator, dtype or form.
        what: String,
    },
}
