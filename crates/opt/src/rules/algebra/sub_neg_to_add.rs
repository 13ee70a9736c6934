//! Subtracting a negated value is adding it.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("sub_neg_to_add", "a - (-b) becomes a + b")
    .matching(&["sub(?a, neg(?b))"])
    .to("add(?a, ?b)");
