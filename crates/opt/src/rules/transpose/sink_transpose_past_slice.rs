//! A slice of a transposed value is a slice along the axes that they were, and what is transposed is
//! less.

use alula_ir::ValueId;

use crate::axes::{axis_of, ints, permutation};
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let order = permutation(patch.graph(), found.node(patch.graph(), "t"));
    let node = patch.graph().node(found.root).clone();
    let axes = node.attrs.ints("axes").iter();
    let own: Vec<usize> = axes
        .map(|&axis| order[axis_of(axis, order.len())])
        .collect();
    let attrs = node.attrs.with("axes", ints(&own));
    let made = patch.push_op(node.op, &[Some(found.value("x"))], attrs, 1)?[0];
    patch.transpose(made, &order)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "sink_transpose_past_slice",
    "slice(transpose(x)) becomes transpose(slice(x))",
)
.matching(&["slice(%t=transpose(?x){..}){..}"])
.build(build);
