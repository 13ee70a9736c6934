//! Operands without elements add nothing to a concatenation.

use alula_ir::ValueId;

use crate::axes::axis_of;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let node = patch.graph().node(found.root).clone();
    let axis = axis_of(node.attrs.int("axis"), patch.ty(found.result)?.rank());
    let mut kept = Vec::new();
    for operand in node.operands.iter().flatten() {
        if !patch.shape(*operand)?[axis].is(0) {
            kept.push(Some(*operand));
        }
    }
    fits(!kept.is_empty() && kept.len() < node.operands.len())?;
    Ok(patch.with_operands(found.root, &kept)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_empty_concat_part",
    "operands without elements leave a concat",
)
.matching(&["concat(?x, ..){..}"])
.build(build);
