//! `x * 1` and `x / 1` are `x`.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("drop_mul_one", "x * 1 and x / 1 become x")
    .matching(&["mul(?x, 1)", "div(?x, 1)"])
    .to("?x");
