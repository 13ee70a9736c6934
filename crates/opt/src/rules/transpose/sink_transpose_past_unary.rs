//! A transposition comes after what works on single elements, where it may meet another.

use alula_ir::ValueId;

use crate::axes::permutation;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let transpose = found.node(patch.graph(), "t");
    let made = patch.with_operands(found.root, &[Some(found.value("x"))])?[0];
    let order = permutation(patch.graph(), transpose);
    patch.transpose(made, &order)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("sink_transpose_past_unary", "f(transpose(x)) becomes transpose(f(x))")
    .matching(&["abs|neg|sqrt|exp|log|tanh|erf|relu|sigmoid|silu|gelu|leaky_relu|hard_sigmoid|hard_swish|softplus|mish|elu|cast(%t=transpose(?x){..}){..}"])
    .build(build);
