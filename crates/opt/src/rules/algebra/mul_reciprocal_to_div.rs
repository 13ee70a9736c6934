//! A product with a reciprocal is a quotient: one rounding less.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("mul_reciprocal_to_div", "y * (1 / x) becomes y / x")
    .matching(&["mul(?y:float, div(1, ?x))"])
    .to("div(?y, ?x)");
