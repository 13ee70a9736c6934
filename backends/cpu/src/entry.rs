//! What `KernelEntry::code` of a CPU program holds.

use serde::{Deserialize, Serialize};

use crate::{CpuContract, CpuKernel};

/// A kernel of a CPU program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum CpuEntry {
    /// Compiled loops.
    Loops(Box<CpuKernel>),
    /// A contraction. Parameters are its operands, then the result.
    Contract {
        /// The plan.
        contract: Box<CpuContract>,
        /// The compiled epilogue, if it is not built in.
        tile: Option<Box<CpuKernel>>,
        /// Whether the right side comes packed.
        is_packed: bool,
    },
}
