//! `false` decides a conjunction, `true` a disjunction, whatever the other operand is.

use alula_ir::Graph;

use crate::pattern::{Match, splat_of};
use crate::rule::{Miss, Rule, require};

/// Whether the constant decides.
fn decides(graph: &Graph, found: &Match<'_>) -> Result<(), Miss> {
    let is_and = graph.node(found.root).op.name == "and";
    let value = splat_of(graph, found.value("c"));
    require(
        value.is_some_and(|value| value.is_true() != is_and),
        "the constant is neutral",
    )
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "absorb_logical",
    "x and false becomes false, x or true becomes true",
)
.matching(&["and|or(?x:bool, ?c:splat)"])
.when(decides)
.to("?c");
