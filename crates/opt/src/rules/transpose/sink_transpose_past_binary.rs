//! Two operands that are transposed alike are transposed after the operator.

use alula_ir::ValueId;

use crate::axes::permutation;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let order = permutation(patch.graph(), found.node(patch.graph(), "s"));
    let other = permutation(patch.graph(), found.node(patch.graph(), "t"));
    require(order == other, "the permutations differ")?;
    let operands = [Some(found.value("x")), Some(found.value("y"))];
    let made = patch.with_operands(found.root, &operands)?[0];
    patch.transpose(made, &order)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "sink_transpose_past_binary",
    "transpose(x) + transpose(y) becomes transpose(x + y)",
)
.matching(&["sub|div|pow|add|mul|min|max(%s=transpose(?x){..}, %t=transpose(?y){..})"])
.build(build);
