//! Compiled kernels as data: what `emit` makes, an artifact holds and `device` loads.

use alula_tensor::Dim;
use serde::{Deserialize, Serialize};

/// The version of how kernels are described and called. It is raised whenever a description that
/// was stored before would be read or called as something else.
pub const CODE_VERSION: u32 = 1;

/// What programs and devices of this target agree in, for `Program::abi`.
pub fn abi() -> String {
    format!("wgpu code {CODE_VERSION}")
}

/// The most storage buffers that every adapter binds to one shader. Kernels with more ask for them
/// by a feature of the program, `buffersN`.
pub const PARAMS_PORTABLE: usize = 8;

/// The most storage buffers that any kernel may ask for.
pub const PARAMS_MAX: usize = 30;

/// Greatest number of workgroups along one axis; more go to the next row.
pub(crate) const ROW_GROUPS: u32 = 65_535;

/// Threads of a workgroup for kernels that are not scheduled in workgroups.
#[cfg(feature = "emit")]
pub(crate) const POINTS_PER_GROUP: u32 = 64;

/// What a launch needs besides the entry in the program: kept in `KernelEntry::code`.
///
/// Binding `i` is parameter `i`; the binding after the last one is a uniform array of `i32` with
/// [`WgpuKernel::sizes`] elements: a zero, the number of grid points, the first element of each
/// parameter within its binding, then the dims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WgpuKernel {
    /// Where the shader begins in the program's code, in bytes.
    pub offset: u64,
    /// Length of the shader, in bytes.
    pub len: u64,
    /// The entry point.
    pub entry: String,
    /// Grid points that one workgroup computes: 1 if its lanes share a point.
    pub points_per_group: u32,
    /// Number of grid points.
    pub points: Dim,
    /// Bytes of an element, for each parameter.
    pub element_bytes: Vec<u32>,
    /// Dims that the shader uses.
    pub dims: Vec<Dim>,
    /// Whether the shader computes with 64-bit integers.
    pub needs_int64: bool,
}

impl WgpuKernel {
    /// Elements of the uniform array, a multiple of 4.
    pub fn sizes(&self) -> usize {
        (2 + self.element_bytes.len() + self.dims.len()).next_multiple_of(4)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use alula_tensor::{Atom, Dim};
    use alula_testkit::schema::{self, Form};

    use super::{CODE_VERSION, WgpuKernel};

    #[test]
    fn kernels_keep_their_form_or_raise_their_version() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/code.txt");
        let form = Form::default()
            .with::<Dim>("Repr")
            .with::<Atom>("Atom")
            .with::<WgpuKernel>("");
        schema::hold(&file, CODE_VERSION, &form.text());
    }
}
