//! The power -0.5 is the reciprocal of a root.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule =
    Rule::rounding("pow_minus_half_to_div", "x ^ -0.5 becomes 1 / sqrt(x)")
        .matching(&["pow(?x:float, -0.5)"])
        .to("div(1, sqrt(?x))");
