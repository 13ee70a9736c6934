//! What stands around a convolution, folded into it.

mod batch_norm_to_affine;
mod drop_zero_bias;
mod fold_add_before_conv;
mod fold_add_into_conv;
mod fold_batch_norm_into_conv;
mod fold_batch_norm_into_conv_transpose;
mod fold_mul_before_conv;
mod fold_mul_into_conv;
mod fold_pad_into_conv;

use crate::rule::Rule;

/// The set, in order of application.
pub(super) const RULES: &[Rule] = &[
    fold_batch_norm_into_conv::RULE,
    fold_batch_norm_into_conv_transpose::RULE,
    fold_mul_into_conv::RULE,
    fold_add_into_conv::RULE,
    fold_mul_before_conv::RULE,
    fold_add_before_conv::RULE,
    fold_pad_into_conv::RULE,
    drop_zero_bias::RULE,
    batch_norm_to_affine::RULE,
];
