//! A transposition that moves no axis.

use alula_ir::Graph;

use crate::axes::permutation;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn moves_nothing(graph: &Graph, found: &Match<'_>) -> Result<(), Miss> {
    let order = permutation(graph, found.root);
    fits(order.iter().enumerate().all(|(to, from)| to == *from))
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_identity_transpose",
    "a transpose that moves no axis is dropped",
)
.matching(&["transpose(?x){..}"])
.when(moves_nothing)
.to("?x");
