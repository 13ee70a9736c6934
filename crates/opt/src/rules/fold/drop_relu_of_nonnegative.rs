//! A rectifier does nothing to what is not negative. NaN passes both ways.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_relu_of_nonnegative",
    "relu of what is never negative is dropped",
)
.matching(&["relu(%y=abs|exp|sigmoid|sqrt|softplus(?x:float))"])
.sharing()
.to("%y");
