//! The greater of `x` and `a x` is a leaky rectifier for slopes from 0 to 1.

use alula_ir::Graph;

use crate::pattern::{Match, splat_of};
use crate::rule::{Miss, Rule, require};

fn slope_is_less_than_one(graph: &Graph, found: &Match<'_>) -> Result<(), Miss> {
    let slope = splat_of(graph, found.value("a")).map_or(f64::NAN, |slope| slope.to_f64());
    require((0.0..1.0).contains(&slope), "the slope is not from 0 to 1")
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "recognise_leaky_relu",
    "max(x, a * x) becomes leaky_relu(x) {alpha = a}",
)
.matching(&["max(?x:float, mul(?x, ?a:splat))"])
.when(slope_is_less_than_one)
.to("leaky_relu(?x){alpha = ?a}");
