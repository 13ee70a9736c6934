//! A batch normalization of a transposed convolution's result. Its weights are `[C, M / group, ..]`, so
//! the output channels of a group are on axis 1.

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
    let extent = |dim: &Dim| dim.as_const().map(|extent| extent.max(1) as usize);
    let shape: Vec<usize> = shape
        .iter()
        .map(extent)
        .collect::<Option<_>>()
        .ok_or(Miss::NONE)?;
    let group = patch.graph().node(conv).attrs.int("group").max(1) as usize;
    let (own, outputs) = (shape[0] / group, shape[1]);
    let spatial: usize = shape[2..].iter().product();
    let w = scaled_weights(patch, w, scale, |at| {
        let (input, output) = (at / spatial / outputs, at / spatial % outputs);
        input / own.max(1) * outputs + output
    })?;
    let bias = moved_bias(patch, found.optional("b"), (scale, shift), dtype)?;
    Ok(patch.with_operands(conv, &[Some(found.value("x")), Some(w), Some(bias)])?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("fold_batch_norm_into_conv_transpose", "batch_norm(conv_transpose(x)) becomes conv_transpose(x)")
    .matching(&["batch_norm(%c=conv_transpose(?x, ?w:const, ?b:const?){..}, ?scale:const, ?bias:const, ?mean:const, ?variance:const){epsilon = ?e}"])
    .build(build);
