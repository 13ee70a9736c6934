//! The logistic function from its definition.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule =
    Rule::rounding("recognise_sigmoid", "1 / (1 + exp(-x)) becomes sigmoid(x)")
        .matching(&["div(1, add(1, exp(neg(?x:float))))"])
        .to("sigmoid(?x)");
