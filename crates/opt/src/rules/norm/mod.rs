//! Normalizations that exporters spell out, recognised as the operator that they are.

mod fold_bias_into_norm;
mod fold_scale_into_norm;
mod recognise_group_norm;
mod recognise_l2_normalization;
mod recognise_layer_norm;
mod recognise_log_softmax;
mod recognise_log_sum_exp;
mod recognise_reduce_l2;
mod recognise_rms_norm;
mod recognise_softmax;

use crate::rule::Rule;

/// The set, in order of application.
pub(super) const RULES: &[Rule] = &[
    recognise_layer_norm::RULE,
    recognise_rms_norm::RULE,
    fold_scale_into_norm::RULE,
    fold_bias_into_norm::RULE,
    recognise_softmax::RULE,
    recognise_log_softmax::RULE,
    recognise_log_sum_exp::RULE,
    recognise_reduce_l2::RULE,
    recognise_l2_normalization::RULE,
    recognise_group_norm::RULE,
];
