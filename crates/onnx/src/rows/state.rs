//! Operators of models that run token by token: what they keep is an operand and a result.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::CONV;
use alula_ops::elementwise::activation::SILU;
use alula_ops::elementwise::arithmetic::FLOORMOD;
use alula_ops::indexing::SCATTER_ELEMENTS;
use alula_ops::shape::PAD;
use alula_tensor::{DType, Dim};

use super::compose::{Value, one_of};
use super::shape::normal_axis;
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("CausalConvWithState", &[27], &["activation"], causal_conv),
    row("TensorScatter", &[24], &["axis", "mode"], tensor_scatter),
    row(
        "RotaryEmbedding",
        &[23],
        &["interleaved", "num_heads", "rotary_embedding_dim"],
        rotary_embedding,
    ),
    row("SwiGLU", &[28], &["alpha"], |ctx| {
        let (gate, linear) = (ctx.input(0)?, ctx.input(1)?);
        let (ty, other) = (ctx.ty(gate)?, ctx.ty(linear)?);
        let differ = || RowError::Invalid(format!("{ty} and {other} differ in shape"));
        if ty.rank() != other.rank() {
            return Err(differ());
        }
        let who = ctx.name().to_owned();
        for (extent, other) in ty.shape.iter().zip(&other.shape) {
            let required = ctx.graph().require(extent.clone(), other.clone(), &who);
            required.map_err(|_| differ())?;
        }
        let attrs = Attrs::new().with("alpha", ctx.float_or("alpha", 1.0));
        let gate = ctx.push(&SILU, &[gate], attrs)?;
        Ok(vec![ctx.mul(gate, linear)?])
    }),
];

/// Each channel convolved with its own filter over what is before it; the state is what comes
/// before the first element.
fn causal_conv(ctx: &mut RowCtx<'_, '_>) -> Built {
    let activation = ctx.str_or("activation", "none");
    let activation = one_of("activation", &activation, &["none", "silu", "swish"])?;
    let (x, weight) = (ctx.input(0)?, ctx.input(1)?);
    let (ty, filter) = (ctx.ty(x)?, ctx.ty(weight)?);
    if ty.rank() != 3 || filter.rank() != 3 {
        return Err(RowError::Invalid(format!("{ty} and filter {filter}")));
    }
    let Some(channels) = filter.shape[0].as_const() else {
        return Err(RowError::Unsupported(format!(
            "channels that are not known: {filter}"
        )));
    };
    let kept = filter.shape[2].clone() - Dim::new(1);
    let zero = Dim::new(0);
    let extended = match ctx.optional(3) {
        Some(past) => ctx.join(&[past, x], 2)?,
        None => {
            let mut pads = vec![zero; 6];
            pads[2] = kept.clone();
            ctx.push(&PAD, &[x], Attrs::new().with("pads", pads))?
        }
    };
    let attrs = Attrs::new().with("group", channels);
    let name = ctx.name().to_owned();
    let operands = [Some(extended), Some(weight), ctx.optional(2)];
    let mut y = ctx.graph().push(&CONV, &operands, attrs, &name)?[0];
    if activation > 0 {
        y = ctx.push(&SILU, &[y], Attrs::new())?;
    }
    let length = ty.shape[2].clone();
    let state = ctx.part(extended, 2, length.clone(), length + kept)?;
    Ok(vec![y, state])
}

fn tensor_scatter(ctx: &mut RowCtx<'_, '_>) -> Built {
    let mode = ctx.str_or("mode", "linear");
    let is_circular = one_of("mode", &mode, &["linear", "circular"])? == 1;
    let (cache, update) = (ctx.input(0)?, ctx.input(1)?);
    let (ty, part) = (ctx.ty(cache)?, ctx.ty(update)?);
    let axis = normal_axis(ctx.int_or("axis", -2), ty.rank())?;
    if axis == 0 || part.rank() != ty.rank() {
        return Err(RowError::Invalid(format!(
            "{part} into {ty} along axis {axis}"
        )));
    }
    let along = |count: Dim, axis: usize| {
        let mut shape = vec![Dim::new(1); ty.rank()];
        shape[axis] = count;
        shape
    };
    let length = part.shape[axis].clone();
    let steps = ctx.iota(DType::I64, length.clone())?;
    let mut places = ctx.view(steps, along(length, axis))?;
    ctx.need_rank(2, 1)?;
    if let Some(begins) = ctx.optional(2) {
        let begins = ctx.cast(begins, DType::I64)?;
        let begins = ctx.view(begins, along(ty.shape[0].clone(), 0))?;
        places = ctx.add(begins, places)?;
    }
    if is_circular {
        let extent = ctx.dim(ty.shape[axis].clone())?;
        places = ctx.op(&FLOORMOD, &[places, extent])?;
    }
    let places = ctx.expand(places, part.shape)?;
    let attrs = Attrs::new().with("axis", axis as i64);
    Ok(vec![ctx.push(
        &SCATTER_ELEMENTS,
        &[cache, places, update],
        attrs,
    )?])
}

/// How to rotate pairs of elements of `[batch, sequence, heads, size]` or, with heads first, of
/// `[batch, heads, sequence, size]`.
pub(super) struct Rotation {
    /// Heads come before the sequence.
    pub(super) heads_first: bool,
    /// Pairs are neighbours, else of both halves.
    pub(super) interleaved: bool,
    /// Elements that are rotated; the others stay.
    pub(super) rotated: Dim,
}

/// The rotation of `x` by angles whose cosines and sines are `[batch, sequence, rotated / 2]`.
pub(super) fn rotate(
    ctx: &mut RowCtx<'_, '_>,
    x: ValueId,
    (cos, sin): (ValueId, ValueId),
    how: &Rotation,
) -> Value {
    let ty = ctx.ty(x)?;
    let heads = if how.heads_first { 1 } else { 2 };
    let (cos, sin) = (ctx.unsqueeze(cos, heads)?, ctx.unsqueeze(sin, heads)?);
    let size = ty.shape[3].clone();
    let half = how.rotated.floor_div(&Dim::new(2));
    let zero = Dim::new(0);
    let turned = match how.rotated == size {
        true => x,
        false => ctx.part(x, 3, zero.clone(), how.rotated.clone())?,
    };
    let (a, b) = match how.interleaved {
        true => (ctx.every(turned, 3, 0, 2)?, ctx.every(turned, 3, 1, 2)?),
        false => (
            ctx.part(turned, 3, zero, half.clone())?,
            ctx.part(turned, 3, half, how.rotated.clone())?,
        ),
    };
    let (ac, bs) = (ctx.mul(a, cos)?, ctx.mul(b, sin)?);
    let (as_, bc) = (ctx.mul(a, sin)?, ctx.mul(b, cos)?);
    let (real, imaginary) = (ctx.sub(ac, bs)?, ctx.add(as_, bc)?);
    let mut y = match how.interleaved {
        true => {
            let pair = [ctx.unsqueeze(real, 4)?, ctx.unsqueeze(imaginary, 4)?];
            let pairs = ctx.join(&pair, 4)?;
            let mut shape = ty.shape.clone();
            shape[3] = how.rotated.clone();
            ctx.view(pairs, shape)?
        }
        false => ctx.join(&[real, imaginary], 3)?,
    };
    if how.rotated != size {
        let rest = ctx.part(x, 3, how.rotated.clone(), size)?;
        y = ctx.join(&[y, rest], 3)?;
    }
    Ok(y)
}

fn rotary_embedding(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (mut x, mut cos, mut sin) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let ty = ctx.ty(x)?;
    let heads_first = match ty.rank() {
        4 => true,
        3 => {
            let heads = ctx.int("num_heads").filter(|heads| *heads > 0);
            let heads = heads
                .ok_or_else(|| RowError::Invalid(format!("{ty} needs attribute num_heads")))?;
            let size = ty.shape[2].floor_div(&Dim::new(heads));
            let [batch, length] = [ty.shape[0].clone(), ty.shape[1].clone()];
            x = ctx.view(x, vec![batch, length, Dim::new(heads), size])?;
            false
        }
        _ => return Err(RowError::Invalid(format!("{ty} has not 3 or 4 axes"))),
    };
    if let Some(positions) = ctx.optional(3) {
        ctx.demand_within(positions, cos, 0)?;
        cos = ctx.gather(cos, positions, 0)?;
        sin = ctx.gather(sin, positions, 0)?;
    }
    if ctx.rank(cos)? != 3 || ctx.rank(sin)? != 3 {
        return Err(RowError::Invalid(
            "cosines and sines are not given for each position".to_owned(),
        ));
    }
    let size = ctx.ty(x)?.shape[3].clone();
    let how = Rotation {
        heads_first,
        interleaved: ctx.flag("interleaved", false),
        rotated: match ctx.int_or("rotary_embedding_dim", 0) {
            0 => size,
            rotated => Dim::new(rotated),
        },
    };
    let y = rotate(ctx, x, (cos, sin), &how)?;
    Ok(vec![ctx.view(y, ty.shape)?])
}
