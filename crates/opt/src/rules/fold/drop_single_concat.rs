//! A concatenation of one operand, and a split into one part.

use alula_ir::Graph;

use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn is_single(graph: &Graph, found: &Match<'_>) -> Result<(), Miss> {
    fits(graph.node(found.root).results.len() == 1)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_single_concat",
    "a concat of one, or a split into one, is dropped",
)
.matching(&["concat(?x){..}", "split(?x){..}"])
.when(is_single)
.to("?x");
