//! `Attention` and `QAttention` of `com.microsoft`: queries, keys and values are one product of the
//! input with weights that lie side by side.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::MATMUL;
use alula_ops::elementwise::arithmetic::{EQ, GE, LT, OR};
use alula_ops::normalization::SOFTMAX;
use alula_tensor::{DType, Dim};

use super::compose::Value;
use super::microsoft::real_product;
use super::{Built, Row, RowCtx, RowError, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "Attention",
        &[
            "do_rotary",
            "mask_filter_value",
            "num_heads",
            "past_present_share_buffer",
            "qkv_hidden_sizes",
            "rotary_embedding_dim",
            "scale",
            "unidirectional",
        ],
        |ctx| {
            let (x, weights) = (ctx.input(0)?, ctx.input(1)?);
            if ctx.optional(6).is_some() {
                let reason = "input past_sequence_length of a shared buffer";
                return Err(RowError::Unsupported(reason.to_owned()));
            }
            let mut product = ctx.op(&MATMUL, &[x, weights])?;
            if let Some(bias) = ctx.optional(2) {
                product = ctx.add(product, bias)?;
            }
            attention(
                ctx,
                product,
                &Places {
                    mask: 3,
                    past: 4,
                    bias: Some(5),
                },
            )
        },
    ),
    row(
        "QAttention",
        &[
            "do_rotary",
            "mask_filter_value",
            "num_heads",
            "past_present_share_buffer",
            "scale",
            "unidirectional",
        ],
        |ctx| {
            let (x, weights, bias) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
            let (x_scale, w_scale) = (ctx.input(3)?, ctx.input(4)?);
            let scale = ctx.mul(x_scale, w_scale)?;
            let zeros = [ctx.optional(6), ctx.optional(7)];
            let product = real_product(ctx, [x, weights], zeros, scale)?;
            let product = ctx.add(product, bias)?;
            attention(
                ctx,
                product,
                &Places {
                    mask: 5,
                    past: 8,
                    bias: None,
                },
            )
        },
    ),
];

/// Which inputs are what.
struct Places {
    mask: usize,
    past: usize,
    bias: Option<usize>,
}

/// The number of heads that an attribute says.
pub(super) fn heads(ctx: &RowCtx<'_, '_>, name: &str) -> Result<i64, RowError> {
    let heads = ctx.int(name).filter(|heads| *heads > 0);
    heads.ok_or_else(|| RowError::Invalid(format!("attribute {name} must be positive")))
}

/// `[batch, length, heads * size]` as `[batch, heads, length, size]`.
fn by_head(ctx: &mut RowCtx<'_, '_>, x: ValueId, heads: i64) -> Value {
    let shape = ctx.ty(x)?.shape;
    let size = shape[2].floor_div(&Dim::new(heads));
    let to = vec![shape[0].clone(), shape[1].clone(), Dim::new(heads), size];
    let x = ctx.view(x, to)?;
    ctx.permute(x, &[0, 2, 1, 3])
}

/// The factor of scores: the attribute, or one over the root of a head's size.
pub(super) fn scale_of(ctx: &RowCtx<'_, '_>, size: &Dim) -> Result<f64, RowError> {
    match (ctx.float_or("scale", 0.0), size.as_const()) {
        (0.0, Some(size)) => Ok(1.0 / (size as f64).sqrt()),
        (0.0, None) => Err(RowError::Unsupported(format!("heads of {size} elements"))),
        (scale, _) => Ok(scale),
    }
}

/// Attention of `[batch, length, widths of queries, keys and values]`.
fn attention(ctx: &mut RowCtx<'_, '_>, product: ValueId, places: &Places) -> Built {
    for name in [
        "do_rotary",
        "past_present_share_buffer",
        "rotary_embedding_dim",
    ] {
        if ctx.int_or(name, 0) != 0 {
            let given = ctx.int_or(name, 0);
            return Err(RowError::Unsupported(format!(
                "attribute {name} is {given}"
            )));
        }
    }
    let count = heads(ctx, "num_heads")?;
    let ty = ctx.ty(product)?;
    if ty.rank() != 3 {
        return Err(RowError::Invalid(format!(
            "a product {ty} has not three axes"
        )));
    }
    let [batch, length, width] = [0, 1, 2].map(|axis| ty.shape[axis].clone());
    let widths = widths(ctx, &width, count)?;
    let mut parts = Vec::new();
    let mut begin = Dim::new(0);
    for own in &widths {
        let end = begin + own.clone();
        let part = ctx.part(product, 2, end.clone() - own.clone(), end.clone())?;
        parts.push(by_head(ctx, part, count)?);
        begin = end;
    }
    let (q, mut k, mut v) = (parts[0], parts[1], parts[2]);
    if let Some(past) = ctx.optional(places.past) {
        ctx.need_rank(places.past, 5)?;
        for (own, at) in [(&mut k, 0), (&mut v, 1)] {
            let before = ctx.part(past, 0, Dim::new(at), Dim::new(at + 1))?;
            let to = ctx.ty(before)?.shape[1..].to_vec();
            let before = ctx.view(before, to)?;
            *own = ctx.join(&[before, *own], 2)?;
        }
    }
    let (q_ty, k_ty) = (ctx.ty(q)?, ctx.ty(k)?);
    let keys = k_ty.shape[2].clone();
    let scale = scale_of(ctx, &q_ty.shape[3])?;
    let scores = ctx.push(&MATMUL, &[q, k], Attrs::new().with("transpose_b", true))?;
    let mut scores = ctx.times(scores, scale)?;
    if ctx.flag("unidirectional", false) {
        scores = causal(ctx, scores, [&length, &keys])?;
    }
    if let Some(mask) = ctx.optional(places.mask) {
        scores = masked(ctx, scores, mask, [&batch, &length, &keys])?;
    }
    if let Some(bias) = places.bias.and_then(|bias| ctx.optional(bias)) {
        scores = ctx.add(scores, bias)?;
    }
    let weights = ctx.push(&SOFTMAX, &[scores], Attrs::new().with("axis", -1_i64))?;
    let mixed = ctx.op(&MATMUL, &[weights, v])?;
    let mixed = ctx.permute(mixed, &[0, 2, 1, 3])?;
    let y = ctx.view(mixed, vec![batch, length, widths[2].clone()])?;
    if !ctx.wants(1) {
        return Ok(vec![y]);
    }
    if ctx.ty(v)?.shape[3] != k_ty.shape[3] {
        let reason = "keys and values of other widths as one output";
        return Err(RowError::Invalid(reason.to_owned()));
    }
    let both = [ctx.unsqueeze(k, 0)?, ctx.unsqueeze(v, 0)?];
    Ok(vec![y, ctx.join(&both, 0)?])
}

/// Widths of queries, keys and values.
fn widths(ctx: &RowCtx<'_, '_>, width: &Dim, heads: i64) -> Result<[Dim; 3], RowError> {
    let Some(given) = ctx
        .ints("qkv_hidden_sizes")
        .filter(|given| !given.is_empty())
    else {
        let third = width.floor_div(&Dim::new(3));
        if width
            .as_const()
            .is_some_and(|width| width % (3 * heads) != 0)
        {
            return Err(RowError::Invalid(format!(
                "a width of {width} is not that of three times {heads} heads"
            )));
        }
        return Ok([third.clone(), third.clone(), third]);
    };
    let sum: i64 = given.iter().sum();
    let fits = given.len() == 3
        && given[0] == given[1]
        && given.iter().all(|own| *own > 0 && own % heads == 0)
        && width.as_const().is_none_or(|width| width == sum);
    match fits {
        true => Ok([0, 1, 2].map(|k| Dim::new(given[k]))),
        false => Err(RowError::Invalid(format!(
            "qkv_hidden_sizes {given:?} for a width of {width} and {heads} heads"
        ))),
    }
}

/// Scores of later keys taken to minus infinity: the last query is at the last key.
pub(super) fn causal(
    ctx: &mut RowCtx<'_, '_>,
    scores: ValueId,
    [queries, keys]: [&Dim; 2],
) -> Value {
    let row = ctx.iota(DType::I64, queries.clone())?;
    let row = ctx.view(row, vec![queries.clone(), Dim::new(1)])?;
    let before = ctx.dim(keys.clone() - queries.clone())?;
    let row = ctx.add(row, before)?;
    let column = ctx.iota(DType::I64, keys.clone())?;
    let seen = ctx.op(&GE, &[row, column])?;
    let never = ctx.number(scores, f64::NEG_INFINITY)?;
    ctx.select(seen, scores, never)
}

/// Scores of keys that a mask hides, less by `mask_filter_value`.
pub(super) fn masked(
    ctx: &mut RowCtx<'_, '_>,
    scores: ValueId,
    mask: ValueId,
    extents: [&Dim; 3],
) -> Value {
    let hidden = hidden(ctx, mask, extents)?;
    let filter = ctx.float_or("mask_filter_value", -10000.0);
    let (less, none) = (ctx.number(scores, filter)?, ctx.number(scores, 0.0)?);
    let offset = ctx.select(hidden, less, none)?;
    ctx.add(scores, offset)
}

/// What a mask hides, to go with scores: by key, by query and key, or by the ends (and then the
/// begins) of what counts in each sequence.
fn hidden(
    ctx: &mut RowCtx<'_, '_>,
    mask: ValueId,
    [batch, queries, keys]: [&Dim; 3],
) -> Result<ValueId, RowError> {
    let ty = ctx.ty(mask)?;
    let one = Dim::new(1);
    let zero = ctx.number(mask, 0.0)?;
    match ty.shape.as_slice() {
        [_, _] => {
            let hidden = ctx.op(&EQ, &[mask, zero])?;
            let to = vec![batch.clone(), one.clone(), one, keys.clone()];
            ctx.view(hidden, to)
        }
        [_, _, _] => {
            let hidden = ctx.op(&EQ, &[mask, zero])?;
            let to = vec![batch.clone(), one, queries.clone(), keys.clone()];
            ctx.view(hidden, to)
        }
        [count] => {
            let has_begins = *count == batch.clone() * Dim::new(2) && !batch.is(0);
            if !has_begins {
                // Where it cannot be told, there is one end for each sequence.
                let who = ctx.name().to_owned();
                let required = ctx.graph().require(count.clone(), batch.clone(), &who);
                required.map_err(|_| {
                    RowError::Unsupported(format!("mask {ty} for a batch of {batch}"))
                })?;
            }
            let at = ctx.iota(ty.dtype, keys.clone())?;
            let to = vec![batch.clone(), one.clone(), one.clone(), one];
            let ends = ctx.part(mask, 0, Dim::new(0), batch.clone())?;
            let ends = ctx.view(ends, to.clone())?;
            let mut hidden = ctx.op(&GE, &[at, ends])?;
            if has_begins {
                let begins = ctx.part(mask, 0, batch.clone(), count.clone())?;
                let begins = ctx.view(begins, to)?;
                let before = ctx.op(&LT, &[at, begins])?;
                hidden = ctx.op(&OR, &[hidden, before])?;
            }
            Ok(hidden)
        }
        _ => Err(RowError::Unsupported(format!("mask {ty}"))),
    }
}
