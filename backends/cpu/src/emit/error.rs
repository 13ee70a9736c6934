//! Why a kernel could not be printed as machine code.

use thiserror::Error;

/// The errors of `emit`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EmitError {
    /// No code can be generated for this machine.
    #[error("no code generation for this cpu: {detail}")]
    Target {
        /// What is missing.
        detail: String,
    },
    /// The kernel holds something that this back end does not print; legalizing or scheduling
    /// for its capabilities removes it.
    #[error("kernel {kernel}: the cpu does not print {what}")]
    Unsupported {
        /// The kernel.
        kernel: String,
        /// Operator, dtype or form.
        what: String,
    },
    /// The kernel breaks its own rules; its verifier says more.
    #[error("kernel {kernel} is malformed: {what}")]
    Malformed {
        /// The kernel.
        kernel: String,
        /// What is wrong.
        what: String,
    },
    /// The code generator refused what was printed: a defect of this back end.
    #[error("kernel {kernel}: code generation failed: {detail}")]
    Codegen {
        /// The kernel.
        kernel: String,
        /// The code generator's words.
        detail: String,
    },
    /// The code refers to something outside of itself and could not be loaded anywhere.
    #[error("kernel {kernel}: {count} relocations in its code")]
    Relocations {
        /// The kernel.
        kernel: String,
        /// How many.
        count: usize,
    },
}
