//! `FlexAttention` of `ai.onnx.preview`: attention whose scores and weights a sub-graph changes.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::MATMUL;
use alula_ops::normalization::SOFTMAX;
use alula_tensor::{DType, Dim};

use super::compose::Value;
use super::{Built, Row, RowCtx, RowError};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[Row {
    domain: "ai.onnx.preview",
    op_type: "FlexAttention",
    versions: &[1],
    attrs: &["prob_mod", "scale", "score_mod", "softmax_precision"],
    build: flex_attention,
}];

/// The result of a sub-graph of one operand, which must keep the operand's type.
fn modified(ctx: &mut RowCtx<'_, '_>, name: &str, value: ValueId) -> Value {
    if !ctx.has_attr(name) {
        return Ok(value);
    }
    let proto = ctx.graph_attr(name)?;
    let results = ctx.inline_graph(proto, &[value])?;
    let [result] = results[..] else {
        return Err(RowError::Invalid(format!(
            "{name} has {} results",
            results.len()
        )));
    };
    let (before, after) = (ctx.ty(value)?, ctx.ty(result)?);
    if before.dtype != after.dtype || before.rank() != after.rank() {
        return Err(RowError::Invalid(format!(
            "{name} makes {after} of {before}"
        )));
    }
    Ok(result)
}

fn flex_attention(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (q, k, v) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let (q_ty, k_ty, v_ty) = (ctx.ty(q)?, ctx.ty(k)?, ctx.ty(v)?);
    if [&q_ty, &k_ty, &v_ty].iter().any(|ty| ty.rank() != 4) {
        return Err(RowError::Invalid(format!(
            "{q_ty}, {k_ty}, {v_ty} have not four axes"
        )));
    }
    let default = if q_ty.dtype == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let precise = ctx.dtype("softmax_precision")?.unwrap_or(default);
    let scale = match (ctx.float("scale"), q_ty.shape[3].as_const()) {
        (Some(scale), _) => scale,
        (None, Some(size)) => 1.0 / (size as f64).sqrt(),
        (None, None) => {
            return Err(RowError::Unsupported(format!(
                "queries {q_ty} of an unknown size"
            )));
        }
    };
    let heads = k_ty.shape[1].clone();
    let group = q_ty.shape[1].floor_div(&heads);
    // Queries that share keys become an axis of their own.
    let grouped = |ctx: &mut RowCtx<'_, '_>, x: ValueId, group: Dim| {
        let mut shape = ctx.ty(x)?.shape;
        shape.splice(1..2, [heads.clone(), group]);
        ctx.view(x, shape)
    };
    let one = Dim::new(1);
    let q = ctx.cast(q, precise)?;
    let (k, v) = (ctx.cast(k, precise)?, ctx.cast(v, precise)?);
    let rows = grouped(ctx, q, group.clone())?;
    let columns = grouped(ctx, k, one.clone())?;
    let turned = Attrs::new().with("transpose_b", true);
    let scores = ctx.push(&MATMUL, &[rows, columns], turned)?;
    let scores = ctx.times(scores, scale)?;
    let mut shape = q_ty.shape.clone();
    shape[3] = k_ty.shape[2].clone();
    let scores = ctx.view(scores, shape)?;
    let scores = modified(ctx, "score_mod", scores)?;
    let weights = ctx.push(&SOFTMAX, &[scores], Attrs::new().with("axis", -1_i64))?;
    let weights = modified(ctx, "prob_mod", weights)?;
    let weights = grouped(ctx, weights, group)?;
    let values = grouped(ctx, v, one)?;
    let y = ctx.op(&MATMUL, &[weights, values])?;
    let mut shape = q_ty.shape.clone();
    shape[3] = v_ty.shape[3].clone();
    let y = ctx.view(y, shape)?;
    Ok(vec![ctx.cast(y, q_ty.dtype)?])
}
