//! What stands around a matrix product, folded into it.

mod drop_reshapes_around_matmul;
mod fold_mul_before_matmul;
mod fold_mul_into_matmul;
mod fold_transpose_into_matmul;

use crate::rule::Rule;

/// The set, in order of application.
pub(super) const RULES: &[Rule] = &[
    fold_transpose_into_matmul::RULE,
    fold_mul_into_matmul::RULE,
    fold_mul_before_matmul::RULE,
    drop_reshapes_around_matmul::RULE,
];
