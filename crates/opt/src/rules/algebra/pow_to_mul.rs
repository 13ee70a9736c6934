//! Squares and cubes are products.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("pow_to_mul", "x ^ 2 becomes x * x")
    .matching(&["pow(?x:float, 2)"])
    .to("mul(?x, ?x)");
