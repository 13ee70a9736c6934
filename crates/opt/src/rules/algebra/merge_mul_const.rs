//! Constants of a product are multiplied once.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("merge_mul_const", "(x * c) * d becomes x * (c * d)")
    .matching(&["mul(mul(?x:float, ?c:const), ?d:const)"])
    .to("mul(?x, mul(?c, ?d))");
