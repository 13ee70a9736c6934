//! A softmax along an axis of a transposed value is one along the axis that it was.

use alula_ir::ValueId;

use crate::axes::{axis_of, permutation};
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let order = permutation(patch.graph(), found.node(patch.graph(), "t"));
    let node = patch.graph().node(found.root).clone();
    let axis = order[axis_of(node.attrs.int("axis"), order.len())];
    let attrs = node.attrs.with("axis", axis as i64);
    let made = patch.push_op(node.op, &[Some(found.value("x"))], attrs, 1)?[0];
    patch.transpose(made, &order)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "sink_transpose_past_softmax",
    "softmax(transpose(x)) becomes transpose(softmax(x))",
)
.matching(&["softmax|log_softmax(%t=transpose(?x){..}){..}"])
.build(build);
