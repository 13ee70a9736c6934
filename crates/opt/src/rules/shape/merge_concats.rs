//! A concatenation within another along the same axis gives its operands to the outer one.

use alula_ir::ValueId;

use crate::axes::axis_of;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let rank = patch.ty(found.result)?.rank();
    let node = patch.graph().node(found.root).clone();
    let axis = axis_of(node.attrs.int("axis"), rank);
    let mut operands = Vec::new();
    for operand in &node.operands {
        let inner = operand.and_then(|value| {
            let inner = patch.graph().node(patch.graph().producer(value)?);
            let is_same = inner.op == node.op && axis_of(inner.attrs.int("axis"), rank) == axis;
            let is_output = patch.graph().num_outputs_of(value) > 0;
            (is_same && !is_output && patch.uses(value).len() == 1).then_some(inner)
        });
        match inner {
            Some(inner) => operands.extend(inner.operands.iter().copied()),
            None => operands.push(*operand),
        }
    }
    fits(operands.len() > node.operands.len())?;
    Ok(patch.with_operands(found.root, &operands)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "merge_concats",
    "concat(concat(a, b), c) becomes concat(a, b, c)",
)
.matching(&["concat(?x, ..){..}"])
.build(build);
