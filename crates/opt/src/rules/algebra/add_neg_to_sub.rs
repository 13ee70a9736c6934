//! Adding a negated value is subtracting it, and the other way round.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("add_neg_to_sub", "a + (-b) becomes a - b")
    .matching(&["add(?a, neg(?b))"])
    .to("sub(?a, ?b)");
