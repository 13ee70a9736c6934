//! Contractions: `matmul` here; convolutions beside it.

mod matmul;

use alula_ir::OpDef;

pub use matmul::MATMUL;

/// The family's rows.
pub const ROWS: &[&OpDef] = &[&MATMUL];
