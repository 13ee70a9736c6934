//! Parts of transformers that exporters spell out, recognised as the operator that they are.

mod fold_scale_into_attention;
mod fold_transpose_into_attention;
mod recognise_attention;
mod recognise_rotary;

use crate::rule::Rule;

/// The set, in order of application.
pub(super) const RULES: &[Rule] = &[
    recognise_rotary::RULE,
    recognise_attention::RULE,
    fold_transpose_into_attention::RULE,
    fold_scale_into_attention::RULE,
];
