//! The logarithm of a sum of powers as one reduction, which does not overflow.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "recognise_log_sum_exp",
    "log(sum(exp(x))) becomes reduce_log_sum_exp(x)",
)
.matching(&["log(reduce_sum(exp(?x:float)){axes = ?a, keepdims = ?k})"])
.to("reduce_log_sum_exp(?x){axes = ?a, keepdims = ?k}");
