//! `true` is neutral in a conjunction, `false` in a disjunction and an exclusive one.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_logical_neutral",
    "x and true, x or false, x xor false become x",
)
.matching(&["and(?x:bool, 1)", "or(?x:bool, 0)", "xor(?x:bool, 0)"])
.to("?x");
