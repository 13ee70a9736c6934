//! A cast to the dtype that the operand has.

use alula_ir::Graph;

use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn is_same(graph: &Graph, found: &Match<'_>) -> Result<(), Miss> {
    fits(graph.ty(found.value("x")) == graph.ty(found.result))
}

/// The rule.
pub(crate) const RULE: Rule =
    Rule::exact("drop_cast_to_same", "a cast to the same dtype is dropped")
        .matching(&["cast(?x){..}"])
        .when(is_same)
        .to("?x");
