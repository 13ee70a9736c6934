//! Arithmetic: constants gathered, costly operators replaced by cheap ones.

mod add_neg_to_sub;
mod clip_to_relu;
mod cube_to_mul;
mod div_const_to_mul;
mod max_zero_to_relu;
mod merge_add_const;
mod merge_affine;
mod merge_clips;
mod merge_max_const;
mod merge_mul_const;
mod merge_relu_into_clip;
mod min_max_to_clip;
mod mul_reciprocal_to_div;
mod neg_into_mul_const;
mod neg_sub_to_sub;
mod pow_half_to_sqrt;
mod pow_minus_half_to_div;
mod pow_minus_to_div;
mod pow_to_mul;
mod sub_const_to_add;
mod sub_neg_to_add;
mod zero_minus_to_neg;

use crate::rule::Rule;

/// The set, in order of application.
pub(super) const RULES: &[Rule] = &[
    sub_const_to_add::RULE,
    add_neg_to_sub::RULE,
    sub_neg_to_add::RULE,
    zero_minus_to_neg::RULE,
    neg_sub_to_sub::RULE,
    neg_into_mul_const::RULE,
    div_const_to_mul::RULE,
    merge_add_const::RULE,
    merge_mul_const::RULE,
    merge_affine::RULE,
    merge_max_const::RULE,
    max_zero_to_relu::RULE,
    pow_to_mul::RULE,
    cube_to_mul::RULE,
    pow_half_to_sqrt::RULE,
    pow_minus_to_div::RULE,
    pow_minus_half_to_div::RULE,
    mul_reciprocal_to_div::RULE,
    merge_clips::RULE,
    merge_relu_into_clip::RULE,
    clip_to_relu::RULE,
    min_max_to_clip::RULE,
];
