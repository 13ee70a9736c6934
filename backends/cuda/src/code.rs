//! Compiled kernels as data: what `emit` makes, an artifact holds and `device` loads.

use alula_tensor::Dim;
use serde::{Deserialize, Serialize};

/// The version of how kernels are described and called. It is raised whenever a description that
/// was stored before would be read or called as something else.
pub const CODE_VERSION: u32 = 1;

/// What programs and devices of this target agree in, for `Program::abi`.
pub fn abi() -> String {
    format!("cuda code {CODE_VERSION}")
}

/// Threads of a block for kernels that are not scheduled in blocks.
#[cfg(feature = "emit")]
pub(crate) const POINTS_PER_BLOCK: u32 = 128;

/// What a launch needs besides the entry in the program: kept in `KernelEntry::code`.
///
/// The entry's parameters are all 8 bytes: an address for each parameter of the kernel, the number
/// of grid points, then the dims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CudaKernel {
    /// The entry's name in the program's module.
    pub entry: String,
    /// Threads of a block.
    pub threads: u32,
    /// Grid points that one block computes: 1 if its lanes share a point.
    pub points_per_block: u32,
    /// Number of grid points.
    pub points: Dim,
    /// Dims that the kernel uses.
    pub dims: Vec<Dim>,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use alula_tensor::{Atom, Dim};
    use alula_testkit::schema::{self, Form};

    use super::{CODE_VERSION, CudaKernel};

    #[test]
    fn kernels_keep_their_form_or_raise_their_version() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/code.txt");
        let form = Form::default()
            .with::<Dim>("Repr")
            .with::<Atom>("Atom")
            .with::<CudaKernel>("");
        schema::hold(&file, CODE_VERSION, &form.text());
    }
}
