//! A slice of everything in order.

use alula_ir::Graph;

use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn takes_all(graph: &Graph, found: &Match<'_>) -> Result<(), Miss> {
    let attrs = &graph.node(found.root).attrs;
    let in_order = !attrs.has("steps") || attrs.ints("steps").iter().all(|step| *step == 1);
    fits(in_order && graph.ty(found.value("x")) == graph.ty(found.result))
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("drop_full_slice", "a slice of everything is dropped")
    .matching(&["slice(?x){..}"])
    .when(takes_all)
    .to("?x");
