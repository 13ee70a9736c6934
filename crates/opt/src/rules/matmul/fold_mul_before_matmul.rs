//! One constant factor of an operand whose partner is constant goes into the partner.

use alula_ir::Graph;

use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn is_single(graph: &Graph, found: &Match<'_>) -> Result<(), Miss> {
    let ty = graph.ty(found.value("k")).as_tensor();
    let is_single = ty.is_some_and(|ty| ty.rank() <= 1 && ty.num_elements().is(1));
    require(is_single, "the factor is not one number")
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "fold_mul_before_matmul",
    "matmul(x * c, w) becomes matmul(x, w * c)",
)
.matching(&["matmul(mul(?x:float, ?k:splat), ?w:const){transpose_a = ?t, transpose_b = ?u}"])
.when(is_single)
.to("matmul(?x, mul(?w, ?k)){transpose_a = ?t, transpose_b = ?u}");
