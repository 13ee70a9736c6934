//! A cube is a product of three.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("cube_to_mul", "x ^ 3 becomes x * x * x")
    .matching(&["pow(?x:float, 3)"])
    .to("mul(mul(?x, ?x), ?x)");
