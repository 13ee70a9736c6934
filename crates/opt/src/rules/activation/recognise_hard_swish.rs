//! `x * hard_sigmoid(x)`, with the products in any order.

use alula_ir::Graph;

use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn slope_is_a_sixth(graph: &Graph, found: &Match<'_>) -> Result<(), Miss> {
    let Some(gate) = found.optional("s") else {
        return Ok(());
    };
    let Some(node) = graph.producer(gate) else {
        return Ok(());
    };
    let attrs = &graph.node(node).attrs;
    let is_sixth = (attrs.float("alpha") - 1.0 / 6.0).abs() < 1e-6 && attrs.float("beta") == 0.5;
    require(is_sixth, "the hard sigmoid has another slope")
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "recognise_hard_swish",
    "x * hard_sigmoid(x) becomes hard_swish(x)",
)
.matching(&[
    "mul(?x:float, %s=hard_sigmoid(?x){..})",
    "div(mul(?x:float, clip(add(?x, 3), 0, 6)), 6)",
    "mul(mul(?x:float, clip(add(?x, 3), 0, 6)), ~0.16666666666666666)",
])
.when(slope_is_a_sixth)
.to("hard_swish(?x)");
