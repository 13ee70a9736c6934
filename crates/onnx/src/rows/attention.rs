//! `Attention`, composed of products, a softmax and what lies between.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::MATMUL;
use alula_ops::elementwise::arithmetic::{ADD, DIV, EQ, GE, MUL, TANH};
use alula_ops::elementwise::choice::{CAST, SELECT};
use alula_ops::normalization::SOFTMAX;
use alula_ops::shape::{CONCAT, DIMS, PAD, RANGE, TRANSPOSE};
use alula_tensor::{DType, Dim, Tensor};

use super::contraction::reshape;
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "Attention",
    &[23, 24, 25],
    &[
        "is_causal",
        "kv_num_heads",
        "left_window_size",
        "q_num_heads",
        "qk_matmul_output_mode",
        "right_window_size",
        "scale",
        "softcap",
        "softmax_precision",
    ],
    attention,
)];

/// `[B, S, heads * D]` as `[B, heads, S, D]`; four axes stay.
fn split_heads(ctx: &mut RowCtx<'_, '_>, value: ValueId, heads: &str) -> Result<ValueId, RowError> {
    let ty = ctx.ty(value)?;
    if ty.rank() == 4 {
        return Ok(value);
    }
    let count = ctx.int(heads).filter(|count| *count > 0);
    let (3, Some(count)) = (ty.rank(), count) else {
        return Err(RowError::Invalid(format!(
            "{ty} needs four axes, or three and attribute {heads}"
        )));
    };
    let size = ty.shape[2].floor_div(&Dim::new(count));
    let to = vec![
        ty.shape[0].clone(),
        ty.shape[1].clone(),
        Dim::new(count),
        size,
    ];
    let split = reshape(ctx, value, to)?;
    ctx.push(
        &TRANSPOSE,
        &[split],
        Attrs::new().with("perm", vec![0_i64, 2, 1, 3]),
    )
}

/// `past` and then `value` along the sequence.
fn extended(
    ctx: &mut RowCtx<'_, '_>,
    past: Option<ValueId>,
    value: ValueId,
) -> Result<ValueId, RowError> {
    match past {
        Some(past) => ctx.push(&CONCAT, &[past, value], Attrs::new().with("axis", 2_i64)),
        None => Ok(value),
    }
}

/// Extents of the scores: batch, heads of the keys, queries for each, and both lengths.
struct Extents {
    kv_heads: Dim,
    group: Dim,
    queries: Dim,
    keys: Dim,
}

fn attention(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (q, k, v) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let is_flat = ctx.rank(q)? == 3;
    let q = split_heads(ctx, q, "q_num_heads")?;
    let k = split_heads(ctx, k, "kv_num_heads")?;
    let v = split_heads(ctx, v, "kv_num_heads")?;
    let past = (ctx.optional(4), ctx.optional(5));
    let past_length = match past.0 {
        Some(past) => ctx.ty(past)?.shape.get(2).cloned().unwrap_or(Dim::new(0)),
        None => Dim::new(0),
    };
    let (key, value) = (extended(ctx, past.0, k)?, extended(ctx, past.1, v)?);
    let (q_ty, k_ty, v_ty) = (ctx.ty(q)?, ctx.ty(key)?, ctx.ty(value)?);
    if q_ty.rank() != 4 || k_ty.rank() != 4 || v_ty.rank() != 4 {
        return Err(RowError::Invalid(format!(
            "queries {q_ty}, keys {k_ty}, values {v_ty}"
        )));
    }
    let extents = Extents {
        kv_heads: k_ty.shape[1].clone(),
        group: q_ty.shape[1].floor_div(&k_ty.shape[1]),
        queries: q_ty.shape[2].clone(),
        keys: k_ty.shape[2].clone(),
    };
    let dtype = q_ty.dtype;
    let size = q_ty.shape[3].as_const();
    let scale = match (ctx.float("scale"), size) {
        (Some(scale), _) => scale,
        (None, Some(size)) => 1.0 / (size as f64).sqrt(),
        (None, None) => {
            return Err(RowError::Unsupported(format!(
                "queries {q_ty} of an unknown size"
            )));
        }
    };
    // Both sides are scaled by the root, so that narrow floats do not overflow.
    let root = ctx.scalar(dtype, scale.sqrt())?;
    let left = ctx.push(&MUL, &[q, root], Attrs::new())?;
    let right = ctx.push(&MUL, &[key, root], Attrs::new())?;
    let left = grouped(ctx, left, &extents, true)?;
    let right = grouped(ctx, right, &extents, false)?;
    let turned = Attrs::new().with("transpose_b", true);
    let mut scores = ctx.push(&MATMUL, &[left, right], turned)?;
    let mode = ctx.int_or("qk_matmul_output_mode", 0);
    let mut noted = scores;
    scores = soft_capped(ctx, scores, dtype)?;
    if mode == 1 {
        noted = scores;
    }
    if let Some(mask) = ctx.optional(3) {
        let mask = mask_scores(ctx, mask, dtype, &extents)?;
        scores = ctx.push(&ADD, &[scores, mask], Attrs::new())?;
    }
    let limits = Limits {
        past: past_length,
        lengths: ctx.optional(6),
    };
    scores = limit(ctx, scores, dtype, &extents, &limits)?;
    if mode == 2 {
        noted = scores;
    }
    let may_see_nothing = ctx.optional(3).is_some() || ctx.optional(6).is_some();
    let precise = ctx
        .dtype("softmax_precision")?
        .filter(|precise| *precise != dtype);
    if let Some(precise) = precise {
        scores = ctx.push(&CAST, &[scores], Attrs::new().with("to", precise))?;
    }
    let mut weights = ctx.push(&SOFTMAX, &[scores], Attrs::new().with("axis", -1_i64))?;
    if may_see_nothing {
        // A query that must see no key weighs every key with 0 rather than 0 / 0.
        let dtype = ctx.ty(scores)?.dtype;
        let (zero, never) = (
            ctx.scalar(dtype, 0.0)?,
            ctx.scalar(dtype, f64::NEG_INFINITY)?,
        );
        let unseen = ctx.push(&EQ, &[scores, never], Attrs::new())?;
        weights = ctx.push(&SELECT, &[unseen, zero, weights], Attrs::new())?;
    }
    if precise.is_some() {
        weights = ctx.push(&CAST, &[weights], Attrs::new().with("to", dtype))?;
    }
    if mode == 3 {
        noted = weights;
    }
    let values = grouped(ctx, value, &extents, false)?;
    let mixed = ctx.push(&MATMUL, &[weights, values], Attrs::new())?;
    let mut shape = q_ty.shape.clone();
    shape[3] = v_ty.shape[3].clone();
    let mut result = reshape(ctx, mixed, shape.clone())?;
    if is_flat {
        let perm = Attrs::new().with("perm", vec![0_i64, 2, 1, 3]);
        result = ctx.push(&TRANSPOSE, &[result], perm)?;
        let width = shape[1].clone() * shape[3].clone();
        result = reshape(ctx, result, vec![shape[0].clone(), shape[2].clone(), width])?;
    }
    shape[3] = extents.keys;
    let noted = reshape(ctx, noted, shape)?;
    let mut results = vec![result, key, value, noted];
    results.truncate(ctx.num_outputs().max(1));
    Ok(results)
}

/// Heads `[B, heads, ..]` as `[B, key heads, queries each, ..]`, where they differ in number.
fn grouped(
    ctx: &mut RowCtx<'_, '_>,
    value: ValueId,
    extents: &Extents,
    is_query: bool,
) -> Result<ValueId, RowError> {
    if extents.group.is(1) {
        return Ok(value);
    }
    let mut shape = ctx.ty(value)?.shape;
    let group = if is_query {
        extents.group.clone()
    } else {
        Dim::new(1)
    };
    shape.splice(1..2, [extents.kv_heads.clone(), group]);
    reshape(ctx, value, shape)
}

/// A mask as something to add to scores: for a bool one 0 where it is true, else minus infinity.
fn mask_scores(
    ctx: &mut RowCtx<'_, '_>,
    mask: ValueId,
    dtype: DType,
    extents: &Extents,
) -> Result<ValueId, RowError> {
    let ty = ctx.ty(mask)?;
    let mut mask = mask;
    if ty.dtype == DType::Bool {
        let (zero, never) = (
            ctx.scalar(dtype, 0.0)?,
            ctx.scalar(dtype, f64::NEG_INFINITY)?,
        );
        mask = ctx.push(&SELECT, &[mask, zero, never], Attrs::new())?;
    }
    // Keys beyond the mask's end are not seen.
    let last = ty.shape.last().cloned().unwrap_or(Dim::new(1));
    let missing = extents.keys.clone() - last.clone();
    if !last.is(1) && missing.as_const().is_some_and(|missing| missing > 0) {
        let mut pads = vec![Dim::new(0); 2 * ty.rank()];
        pads[2 * ty.rank() - 1] = missing;
        let never = ctx.scalar(dtype, f64::NEG_INFINITY)?;
        mask = ctx.push(&PAD, &[mask, never], Attrs::new().with("pads", pads))?;
    }
    if extents.group.is(1) || ty.rank() < 3 {
        return Ok(mask);
    }
    let mut shape = ctx.ty(mask)?.shape;
    let heads = ty.rank() - 3;
    let split = match shape[heads].is(1) {
        true => [Dim::new(1), Dim::new(1)],
        false => [extents.kv_heads.clone(), extents.group.clone()],
    };
    shape.splice(heads..=heads, split);
    reshape(ctx, mask, shape)
}

/// What bounds the keys that a query sees.
struct Limits {
    /// Keys before the first query's own.
    past: Dim,
    /// Keys that count, for each sequence.
    lengths: Option<ValueId>,
}

/// Positions `0..extent` along an axis counted from the end.
fn positions(
    ctx: &mut RowCtx<'_, '_>,
    extent: &Dim,
    axes_after: usize,
) -> Result<ValueId, RowError> {
    let (zero, one) = (
        ctx.constant(Tensor::scalar(0_i64)),
        ctx.constant(Tensor::scalar(1_i64)),
    );
    let count = Attrs::new().with("count", vec![extent.clone()]);
    let line = ctx.push(&RANGE, &[zero, one], count)?;
    let mut shape = vec![extent.clone()];
    shape.resize(1 + axes_after, Dim::new(1));
    reshape(ctx, line, shape)
}

/// A dim as an `i64` scalar.
fn dim(ctx: &mut RowCtx<'_, '_>, value: Dim) -> Result<ValueId, RowError> {
    let attrs = Attrs::new()
        .with("values", vec![value])
        .with("scalar", true);
    ctx.push(&DIMS, &[], attrs)
}

/// Takes scores of keys that a query must not see to minus infinity.
fn limit(
    ctx: &mut RowCtx<'_, '_>,
    scores: ValueId,
    dtype: DType,
    extents: &Extents,
    limits: &Limits,
) -> Result<ValueId, RowError> {
    let mut scores = scores;
    let rank = ctx.rank(scores)?;
    let never = ctx.scalar(dtype, f64::NEG_INFINITY)?;
    let mut first = dim(ctx, limits.past.clone())?;
    if let Some(lengths) = limits.lengths {
        let batch = ctx.ty(lengths)?.num_elements();
        let mut shape = vec![Dim::new(1); rank];
        shape[0] = batch;
        let lengths = ctx.push(&CAST, &[lengths], Attrs::new().with("to", DType::I64))?;
        let lengths = reshape(ctx, lengths, shape)?;
        let keys = positions(ctx, &extents.keys, 0)?;
        let beyond = ctx.push(&GE, &[keys, lengths], Attrs::new())?;
        scores = ctx.push(&SELECT, &[beyond, never, scores], Attrs::new())?;
        let back = dim(ctx, Dim::new(0) - extents.queries.clone())?;
        first = ctx.push(&ADD, &[lengths, back], Attrs::new())?;
    }
    let (left, right) = (
        ctx.int_or("left_window_size", -1),
        ctx.int_or("right_window_size", -1),
    );
    let right = match (ctx.flag("is_causal", false), right) {
        (true, _) => 0,
        (false, right) => right,
    };
    if left < 0 && right < 0 {
        return Ok(scores);
    }
    let queries = positions(ctx, &extents.queries, 1)?;
    let own = ctx.push(&ADD, &[queries, first], Attrs::new())?;
    let keys = positions(ctx, &extents.keys, 0)?;
    if right >= 0 {
        let last = offset(ctx, own, right)?;
        let seen = ctx.push(&GE, &[last, keys], Attrs::new())?;
        scores = ctx.push(&SELECT, &[seen, scores, never], Attrs::new())?;
    }
    if left >= 0 {
        let first = offset(ctx, own, -left)?;
        let seen = ctx.push(&GE, &[keys, first], Attrs::new())?;
        scores = ctx.push(&SELECT, &[seen, scores, never], Attrs::new())?;
    }
    Ok(scores)
}

/// Integers moved by a constant.
fn offset(ctx: &mut RowCtx<'_, '_>, value: ValueId, by: i64) -> Result<ValueId, RowError> {
    if by == 0 {
        return Ok(value);
    }
    let by = ctx.constant(Tensor::scalar(by));
    ctx.push(&ADD, &[value, by], Attrs::new())
}

/// `cap * tanh(scores / cap)`.
fn soft_capped(
    ctx: &mut RowCtx<'_, '_>,
    scores: ValueId,
    dtype: DType,
) -> Result<ValueId, RowError> {
    let cap = ctx.float_or("softcap", 0.0);
    if cap == 0.0 {
        return Ok(scores);
    }
    let cap = ctx.scalar(dtype, cap)?;
    let share = ctx.push(&DIV, &[scores, cap], Attrs::new())?;
    let bent = ctx.push(&TANH, &[share], Attrs::new())?;
    ctx.push(&MUL, &[bent, cap], Attrs::new())
}
