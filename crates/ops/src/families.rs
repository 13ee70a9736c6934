//! The list of families. A new family is one line here.

use std::sync::OnceLock;

use alula_ir::{OpDef, Registry};

use crate::{
    attention, contraction, control, elementwise, host_ops, indexing, normalization, pooling,
    quantization, recurrent, reduce, shape,
};

/// The rows of every family.
const FAMILIES: &[&[&OpDef]] = &[
    attention::ROWS,
    contraction::ROWS,
    control::ROWS,
    normalization::ROWS,
    pooling::ROWS,
    quantization::ROWS,
    elementwise::arithmetic::ROWS,
    elementwise::activation::ROWS,
    elementwise::bits::ROWS,
    elementwise::choice::ROWS,
    host_ops::ROWS,
    indexing::ROWS,
    crate::random::ROWS,
    recurrent::ROWS,
    crate::resampling::ROWS,
    reduce::ROWS,
    shape::ROWS,
];

/// All operators, by name.
pub fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry::new(FAMILIES.iter().flat_map(|rows| rows.iter().copied())))
}
