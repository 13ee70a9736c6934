//! `GroupQueryAttention` of `com.microsoft`: groups of queries share a key, and what was seen
//! before is kept in a buffer of which each sequence has filled its own part.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{AND, GE, GT, LT, MAX, MIN, OR};
use alula_ops::indexing::GATHER_ND;
use alula_ops::normalization::RMS_NORM;
use alula_tensor::{DType, Dim};

use super::compose::Value;
use super::group_scores::{attend, noted};
use super::heads::heads;
use super::shape::read_dim;
use super::state::{Rotation, rotate};
use super::{Built, Row, RowCtx, RowError, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "GroupQueryAttention",
    &[
        "causal",
        "do_rotary",
        "k_norm_epsilon",
        "k_quant_type",
        "kv_cache_bit_width",
        "kv_num_heads",
        "local_window_size",
        "num_heads",
        "q_norm_epsilon",
        "qk_norm_epsilon",
        "qk_output",
        "rotary_interleaved",
        "scale",
        "sliding_window_cache",
        "smooth_softmax",
        "softcap",
        "v_quant_type",
    ],
    group_query,
)];

/// Refuses what is not built here.
fn refuse(ctx: &RowCtx<'_, '_>) -> Result<(), RowError> {
    for name in ["kv_cache_bit_width", "sliding_window_cache"] {
        let given = ctx.int_or(name, 0);
        if given != 0 {
            return Err(RowError::Unsupported(format!(
                "attribute {name} is {given}"
            )));
        }
    }
    for name in ["k_quant_type", "v_quant_type"] {
        let given = ctx.str_or(name, "NONE");
        if given != "NONE" {
            return Err(RowError::Unsupported(format!(
                "attribute {name} is {given:?}"
            )));
        }
    }
    for (position, name) in [(12, "k_scale"), (13, "v_scale"), (16, "query_seqlens")] {
        if ctx.optional(position).is_some() {
            return Err(RowError::Unsupported(format!("input {position} ({name})")));
        }
    }
    match (ctx.int_or("qk_output", 0), ctx.wants(3)) {
        (0, false) | (1 | 2, true) => Ok(()),
        (given, is_wanted) => {
            let scores = if is_wanted { "are" } else { "are no" };
            let reason = format!("attribute qk_output is {given}, but scores {scores} an output");
            Err(RowError::Invalid(reason))
        }
    }
}

/// What the operands come to.
pub(super) struct Sizes {
    pub(super) batch: Dim,
    pub(super) length: Dim,
    pub(super) heads: i64,
    pub(super) kv_heads: i64,
    pub(super) size: Dim,
}

/// Queries `[batch, length, heads, size]`, and keys and values with heads of their own.
fn operands(ctx: &mut RowCtx<'_, '_>) -> Result<([ValueId; 3], Sizes), RowError> {
    let (heads, kv_heads) = (heads(ctx, "num_heads")?, heads(ctx, "kv_num_heads")?);
    if heads % kv_heads != 0 {
        return Err(RowError::Invalid(format!(
            "num_heads {heads} is no multiple of kv_num_heads {kv_heads}"
        )));
    }
    for position in 0..3 {
        ctx.need_rank(position, 3)?;
    }
    let q = ctx.input(0)?;
    let ty = ctx.ty(q)?;
    let [batch, length, width] = [0, 1, 2].map(|axis| ty.shape[axis].clone());
    let counts = [heads, kv_heads, kv_heads];
    let (parts, size) = match (ctx.optional(1), ctx.optional(2)) {
        (Some(k), Some(v)) => ([q, k, v], width.floor_div(&Dim::new(heads))),
        (None, None) => {
            let size = width.floor_div(&Dim::new(heads + 2 * kv_heads));
            let mut parts = [q; 3];
            let mut begin = Dim::new(0);
            for (part, count) in parts.iter_mut().zip(counts) {
                let end = begin.clone() + size.clone() * Dim::new(count);
                *part = ctx.part(q, 2, begin, end.clone())?;
                begin = end;
            }
            (parts, size)
        }
        _ => {
            let reason = "keys and values are given both or neither";
            return Err(RowError::Invalid(reason.to_owned()));
        }
    };
    let mut split = parts;
    for (part, count) in split.iter_mut().zip(counts) {
        let to = vec![batch.clone(), length.clone(), Dim::new(count), size.clone()];
        *part = ctx.view(*part, to)?;
    }
    let sizes = Sizes {
        batch,
        length,
        heads,
        kv_heads,
        size,
    };
    Ok((split, sizes))
}

/// Heads under a norm of their own, where weights are given.
fn normed(ctx: &mut RowCtx<'_, '_>, x: ValueId, position: usize, own: &str) -> Value {
    let Some(weight) = ctx.optional(position) else {
        return Ok(x);
    };
    let shared = ctx.float_or("qk_norm_epsilon", 1e-6);
    let attrs = Attrs::new()
        .with("axis", -1_i64)
        .with("epsilon", ctx.float_or(own, shared));
    ctx.push(&RMS_NORM, &[x, weight], attrs)
}

/// `x` turned by the angles of its places `[batch, length]`.
fn rotated(ctx: &mut RowCtx<'_, '_>, x: ValueId, places: ValueId) -> Value {
    let (cos, sin) = (ctx.input(7)?, ctx.input(8)?);
    ctx.need_rank(7, 2)?;
    ctx.need_rank(8, 2)?;
    let half = ctx.ty(cos)?.shape[1].clone();
    ctx.demand_within(places, cos, 0)?;
    let (cos, sin) = (ctx.gather(cos, places, 0)?, ctx.gather(sin, places, 0)?);
    let how = Rotation {
        heads_first: false,
        interleaved: ctx.flag("rotary_interleaved", false),
        rotated: half * Dim::new(2),
    };
    rotate(ctx, x, (cos, sin), &how)
}

/// How the buffer of keys and values is filled: tokens before this step `[batch, 1]`, the
/// buffer's length before, and after.
struct Filled {
    before: ValueId,
    past: Dim,
    total: Dim,
}

/// `[batch, total, heads, size]`: what the buffer held of each sequence, what comes now, and zeros.
fn present(
    ctx: &mut RowCtx<'_, '_>,
    past: Option<ValueId>,
    new: ValueId,
    filled: &Filled,
) -> Value {
    let Some(past) = past else {
        return Ok(new);
    };
    let shape = ctx.ty(new)?.shape;
    let past = ctx.permute(past, &[0, 2, 1, 3])?;
    let both = ctx.join(&[past, new], 1)?;
    let at = ctx.iota(DType::I64, filled.total.clone())?;
    let from_new = ctx.sub(at, filled.before)?;
    let (zero, last) = (
        ctx.number(at, 0.0)?,
        ctx.dim(shape[1].clone() - Dim::new(1))?,
    );
    let inside = ctx.op(&MAX, &[from_new, zero])?;
    let inside = ctx.op(&MIN, &[inside, last])?;
    let behind = ctx.dim(filled.past.clone())?;
    let moved = ctx.add(inside, behind)?;
    let is_old = ctx.op(&LT, &[at, filled.before])?;
    let index = ctx.select(is_old, at, moved)?;
    let index = ctx.unsqueeze(index, 2)?;
    let attrs = Attrs::new().with("batch_dims", 1_i64);
    let value = ctx.push(&GATHER_ND, &[both, index], attrs)?;
    let is_there = ctx.op(&GE, &[last, from_new])?;
    let to = vec![
        shape[0].clone(),
        filled.total.clone(),
        Dim::new(1),
        Dim::new(1),
    ];
    let is_there = ctx.view(is_there, to)?;
    let none = ctx.number(value, 0.0)?;
    ctx.select(is_there, value, none)
}

fn group_query(ctx: &mut RowCtx<'_, '_>) -> Built {
    refuse(ctx)?;
    let ([q, k, v], sizes) = operands(ctx)?;
    let (mut q, mut k) = (
        normed(ctx, q, 14, "q_norm_epsilon")?,
        normed(ctx, k, 15, "k_norm_epsilon")?,
    );
    if ctx.optional(14).is_some() != ctx.optional(15).is_some() {
        let reason = "q_norm_weight and k_norm_weight are given both or neither";
        return Err(RowError::Invalid(reason.to_owned()));
    }
    let (batch, length) = (sizes.batch.clone(), sizes.length.clone());
    let (past_k, past_v) = (ctx.optional(3), ctx.optional(4));
    ctx.need_rank(3, 4)?;
    ctx.need_rank(4, 4)?;
    if past_k.is_some() != past_v.is_some() {
        let reason = "past_key and past_value are given both or neither";
        return Err(RowError::Invalid(reason.to_owned()));
    }
    let given = ctx.input(6)?;
    let given = read_dim(ctx, given)?;
    let past = match past_k {
        Some(past) => ctx.ty(past)?.shape[2].clone(),
        None => Dim::new(0),
    };
    let total = match past_k {
        None => {
            let who = ctx.name().to_owned();
            let required = ctx.graph().require(given.clone(), length.clone(), &who);
            required.map_err(|_| {
                let reason = format!("total_sequence_length {given} of {length} tokens");
                RowError::Invalid(reason)
            })?;
            length.clone()
        }
        Some(_) if given == past.clone() + length.clone() => given.clone(),
        Some(_) => given.maximum(&past),
    };
    // Tokens of each sequence after this step, and before it.
    let ends = ctx.input(5)?;
    let ends = ctx.cast(ends, DType::I64)?;
    let ends = ctx.view(ends, vec![batch.clone(), Dim::new(1)])?;
    let ends = ctx.plus(ends, 1.0)?;
    let own = ctx.dim(length.clone())?;
    let before = ctx.sub(ends, own)?;
    let zero = ctx.number(before, 0.0)?;
    // Padded prompts have fewer tokens than the step, none of them before it.
    let before = ctx.op(&MAX, &[before, zero])?;
    let (held, room) = (ctx.dim(past.clone())?, ctx.dim(total.clone())?);
    let (early, late) = (ctx.op(&GT, &[before, held])?, ctx.op(&GT, &[ends, room])?);
    let wrong = ctx.op(&OR, &[early, late])?;
    ctx.refuse(wrong, "seqlens_k tells of more tokens than there are")?;
    let steps = ctx.iota(DType::I64, length.clone())?;
    let own = ctx.add(before, steps)?;
    if ctx.flag("do_rotary", false) {
        let places = match ctx.optional(9) {
            Some(places) => places,
            None => own,
        };
        q = rotated(ctx, q, places)?;
        k = rotated(ctx, k, places)?;
    }
    let filled = Filled {
        before,
        past,
        total: total.clone(),
    };
    let keys = present(ctx, past_k, k, &filled)?;
    let values = present(ctx, past_v, v, &filled)?;
    let keys = ctx.permute(keys, &[0, 2, 1, 3])?;
    let values = ctx.permute(values, &[0, 2, 1, 3])?;
    let q = ctx.permute(q, &[0, 2, 1, 3])?;
    let seen = seen(ctx, own, ends, &total)?;
    let totals = (&given, &total);
    let (y, scores) = attend(ctx, [q, keys, values], seen, totals, &sizes)?;
    let mut results = vec![y, keys, values];
    if ctx.wants(3) {
        results.push(noted(ctx, scores, [seen, ends], totals, &sizes)?);
    }
    results.truncate(ctx.num_outputs().max(1));
    Ok(results)
}

/// Which keys a query sees, `[batch, 1, 1, length, total]`, from its own place and the number of
/// tokens.
fn seen(ctx: &mut RowCtx<'_, '_>, own: ValueId, ends: ValueId, total: &Dim) -> Value {
    let at = ctx.iota(DType::I64, total.clone())?;
    let window = ctx.int_or("local_window_size", -1);
    let own = ctx.unsqueeze(own, 2)?;
    let mut seen = match ctx.int_or("causal", 1) {
        0 if window > 0 => {
            return Err(RowError::Invalid(format!(
                "local_window_size {window} without causal"
            )));
        }
        0 => {
            let ends = ctx.unsqueeze(ends, 2)?;
            ctx.op(&LT, &[at, ends])?
        }
        1 => ctx.op(&GE, &[own, at])?,
        other => {
            return Err(RowError::Invalid(format!(
                "attribute causal is {other}, neither 0 nor 1"
            )));
        }
    };
    if window > 0 {
        let first = ctx.plus(own, -(window as f64))?;
        let near = ctx.op(&GT, &[at, first])?;
        seen = ctx.op(&AND, &[seen, near])?;
    }
    let mut to = ctx.ty(seen)?.shape;
    to.splice(1..1, [Dim::new(1), Dim::new(1)]);
    ctx.view(seen, to)
}
