//! The sigmoid linear unit with a slope inside: `x * sigmoid(1.702 x)` approximates GELU.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "recognise_quick_gelu",
    "x * sigmoid(a * x) becomes silu(x) {alpha = a}",
)
.matching(&["mul(?x:float, sigmoid(mul(?x, ?a:splat)))"])
.to("silu(?x){alpha = ?a}");
