//! Transpositions moved towards each other until they cancel.

mod sink_transpose_past_binary;
mod sink_transpose_past_concat;
mod sink_transpose_past_constant;
mod sink_transpose_past_reduce;
mod sink_transpose_past_slice;
mod sink_transpose_past_softmax;
mod sink_transpose_past_unary;

use crate::rule::Rule;

/// The set, in order of application.
pub(super) const RULES: &[Rule] = &[
    sink_transpose_past_unary::RULE,
    sink_transpose_past_constant::RULE,
    sink_transpose_past_binary::RULE,
    sink_transpose_past_softmax::RULE,
    sink_transpose_past_reduce::RULE,
    sink_transpose_past_concat::RULE,
    sink_transpose_past_slice::RULE,
];
