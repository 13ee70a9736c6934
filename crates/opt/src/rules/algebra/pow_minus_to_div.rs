//! Negative powers of halves and ones are reciprocals.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("pow_minus_to_div", "x ^ -1 becomes 1 / x")
    .matching(&["pow(?x:float, -1)"])
    .to("div(1, ?x)");
