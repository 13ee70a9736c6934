//! A negation goes into the constant that its result, or its operand, is multiplied by.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "neg_into_mul_const",
    "neg(x) * c and neg(x * c) become x * (-c)",
)
.matching(&[
    "mul(neg(?x:float), ?c:const)",
    "neg(mul(?x:float, ?c:const))",
])
.to("mul(?x, neg(?c))");
