//! A reshape, an expansion or a repetition to the extents that the operand has.

use alula_ir::Graph;

use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn is_same(graph: &Graph, found: &Match<'_>) -> Result<(), Miss> {
    fits(graph.ty(found.value("x")) == graph.ty(found.result))
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_reshape_to_same",
    "a reshape or expansion to the same extents is dropped",
)
.matching(&["reshape|expand(?x){..}"])
.when(is_same)
.to("?x");
