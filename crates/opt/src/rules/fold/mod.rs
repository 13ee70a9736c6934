//! Operators that do nothing, or nothing that a simpler one does not do.

mod absorb_logical;
mod cancel_double_negation;
mod drop_abs_of_nonnegative;
mod drop_add_zero;
mod drop_logical_neutral;
mod drop_mul_one;
mod drop_neg_under_even;
mod drop_pow_one;
mod drop_relu_of_nonnegative;
mod invert_comparison;
mod merge_idempotent;
mod merge_same_operands;

use crate::rule::Rule;

/// The set, in order of application.
pub(super) const RULES: &[Rule] = &[
    drop_add_zero::RULE,
    drop_mul_one::RULE,
    drop_pow_one::RULE,
    cancel_double_negation::RULE,
    merge_idempotent::RULE,
    drop_relu_of_nonnegative::RULE,
    drop_abs_of_nonnegative::RULE,
    drop_neg_under_even::RULE,
    merge_same_operands::RULE,
    drop_logical_neutral::RULE,
    absorb_logical::RULE,
    invert_comparison::RULE,
];
