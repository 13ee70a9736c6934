//! Operators that do nothing, or nothing that a simpler one does not do.

mod absorb_logical;
mod cancel_double_negation;
mod drop_abs_of_nonnegative;
mod drop_add_zero;
mod drop_cast_to_same;
mod drop_constant_select;
mod drop_empty_concat_part;
mod drop_empty_pad;
mod drop_full_slice;
mod drop_identity_transpose;
mod drop_logical_neutral;
mod drop_mul_one;
mod drop_neg_under_even;
mod drop_pow_one;
mod drop_relu_of_nonnegative;
mod drop_reshape_to_same;
mod drop_single_concat;
mod drop_unit_reduction;
mod exchange_negated_select;
mod invert_comparison;
mod merge_casts;
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
    drop_cast_to_same::RULE,
    merge_casts::RULE,
    drop_reshape_to_same::RULE,
    drop_identity_transpose::RULE,
    drop_empty_pad::RULE,
    drop_full_slice::RULE,
    drop_single_concat::RULE,
    drop_empty_concat_part::RULE,
    drop_unit_reduction::RULE,
    drop_constant_select::RULE,
    exchange_negated_select::RULE,
];
