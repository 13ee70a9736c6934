//! Absolute values do not see a sign, nor do products of two negated factors.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("drop_neg_under_even", "abs(neg(x)) becomes abs(x)")
    .matching(&["abs(neg(?x))"])
    .sharing()
    .to("abs(?x)");
