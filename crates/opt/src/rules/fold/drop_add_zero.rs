//! `x + 0` and `x - 0` are `x`, but for the sign of a zero.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("drop_add_zero", "x + 0 and x - 0 become x")
    .matching(&["add(?x, 0)", "sub(?x, 0)"])
    .to("?x");
