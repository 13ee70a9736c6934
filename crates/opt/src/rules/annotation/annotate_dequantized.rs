//! What was dequantized is of a quantized type: quantizing it gives back the steps.

use alula_ir::ValueId;
use alula_ops::quantization::annotation_of;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    fits(patch.ty(found.result)?.quant.is_none())?;
    let quant = annotation_of(patch.graph(), found.root)?;
    patch.quantized(found.result, quant)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "annotate_dequantized",
    "dequantize(x) becomes dequantize(x) of a quantized type",
)
.matching(&["dequantize_linear(?x, ..){..}"])
.build(build);
