//! Padding by nothing.

use alula_ir::Graph;

use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn pads_nothing(graph: &Graph, found: &Match<'_>) -> Result<(), Miss> {
    fits(
        graph
            .node(found.root)
            .attrs
            .dims("pads")
            .iter()
            .all(|pad| pad.is(0)),
    )
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("drop_empty_pad", "a pad by nothing is dropped")
    .matching(&["pad(?x, ..){..}"])
    .when(pads_nothing)
    .to("?x");
