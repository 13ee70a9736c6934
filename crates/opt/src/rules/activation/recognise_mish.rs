//! `x * tanh(softplus(x))`.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule =
    Rule::rounding("recognise_mish", "x * tanh(softplus(x)) becomes mish(x)")
        .matching(&["mul(?x:float, tanh(softplus(?x)))"])
        .to("mish(?x)");
