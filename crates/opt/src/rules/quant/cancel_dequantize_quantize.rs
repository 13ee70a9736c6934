//! Quantizing what was dequantized with the same parameters gives back the steps: the quotient is off by
//! less than half a step as long as steps are few enough for `f32` to count.

use alula_ir::ValueId;
use alula_tensor::DType;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let x = found.value("x");
    let (dtype, again) = (patch.ty(x)?.dtype, patch.ty(found.result)?.dtype);
    require(dtype == again, "the stored dtypes differ")?;
    require(
        dtype.is_integer() && dtype.bits() <= 16,
        "the dtype has too many steps",
    )?;
    let expressed = patch.ty(found.value("d"))?.dtype;
    require(
        matches!(expressed, DType::F32 | DType::F64),
        "the real numbers are narrow",
    )?;
    let scale = patch
        .graph()
        .as_constant(found.value("s"))
        .ok_or(Miss::NONE)?;
    let is_sane = |scale: f64| scale > 1e-30 && scale < 1e30;
    require(
        scale.to_f64s().into_iter().all(is_sane),
        "a scale is out of range",
    )?;
    Ok(x)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("cancel_dequantize_quantize", "quantize(dequantize(x)) with the same parameters becomes x")
    .matching(&["quantize_linear(%d=dequantize_linear(?x, ?s:const, ?z?){axis = ?a, block = ?b, dtype = ?t}, ?s, ?z?){axis = ?a, block = ?b, dtype = ?u, saturate = true}"])
    .sharing()
    .build(build);
