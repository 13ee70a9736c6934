//! Constants of a sum are added up once.

use crate::rule::Rule;

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("merge_add_const", "(x + c) + d becomes x + (c + d)")
    .matching(&["add(add(?x:float, ?c:const), ?d:const)"])
    .to("add(?x, add(?c, ?d))");
