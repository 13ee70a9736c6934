//! A choice by a negated condition is the choice the other way round.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "exchange_negated_select",
    "select(not c, a, b) becomes select(c, b, a)",
)
.matching(&["select(not(?c), ?a, ?b)"])
.sharing()
.to("select(?c, ?b, ?a)");
