//! `x ^ 1` is `x`.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("drop_pow_one", "x to the power 1 becomes x")
    .matching(&["pow(?x, 1)"])
    .to("?x");
