//! Contractions: matrix products and convolutions, of floats and of quantized integers.

mod conv;
mod conv_transpose;
mod matmul;
mod matmul_integer;

use alula_ir::OpDef;

pub use conv::{CONV, CONV_INTEGER};
pub use conv_transpose::CONV_TRANSPOSE;
pub use matmul::MATMUL;
pub use matmul_integer::MATMUL_INTEGER;

/// The family's rows.
pub const ROWS: &[&OpDef] = &[
    &MATMUL,
    &MATMUL_INTEGER,
    &CONV,
    &CONV_INTEGER,
    &CONV_TRANSPOSE,
];
