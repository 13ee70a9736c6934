//! The logarithm of a softmax, which loses small shares if they are computed first.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "recognise_log_softmax",
    "log(softmax(x)) becomes log_softmax(x)",
)
.matching(&["log(softmax(?x){axis = ?a})"])
.to("log_softmax(?x){axis = ?a}");
