//! A choice by a constant, or between a value and itself, is no choice.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("drop_constant_select", "select(true, a, b) becomes a")
    .matching(&[
        "select(1, ?x, ?b)",
        "select(0, ?b, ?x)",
        "select(?c, ?x, ?x)",
    ])
    .to("?x");
