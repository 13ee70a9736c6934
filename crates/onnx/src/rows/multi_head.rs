//! `MultiHeadAttention` of `com.microsoft`: queries, keys and values come apart or packed, with the
//! bias of their projections.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::MATMUL;
use alula_ops::elementwise::arithmetic::MAX;
use alula_ops::normalization::SOFTMAX;
use alula_tensor::Dim;

use super::compose::Value;
use super::fused::both;
use super::heads::{causal, heads, masked, scale_of};
use super::{Built, Row, RowCtx, RowError, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "MultiHeadAttention",
    &["mask_filter_value", "num_heads", "scale", "unidirectional"],
    multi_head_attention,
)];

/// `[batch, length, heads * size]`, or `[batch, heads, length, size]` as it is.
fn by_head(ctx: &mut RowCtx<'_, '_>, x: ValueId, heads: i64) -> Value {
    let ty = ctx.ty(x)?;
    match ty.shape.as_slice() {
        [_, _, _, _] => Ok(x),
        [batch, length, width] => {
            let size = width.floor_div(&Dim::new(heads));
            let to = vec![batch.clone(), length.clone(), Dim::new(heads), size];
            let x = ctx.view(x, to)?;
            ctx.permute(x, &[0, 2, 1, 3])
        }
        _ => Err(RowError::Invalid(format!("{ty} has not 3 or 4 axes"))),
    }
}

/// One part of `[batch, length, heads, parts, size]`, heads second.
fn packed(ctx: &mut RowCtx<'_, '_>, x: ValueId, part: i64) -> Value {
    let mut to = ctx.ty(x)?.shape;
    let part = ctx.part(x, 3, Dim::new(part), Dim::new(part + 1))?;
    to.remove(3);
    let part = ctx.view(part, to)?;
    ctx.permute(part, &[0, 2, 1, 3])
}

/// Queries, keys and values `[batch, heads, length, size]`, without the bias.
fn operands(ctx: &mut RowCtx<'_, '_>, heads: i64) -> Result<[ValueId; 3], RowError> {
    let q = ctx.input(0)?;
    let parts = |ctx: &mut RowCtx<'_, '_>, x: ValueId, count: i64| -> Result<(), RowError> {
        let ty = ctx.ty(x)?;
        let fits = ty.rank() == 5 && ty.shape[2].is(heads) && ty.shape[3].is(count);
        match fits {
            true => Ok(()),
            false => Err(RowError::Invalid(format!(
                "{ty} is not [batch, length, {heads} heads, {count}, size]"
            ))),
        }
    };
    match (ctx.optional(1), ctx.optional(2)) {
        (None, None) => {
            parts(ctx, q, 3)?;
            Ok([packed(ctx, q, 0)?, packed(ctx, q, 1)?, packed(ctx, q, 2)?])
        }
        (Some(k), None) => {
            parts(ctx, k, 2)?;
            ctx.need_rank(0, 3)?;
            let q = by_head(ctx, q, heads)?;
            Ok([q, packed(ctx, k, 0)?, packed(ctx, k, 1)?])
        }
        (Some(k), Some(v)) => {
            ctx.need_rank(0, 3)?;
            let rank = ctx.rank(k)?;
            ctx.need_rank(2, rank)?;
            if rank == 4 && ctx.optional(3).is_some() {
                let reason = "a bias where keys and values come by head";
                return Err(RowError::Unsupported(reason.to_owned()));
            }
            Ok([
                by_head(ctx, q, heads)?,
                by_head(ctx, k, heads)?,
                by_head(ctx, v, heads)?,
            ])
        }
        (None, Some(_)) => Err(RowError::Invalid("values come without keys".to_owned())),
    }
}

fn multi_head_attention(ctx: &mut RowCtx<'_, '_>) -> Built {
    let count = heads(ctx, "num_heads")?;
    let mut parts = operands(ctx, count)?;
    if let Some(bias) = ctx.optional(3) {
        ctx.need_rank(3, 1)?;
        let mut begin = Dim::new(0);
        for part in &mut parts {
            let size = ctx.ty(*part)?.shape[3].clone();
            let end = begin.clone() + size.clone() * Dim::new(count);
            let own = ctx.part(bias, 0, begin, end.clone())?;
            let own = ctx.view(own, vec![Dim::new(count), Dim::new(1), size])?;
            *part = ctx.add(*part, own)?;
            begin = end;
        }
    }
    let [q, mut k, mut v] = parts;
    let own_keys = ctx.ty(k)?.shape[2].clone();
    if let Some([past_k, past_v]) = both(ctx, [6, 7])? {
        k = ctx.join(&[past_k, k], 2)?;
        v = ctx.join(&[past_v, v], 2)?;
    }
    if (8..ctx.num_inputs()).any(|position| ctx.optional(position).is_some()) {
        return Err(RowError::Unsupported(
            "a shared buffer of the past".to_owned(),
        ));
    }
    let (q_ty, v_ty) = (ctx.ty(q)?, ctx.ty(v)?);
    let scale = scale_of(ctx, &q_ty.shape[3])?;
    let turned = Attrs::new().with("transpose_b", true);
    let scores = ctx.push(&MATMUL, &[q, k], turned)?;
    let mut scores = ctx.times(scores, scale)?;
    let (batch, queries) = (q_ty.shape[0].clone(), q_ty.shape[2].clone());
    let keys = ctx.ty(k)?.shape[2].clone();
    if ctx.flag("unidirectional", false) {
        // Each query has its key, behind those of the past: who comes after whom is open otherwise.
        let who = ctx.name().to_owned();
        let required = ctx.graph().require(own_keys.clone(), queries.clone(), &who);
        required.map_err(|_| {
            let reason = format!("unidirectional with {queries} queries and {own_keys} keys");
            RowError::Unsupported(reason)
        })?;
        scores = causal(ctx, scores, [&queries, &keys])?;
    }
    if let Some(mask) = ctx.optional(4) {
        let ty = ctx.ty(mask)?;
        if ty.rank() == 1 && ty.shape[0] != batch {
            return Err(RowError::Unsupported(format!(
                "mask {ty}, which is not one length for each of {batch}"
            )));
        }
        scores = masked(ctx, scores, mask, [&batch, &queries, &keys])?;
    }
    if let Some(bias) = ctx.optional(5) {
        scores = ctx.add(scores, bias)?;
    }
    let weights = ctx.push(&SOFTMAX, &[scores], Attrs::new().with("axis", -1_i64))?;
    let mixed = ctx.op(&MATMUL, &[weights, v])?;
    let mixed = ctx.permute(mixed, &[0, 2, 1, 3])?;
    let width = v_ty.shape[3].clone() * Dim::new(count);
    let y = ctx.view(mixed, vec![batch, queries, width])?;
    let mut results = vec![y, k, v];
    if ctx.wants(3) {
        // What no query sees is told by the least number.
        let least = ctx.number(scores, f64::from(f32::MIN))?;
        results.push(ctx.op(&MAX, &[scores, least])?);
    }
    results.truncate(ctx.num_outputs().max(1));
    Ok(results)
}
