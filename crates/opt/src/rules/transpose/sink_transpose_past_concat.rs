//! Operands that are transposed alike are joined along the axis that it was.

use alula_ir::ValueId;

use crate::axes::{axis_of, permutation};
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let node = patch.graph().node(found.root).clone();
    let order = permutation(patch.graph(), found.node(patch.graph(), "t"));
    let mut operands = Vec::with_capacity(node.operands.len());
    for value in node.operands.iter().flatten() {
        let producer = patch
            .graph()
            .producer(*value)
            .ok_or("an operand is not transposed")?;
        let transpose = patch.graph().node(producer);
        require(
            transpose.op.name == "transpose",
            "an operand is not transposed",
        )?;
        require(
            permutation(patch.graph(), producer) == order,
            "the permutations differ",
        )?;
        let is_inner = patch.graph().num_outputs_of(*value) == 0
            && patch
                .uses(*value)
                .iter()
                .all(|(user, _)| *user == found.root);
        require(is_inner, "an operand has another user")?;
        operands.push(transpose.operands[0]);
    }
    let axis = order[axis_of(node.attrs.int("axis"), order.len())];
    let attrs = node.attrs.with("axis", axis as i64);
    let made = patch.push_op(node.op, &operands, attrs, 1)?[0];
    patch.transpose(made, &order)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "sink_transpose_past_concat",
    "concat(transpose(x), transpose(y)) becomes transpose(concat(x, y))",
)
.matching(&["concat(%t=transpose(?x){..}, ..){..}"])
.build(build);
