//! The greater of a value and 0 is a rectifier.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("max_zero_to_relu", "max(x, 0) becomes relu(x)")
    .matching(&["max(?x, 0)"])
    .to("relu(?x)");
