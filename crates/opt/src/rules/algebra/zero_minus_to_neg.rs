//! `0 - x` is the negation, but for the sign of a zero.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("zero_minus_to_neg", "0 - x and x * -1 become neg(x)")
    .matching(&["sub(0, ?x:float)", "mul(?x:float, -1)"])
    .to("neg(?x)");
