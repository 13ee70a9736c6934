//! Operators that change nothing the second time: rectifiers, absolute values, signs, and rounding of
//! what is whole already.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "merge_idempotent",
    "f(f(x)) becomes f(x) where the second changes nothing",
)
.matching(&[
    "relu(%y=relu(?x))",
    "abs(%y=abs(?x))",
    "sign(%y=sign(?x))",
    "floor|ceil|round|trunc(%y=floor|ceil|round|trunc(?x))",
])
.sharing()
.to("%y");
