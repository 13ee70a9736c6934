//! A batch normalization of a transposed convolution's result. Its weights are `[C, M / group, ..]`, so
//! the output channels of a group are on axis 1.

use alula_ir::{Attrs, NodeId, ValueId};
use alula_tensor::{DType, Dim};

use crate::channels::{batch_norm_affine, cast, is_wide, moved_bias};
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let (scale, shift) = batch_norm_affine(found, patch, DType::F64)?;
    let conv = found.node(patch.graph(), "c");
    let w = found.value("w");
    let dtype = patch.ty(w)?.dtype;
    require(is_wide(dtype), "the weights are narrow floats")?;
    let wide = cast(patch, w, DType::F64)?;
    let scaled = scale_group_outputs(patch, conv, wide, scale)?;
    let w = cast(patch, scaled, dtype)?;
    let bias = moved_bias(patch, found.optional("b"), (scale, shift), dtype)?;
    Ok(patch.with_operands(conv, &[Some(found.value("x")), Some(w), Some(bias)])?[0])
}

/// Weights `[C, M / group, ..]` times a factor for each of the M output channels.
fn scale_group_outputs(
    patch: &mut Patch<'_>,
    conv: NodeId,
    w: ValueId,
    scale: ValueId,
) -> Result<ValueId, Miss> {
    let group = patch.graph().node(conv).attrs.int("group");
    let shape = patch.shape(w)?;
    let own = shape[0].as_const().ok_or(Miss::NONE)? / group;
    let mut grouped = vec![Dim::new(group), Dim::new(own)];
    grouped.extend_from_slice(&shape[1..]);
    let mut factor_shape = vec![Dim::new(1); grouped.len()];
    (factor_shape[0], factor_shape[2]) = (Dim::new(group), shape[1].clone());
    let w = patch.reshape(w, grouped)?;
    let factor = patch.reshape(scale, factor_shape)?;
    let w = patch.apply("mul", &[w, factor], Attrs::new())?;
    patch.reshape(w, shape)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("fold_batch_norm_into_conv_transpose", "batch_norm(conv_transpose(x)) becomes conv_transpose(x)")
    .matching(&["batch_norm(%c=conv_transpose(?x, ?w:const, ?b:const?){..}, ?scale:const, ?bias:const, ?mean:const, ?variance:const){epsilon = ?e}"])
    .build(build);
