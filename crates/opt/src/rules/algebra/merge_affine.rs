//! Two affine maps in a row are one.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "merge_affine",
    "(x * a + b) * c becomes x * (a * c) + b * c",
)
.matching(&["mul(add(mul(?x:float, ?a:const), ?b:const), ?c:const)"])
.to("add(mul(?x, mul(?a, ?c)), mul(?b, ?c))");
