//! A transposition of the last two axes of the keys is an attribute of the attention.

use alula_ir::ValueId;

use crate::axes::permutation;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let order = permutation(patch.graph(), found.node(patch.graph(), "t"));
    let rank = order.len();
    fits(rank >= 2 && order[rank - 2..] != [rank - 2, rank - 1])?;
    let is_kept = (0..rank - 2).all(|axis| order[axis] == axis);
    require(is_kept, "batch axes are moved, too")?;
    let node = patch.graph().node(found.root).clone();
    let turned = !node.attrs.bool("transpose_k");
    let attrs = node.attrs.with("transpose_k", turned);
    let mut operands = node.operands;
    operands[1] = Some(found.value("x"));
    Ok(patch.push_op(node.op, &operands, attrs, 1)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "fold_transpose_into_attention",
    "attention(q, transpose(k), v) becomes attention(q, k, v) {transpose_k}",
)
.matching(&["attention(?q, %t=transpose(?x){..}, ..){..}"])
.sharing()
.build(build);
