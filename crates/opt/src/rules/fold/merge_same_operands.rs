//! The greater and the lesser of a value and itself are the value, and so are its conjunction and
//! disjunction with itself.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "merge_same_operands",
    "min, max, and, or of x and x become x",
)
.matching(&["min|max|and|or(?x, ?x)"])
.to("?x");
