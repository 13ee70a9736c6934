//! Why code could not be loaded or launched.

use alula_microkernel::{ISA_VARIABLE, IsaError};
use alula_tensor::DimError;
use thiserror::Error;

/// The errors of loading code.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The code needs something that this machine lacks.
    #[error("the code needs {missing}, which this cpu lacks")]
    Features {
        /// The first missing thing.
        missing: String,
    },
    /// The code needs something that the family which the user forces goes without.
    #[error("the code needs {missing}, which {ISA_VARIABLE} leaves out")]
    LeftOut {
        /// The first missing thing.
        missing: String,
    },
    /// The variable that forces a family names none of this machine.
    #[error(transparent)]
    Variable(#[from] IsaError),
    /// A kernel lies outside of the code.
    #[error("kernel {kernel} lies outside of the code section")]
    Bounds {
        /// The kernel.
        kernel: String,
    },
    /// The operating system gave no executable memory.
    #[error("no memory for {bytes} bytes of code: {source}")]
    Memory {
        /// How many bytes.
        bytes: usize,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The errors of a launch. Nothing has been written when one is returned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LaunchError {
    /// There is no such kernel in the module.
    #[error("kernel {index} does not exist: the module has {count}")]
    NoKernel {
        /// Position asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// Another number of buffers or symbols than the kernel takes.
    #[error("kernel {kernel} takes {wanted} {what}, {given} were given")]
    Count {
        /// The kernel.
        kernel: String,
        /// `buffers` or `symbols`.
        what: &'static str,
        /// How many it takes.
        wanted: usize,
        /// How many were given.
        given: usize,
    },
    /// A buffer is shorter than the kernel reaches.
    #[error("kernel {kernel}: buffer {param} has {given} bytes, but {wanted} are needed")]
    Short {
        /// The kernel.
        kernel: String,
        /// The parameter.
        param: String,
        /// Bytes needed.
        wanted: u64,
        /// Bytes given.
        given: usize,
    },
    /// A buffer that is written was given for reading only.
    #[error("kernel {kernel} writes buffer {param}, which was given for reading")]
    ReadOnly {
        /// The kernel.
        kernel: String,
        /// The parameter.
        param: String,
    },
    /// A size has no value, or is beyond what memory can address.
    #[error("kernel {kernel}: {detail}")]
    Size {
        /// The kernel.
        kernel: String,
        /// What is wrong.
        detail: String,
    },
    /// Running it failed.
    #[error("kernel {kernel}: {detail}")]
    Failed {
        /// The kernel.
        kernel: String,
        /// What happened.
        detail: String,
    },
}

impl LaunchError {
    pub(super) fn dim(kernel: &str, error: &DimError) -> LaunchError {
        LaunchError::Size {
            kernel: kernel.to_owned(),
            detail: error.to_string(),
        }
    }
}
