//! Operators that read or write elements at positions given by integer tensors.
//!
//! Negative positions count from the end. A position outside the extent is an error of the
//! reference; a kernel, which cannot report one, reads the nearest element (gathers) or leaves
//! the update out (scatters), and never touches memory outside its buffers.

mod gather;
mod scatter;

use alula_ir::OpDef;

pub use gather::{GATHER, GATHER_ELEMENTS, GATHER_ND};
pub use scatter::{SCATTER_ELEMENTS, SCATTER_ND};

/// The family's rows.
pub const ROWS: &[&OpDef] = &[
    &GATHER,
    &GATHER_ELEMENTS,
    &GATHER_ND,
    &SCATTER_ELEMENTS,
    &SCATTER_ND,
];
