//! The sigmoid linear unit, with or without a slope inside (`x * sigmoid(1.702 x)` approximates GELU).

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("recognise_silu", "x * sigmoid(x) becomes silu(x)")
    .matching(&[
        "mul(?x:float, sigmoid(?x))",
        "div(?x:float, add(exp(neg(?x)), 1))",
    ])
    .to("silu(?x)");
