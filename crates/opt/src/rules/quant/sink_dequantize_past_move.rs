//! Elements are moved as they are stored: dequantization with one scale comes after reshapes,
//! transpositions, slices and expansions.

use alula_ir::ValueId;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let dequantize = found.node(patch.graph(), "d");
    let is_single = patch.ty(found.value("s"))?.num_elements().is(1);
    require(is_single, "there is more than one scale")?;
    let moved = patch.with_operands(found.root, &[Some(found.value("x"))])?[0];
    let mut attrs = patch.graph().node(dequantize).attrs.clone();
    // The axis of one scale means nothing, but must exist.
    attrs.set("axis", 0_i64);
    require(
        attrs.int("block") == 0 && patch.ty(moved)?.rank() > 0,
        "there are blocks",
    )?;
    let op = patch.graph().node(dequantize).op;
    let operands = [Some(moved), Some(found.value("s")), found.optional("z")];
    Ok(patch.push_op(op, &operands, attrs, 1)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "sink_dequantize_past_move",
    "reshape(dequantize(x)) becomes dequantize(reshape(x))",
)
.matching(&["reshape|transpose|slice|expand(%d=dequantize_linear(?x, ?s, ?z?){..}){..}"])
.build(build);
