//! The root of a sum of squares.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "recognise_reduce_l2",
    "sqrt(sum(x * x)) becomes reduce_l2(x)",
)
.matching(&[
    "sqrt(reduce_sum_square(?x:float){axes = ?a, keepdims = ?k})",
    "sqrt(reduce_sum(mul(?x:float, ?x)){axes = ?a, keepdims = ?k})",
    "sqrt(reduce_sum(pow(?x:float, 2)){axes = ?a, keepdims = ?k})",
])
.to("reduce_l2(?x){axes = ?a, keepdims = ?k}");
