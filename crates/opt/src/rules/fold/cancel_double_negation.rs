//! Two negations in a row cancel, arithmetic ones and logical ones. They may have other users: the
//! result needs neither.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "cancel_double_negation",
    "neg(neg(x)) and not(not(x)) become x",
)
.matching(&["neg(neg(?x))", "not(not(?x))"])
.sharing()
.to("?x");
