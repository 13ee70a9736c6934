//! Elements are moved as they are stored: quantization with one scale comes before reshapes and
//! transpositions.

use alula_ir::ValueId;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let (moving, x) = (found.node(patch.graph(), "m"), found.value("x"));
    let is_single = patch.ty(found.value("s"))?.num_elements().is(1);
    require(is_single, "there is more than one scale")?;
    let node = patch.graph().node(found.root).clone();
    let mut attrs = node.attrs;
    attrs.set("axis", 0_i64);
    require(
        attrs.int("block") == 0 && patch.ty(x)?.rank() > 0,
        "there are blocks",
    )?;
    let operands = [Some(x), Some(found.value("s")), found.optional("z")];
    let quantized = patch.push_op(node.op, &operands, attrs, 1)?[0];
    Ok(patch.with_operands(moving, &[Some(quantized)])?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "hoist_quantize_past_move",
    "quantize(reshape(x)) becomes reshape(quantize(x))",
)
.matching(&["quantize_linear(%m=reshape|transpose(?x){..}, ?s, ?z?){..}"])
.build(build);
