//! Subtracting a constant is adding its negation, so that sums have one form.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("sub_const_to_add", "x - c becomes x + (-c)")
    .matching(&["sub(?x:float, ?c:const)"])
    .to("add(?x, neg(?c))");
