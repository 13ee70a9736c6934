//! A transposition of the last two axes, of which a reshape splits or joins only those before: the
//! reshape comes first, where it meets others, and a product takes the transposition as an attribute.

use alula_ir::ValueId;

use crate::axes::permutation;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let order = permutation(patch.graph(), found.node(patch.graph(), "t"));
    let rank = order.len();
    fits(rank >= 2 && order[rank - 2..] == [rank - 1, rank - 2])?;
    fits((0..rank - 2).all(|axis| order[axis] == axis))?;
    let (turned, mut to) = (patch.shape(found.value("t"))?, patch.shape(found.result)?);
    let count = to.len();
    require(
        count >= 2 && to[count - 2..] == turned[rank - 2..],
        "the last two axes are reshaped, too",
    )?;
    to.swap(count - 2, count - 1);
    let straight = patch.reshape(found.value("x"), to)?;
    let mut order: Vec<usize> = (0..count).collect();
    order.swap(count - 2, count - 1);
    patch.transpose(straight, &order)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "hoist_reshape_past_transpose",
    "reshape(transpose(x)) of leading axes becomes transpose(reshape(x))",
)
.matching(&["reshape(%t=transpose(?x){..}){..}"])
.build(build);
