//! A transposition of the last two axes of an operand is an attribute of the product.

use alula_ir::ValueId;

use crate::axes::permutation;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let order = permutation(patch.graph(), found.node(patch.graph(), "t"));
    let rank = order.len();
    fits(rank >= 2)?;
    let is_kept = order[..rank - 2]
        .iter()
        .enumerate()
        .all(|(to, from)| to == *from);
    require(
        is_kept && order[rank - 1] == rank - 2,
        "batch axes are moved, too",
    )?;
    let node = patch.graph().node(found.root).clone();
    let mut attrs = node.attrs;
    let is_first = node.operands[0] == found.optional("t");
    let name = if is_first {
        "transpose_a"
    } else {
        "transpose_b"
    };
    attrs.set(name, !attrs.bool(name));
    let x = Some(found.value("x"));
    let operands = if is_first {
        [x, node.operands[1]]
    } else {
        [node.operands[0], x]
    };
    Ok(patch.push_op(node.op, &operands, attrs, 1)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "fold_transpose_into_matmul",
    "matmul(a, transpose(b)) becomes matmul(a, b) {transpose_b}",
)
.matching(&[
    "matmul(%t=transpose(?x){..}, ?o){..}",
    "matmul(?o, %t=transpose(?x){..}){..}",
])
.sharing()
.build(build);
