//! A batch normalization of a convolution's result scales its weights and moves its bias.

use alula_ir::{Attrs, ValueId};
use alula_tensor::{DType, TensorType};

use crate::channels::{batch_norm_affine, cast, is_wide, moved_bias};
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let (scale, shift) = batch_norm_affine(found, patch, DType::F64)?;
    let conv = found.node(patch.graph(), "c");
    let w = found.value("w");
    let TensorType { dtype, shape, .. } = patch.ty(w)?;
    require(is_wide(dtype), "the weights are narrow floats")?;
    let wide = cast(patch, w, DType::F64)?;
    let factor = patch.spread(scale, shape.len(), 0)?;
    let scaled = patch.apply("mul", &[wide, factor], Attrs::new())?;
    let w = cast(patch, scaled, dtype)?;
    let bias = moved_bias(patch, found.optional("b"), (scale, shift), dtype)?;
    Ok(patch.with_operands(conv, &[Some(found.value("x")), Some(w), Some(bias)])?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("fold_batch_norm_into_conv", "batch_norm(conv(x)) becomes conv(x)")
    .matching(&["batch_norm(%c=conv(?x, ?w:const, ?b:const?){..}, ?scale:const, ?bias:const, ?mean:const, ?variance:const){epsilon = ?e}"])
    .build(build);
