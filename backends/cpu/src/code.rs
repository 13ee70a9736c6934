//! Compiled kernels as data: what `emit` makes, an artifact holds and `device` loads.

use alula_kernel::Param;
use alula_tensor::{Dim, Symbol};
use serde::{Deserialize, Serialize};

use crate::CpuFeatures;

/// The version of how kernels are described and called. It is raised whenever a description that
/// was stored before would be read or called as something else.
pub const CODE_VERSION: u32 = 5;

/// What programs and devices of the processor agree in, for `Program::abi`.
pub fn abi() -> String {
    let panels = alula_microkernel::PACK_VERSION;
    format!("cpu code {CODE_VERSION}, panels {panels}")
}

/// Machine code of several kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuCode {
    /// What the code relies on.
    pub features: CpuFeatures,
    /// Position-independent code without relocations.
    pub bytes: Vec<u8>,
    /// Each kernel, in the order of emission.
    pub kernels: Vec<CpuKernel>,
}

/// One kernel within a [`CpuCode`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuKernel {
    /// The name in profiles.
    pub name: String,
    /// Where its function begins, in bytes.
    pub offset: u64,
    /// Length of the function, in bytes.
    pub len: u64,
    /// Symbols whose values a launch passes, in order.
    pub symbols: Vec<Symbol>,
    /// Buffers that a launch passes, in order: dtype, number of elements, access.
    pub params: Vec<Param>,
    /// Extents of the grid, outermost first.
    pub grid: Vec<Dim>,
}

impl CpuKernel {
    /// Number of grid points.
    pub fn num_points(&self) -> Dim {
        self.grid.iter().cloned().product()
    }
}
