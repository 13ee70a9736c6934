//! A negated difference is the difference the other way round, but for the sign of a zero.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("neg_sub_to_sub", "neg(a - b) becomes b - a")
    .matching(&["neg(sub(?a:float, ?b))"])
    .to("sub(?b, ?a)");
