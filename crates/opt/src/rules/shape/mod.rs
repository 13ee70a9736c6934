//! Operators that only move or rename elements: merged, made cheaper, dropped.

mod cancel_split_concat;
mod drop_expand_before_arithmetic;
mod drop_reshapes_around_binary;
mod gather_to_slice;
mod hoist_reshape_past_transpose;
mod merge_concats;
mod merge_expands;
mod merge_reshapes;
mod merge_slices;
mod merge_transposes;
mod slice_of_concat;
mod transpose_to_reshape;

use crate::rule::Rule;

/// The set, in order of application.
pub(super) const RULES: &[Rule] = &[
    merge_reshapes::RULE,
    merge_expands::RULE,
    merge_transposes::RULE,
    transpose_to_reshape::RULE,
    gather_to_slice::RULE,
    merge_slices::RULE,
    merge_concats::RULE,
    cancel_split_concat::RULE,
    drop_expand_before_arithmetic::RULE,
    slice_of_concat::RULE,
    drop_reshapes_around_binary::RULE,
    hoist_reshape_past_transpose::RULE,
];
