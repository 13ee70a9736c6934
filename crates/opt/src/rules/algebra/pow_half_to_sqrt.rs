//! The power 0.5 is a square root. They differ at minus infinity, which has a power but no root.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("pow_half_to_sqrt", "x ^ 0.5 becomes sqrt(x)")
    .matching(&["pow(?x:float, 0.5)"])
    .to("sqrt(?x)");
