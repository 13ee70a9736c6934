//! A parametric rectifier with one constant slope.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "prelu_to_leaky_relu",
    "prelu with one slope becomes leaky_relu",
)
.matching(&["prelu(?x:float, ?a:splat)"])
.to("leaky_relu(?x){alpha = ?a}");
