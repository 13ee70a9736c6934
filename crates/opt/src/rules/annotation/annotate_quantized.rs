//! A value that is nothing but quantized is of a quantized type: quantizing it again with the same
//! parameters gives the same steps.

use alula_ir::ValueId;
use alula_ops::quantization::annotation_of;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let x = found.value("x");
    fits(patch.ty(x)?.quant.is_none() && patch.graph().producer(x).is_some())?;
    let quant = annotation_of(patch.graph(), found.root)?;
    let is_private = patch.uses(x).len() == 1 && patch.graph().num_outputs_of(x) == 0;
    require(is_private, "the value is used unquantized, too")?;
    let x = patch.quantized(x, quant)?;
    let mut operands = patch.graph().node(found.root).operands.clone();
    operands[0] = Some(x);
    Ok(patch.with_operands(found.root, &operands)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "annotate_quantized",
    "quantize(x) becomes quantize(x) with x of a quantized type",
)
.matching(&["quantize_linear(?x, ..){..}"])
.build(build);
