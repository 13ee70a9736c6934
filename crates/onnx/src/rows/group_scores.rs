//! What `GroupQueryAttention` makes of queries, keys and values once it has them.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::MATMUL;
use alula_ops::elementwise::arithmetic::{AND, LT, TANH};
use alula_ops::normalization::SOFTMAX;
use alula_ops::shape::PAD;
use alula_tensor::{DType, Dim};

use super::compose::Value;
use super::group_query::Sizes;
use super::heads::scale_of;
use super::{RowCtx, RowError};

/// `[batch, length, heads * size]` of queries, keys and values with heads second; and the scores,
/// which `qk_output` says whether they are those in front of the softmax or those behind it.
pub(super) fn attend(
    ctx: &mut RowCtx<'_, '_>,
    [q, k, v]: [ValueId; 3],
    seen: ValueId,
    (given, total): (&Dim, &Dim),
    sizes: &Sizes,
) -> Result<(ValueId, ValueId), RowError> {
    let one = Dim::new(1);
    let (kv_heads, group) = (
        Dim::new(sizes.kv_heads),
        Dim::new(sizes.heads / sizes.kv_heads),
    );
    let (batch, length, size) = (&sizes.batch, &sizes.length, &sizes.size);
    let of = |heads: &Dim, rows: &Dim| {
        let shape = [batch, &kv_heads, heads, rows, size];
        shape.map(Clone::clone).to_vec()
    };
    let q = ctx.view(q, of(&group, length))?;
    let (k, v) = (ctx.view(k, of(&one, total))?, ctx.view(v, of(&one, total))?);
    let scale = scale_of(ctx, size)?;
    let scores = ctx.push(&MATMUL, &[q, k], Attrs::new().with("transpose_b", true))?;
    let mut scores = ctx.times(scores, scale)?;
    let cap = ctx.float_or("softcap", 0.0);
    if cap > 0.0 {
        let cap = ctx.number(scores, cap)?;
        let share = ctx.div(scores, cap)?;
        let bent = ctx.op(&TANH, &[share])?;
        scores = ctx.mul(bent, cap)?;
    }
    if let Some(mut bias) = ctx.optional(10) {
        ctx.need_rank(10, 4)?;
        let mut to = ctx.ty(bias)?.shape;
        if given != total {
            // The buffer is longer than what the bias is of.
            let mut pads = vec![Dim::new(0); 8];
            pads[7] = total.clone() - to[3].clone();
            to[3] = total.clone();
            bias = ctx.push(&PAD, &[bias], Attrs::new().with("pads", pads))?;
        }
        let split = match to[1].is(1) {
            true => [one.clone(), one.clone()],
            false => [kv_heads.clone(), group.clone()],
        };
        to.splice(1..2, split);
        let bias = ctx.view(bias, to)?;
        scores = ctx.add(scores, bias)?;
    }
    let before = scores;
    let never = ctx.number(scores, f64::NEG_INFINITY)?;
    scores = ctx.select(seen, scores, never)?;
    let is_smooth = ctx.int_or("smooth_softmax", -1) == 1;
    let sink = match ctx.optional(11) {
        Some(sink) => {
            ctx.need_rank(11, 1)?;
            Some(ctx.view(
                sink,
                vec![kv_heads.clone(), group.clone(), one.clone(), one.clone()],
            )?)
        }
        None if is_smooth => Some(ctx.number(scores, 0.0)?),
        None => None,
    };
    if let Some(sink) = sink {
        // One more key, of no value.
        let to = [batch, &kv_heads, &group, length, &one];
        let sink = ctx.expand(sink, to.map(Clone::clone).to_vec())?;
        scores = ctx.join(&[scores, sink], 4)?;
    }
    let mut weights = ctx.push(&SOFTMAX, &[scores], Attrs::new().with("axis", -1_i64))?;
    if sink.is_some() {
        weights = ctx.part(weights, 4, Dim::new(0), total.clone())?;
    }
    let mixed = ctx.op(&MATMUL, &[weights, v])?;
    let heads = Dim::new(sizes.heads);
    let to = [batch, &heads, length, size].map(Clone::clone).to_vec();
    let mixed = ctx.view(mixed, to)?;
    let mixed = ctx.permute(mixed, &[0, 2, 1, 3])?;
    let width = heads * size.clone();
    let y = ctx.view(mixed, vec![batch.clone(), length.clone(), width])?;
    match ctx.int_or("qk_output", 0) {
        1 => Ok((y, before)),
        _ => Ok((y, weights)),
    }
}

/// Scores as an output, `[batch, heads, length, given]`: 0 where a query sees no token.
pub(super) fn noted(
    ctx: &mut RowCtx<'_, '_>,
    scores: ValueId,
    [seen, ends]: [ValueId; 2],
    (given, total): (&Dim, &Dim),
    sizes: &Sizes,
) -> Value {
    let at = ctx.iota(DType::I64, total.clone())?;
    let is_token = ctx.op(&LT, &[at, ends])?;
    let (batch, one) = (sizes.batch.clone(), Dim::new(1));
    let to = vec![batch.clone(), one.clone(), one.clone(), one, total.clone()];
    let is_token = ctx.view(is_token, to)?;
    let seen = ctx.op(&AND, &[seen, is_token])?;
    let none = ctx.number(scores, 0.0)?;
    let scores = ctx.select(seen, scores, none)?;
    let to = vec![
        batch,
        Dim::new(sizes.heads),
        sizes.length.clone(),
        total.clone(),
    ];
    let scores = ctx.view(scores, to)?;
    match given == total {
        true => Ok(scores),
        false => ctx.part(scores, 3, Dim::new(0), given.clone()),
    }
}
