//! A batch normalization of a convolution's result scales its weights and moves its bias.

use alula_ir::ValueId;
use alula_tensor::{DType, Dim, TensorType};

use crate::channels::{batch_norm_affine, moved_bias, scaled_weights};
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let (scale, shift) = batch_norm_affine(found, patch, DType::F64)?;
    let conv = found.node(patch.graph(), "c");
    let w = found.value("w");
    let TensorType { dtype, shape, .. } = patch.ty(w)?;
    let count = |extents: &[Dim]| extents.iter().map(Dim::as_const).product::<Option<i64>>();
    let per_channel = count(&shape[1..]).ok_or(Miss::NONE)?.max(1) as usize;
    let w = scaled_weights(patch, w, scale, |at| at / per_channel)?;
    let bias = moved_bias(patch, found.optional("b"), (scale, shift), dtype)?;
    Ok(patch.with_operands(conv, &[Some(found.value("x")), Some(w), Some(bias)])?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("fold_batch_norm_into_conv", "batch_norm(conv(x)) becomes conv(x)")
    .matching(&["batch_norm(%c=conv(?x, ?w:const, ?b:const?){..}, ?scale:const, ?bias:const, ?mean:const, ?variance:const){epsilon = ?e}"])
    .build(build);
