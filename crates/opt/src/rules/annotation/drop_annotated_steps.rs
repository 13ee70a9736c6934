//! A value of a quantized type is quantized and dequantized by its type alone.

use alula_ir::ValueId;
use alula_ops::quantization::annotation_of;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let x = found.value("x");
    let ty = patch.ty(x)?;
    let Some(quant) = ty.quant else {
        return Err(Miss::NONE);
    };
    let quantize = found.node(patch.graph(), "q");
    let steps = annotation_of(patch.graph(), quantize)?;
    fits(steps == *quant)?;
    let again = annotation_of(patch.graph(), found.root)?;
    require(again == steps, "the parameters differ")?;
    Ok(x)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_annotated_steps",
    "dequantize(quantize(x)) becomes x where the type of x says so",
)
.matching(&["dequantize_linear(%q=quantize_linear(?x, ..){..}, ..){..}"])
.sharing()
.build(build);
