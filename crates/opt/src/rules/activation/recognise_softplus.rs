//! `log(1 + e^x)` as one operator, which does not overflow.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule =
    Rule::rounding("recognise_softplus", "log(1 + exp(x)) becomes softplus(x)")
        .matching(&["log(add(exp(?x:float), 1))", "log1p(exp(?x:float))"])
        .to("softplus(?x)");
