//! An absolute value does nothing to what is not negative, and undoes a negation.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_abs_of_nonnegative",
    "abs of what is never negative is dropped",
)
.matching(&["abs(%y=relu|exp|sigmoid|sqrt|softplus(?x))"])
.sharing()
.to("%y");
