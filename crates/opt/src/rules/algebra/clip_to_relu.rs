//! A clip with a lower bound of 0 only is a rectifier.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("clip_to_relu", "clip(x, 0) becomes relu(x)")
    .matching(&["clip(?x, 0, _)"])
    .to("relu(?x)");
