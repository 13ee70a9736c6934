//! `com.microsoft` operators of image models: with channels last, and a bias with what follows it.

use alula_ir::{Attrs, ValueId};
use alula_ops::contraction::CONV;
use alula_ops::elementwise::activation::{GELU, SILU};
use alula_ops::normalization::{GROUP_NORM, SOFTMAX};
use alula_ops::pooling::MAX_POOL;
use alula_tensor::Dim;

use super::contraction::{CONV_ATTRS, conv_attrs};
use super::fused::{FUSED_CONV_ATTRS, activated};
use super::pooling::pool_attrs;
use super::sampling::{channels_last, channels_second};
use super::shape::normal_axis;
use super::{Built, Row, RowCtx, RowError, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "NhwcMaxPool",
        &[
            "auto_pad",
            "ceil_mode",
            "dilations",
            "kernel_shape",
            "pads",
            "strides",
        ],
        |ctx| {
            let x = ctx.input(0)?;
            let x = channels_second(ctx, x)?;
            let attrs = pool_attrs(ctx, x)?;
            let y = ctx.push(&MAX_POOL, &[x], attrs)?;
            Ok(vec![channels_last(ctx, y)?])
        },
    ),
    row("NhwcConv", CONV_ATTRS, |ctx| {
        let y = conv(ctx)?;
        Ok(vec![channels_last(ctx, y)?])
    }),
    row("NhwcFusedConv", FUSED_CONV_ATTRS, |ctx| {
        let y = conv(ctx)?;
        let mut y = channels_last(ctx, y)?;
        if let Some(more) = ctx.optional(3) {
            y = ctx.add(y, more)?;
        }
        let numbers = ctx.floats("activation_params").unwrap_or_default();
        let numbers = [0, 1].map(|k| numbers.get(k).copied());
        Ok(vec![activated(ctx, y, &numbers)?])
    }),
    row(
        "GroupNorm",
        &["activation", "channels_last", "epsilon", "groups"],
        |ctx| {
            let x = ctx.input(0)?;
            Ok(vec![group_norm(ctx, x)?])
        },
    ),
    row(
        "SkipGroupNorm",
        &["activation", "channels_last", "epsilon", "groups"],
        skip_group_norm,
    ),
    row("BiasAdd", &[], |ctx| {
        let (x, bias, skip) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
        let sum = ctx.add(x, bias)?;
        Ok(vec![ctx.add(sum, skip)?])
    }),
    row("BiasSplitGelu", &[], |ctx| {
        let (x, bias) = (ctx.input(0)?, ctx.input(1)?);
        let sum = ctx.add(x, bias)?;
        let ty = ctx.ty(sum)?;
        let Some(last) = ty.rank().checked_sub(1) else {
            return Err(RowError::Invalid(format!("{ty} has no last axis")));
        };
        let width = ty.shape[last].clone();
        let half = width.floor_div(&Dim::new(2));
        let left = ctx.part(sum, last, Dim::new(0), half.clone())?;
        let right = ctx.part(sum, last, half, width)?;
        let gate = ctx.op(&GELU, &[right])?;
        Ok(vec![ctx.mul(left, gate)?])
    }),
    row("BiasSoftmax", &["axis", "is_inner_broadcast"], bias_softmax),
];

/// A convolution of an input with its channels last, whose result has them second.
fn conv(ctx: &mut RowCtx<'_, '_>) -> Result<ValueId, RowError> {
    let (x, w) = (ctx.input(0)?, ctx.input(1)?);
    let x = channels_second(ctx, x)?;
    let attrs = conv_attrs(ctx, x, w)?;
    let operands = [Some(x), Some(w), ctx.optional(2)];
    let name = ctx.name().to_owned();
    Ok(ctx.graph().push(&CONV, &operands, attrs, &name)?[0])
}

/// The norm of `x` by groups of channels, and SiLU where `activation` asks for it.
fn group_norm(ctx: &mut RowCtx<'_, '_>, x: ValueId) -> Result<ValueId, RowError> {
    let groups = ctx
        .int("groups")
        .filter(|groups| *groups > 0)
        .ok_or_else(|| RowError::Invalid("attribute groups must be positive".to_owned()))?;
    let is_silu = match ctx.int("activation") {
        Some(0) => false,
        Some(1) => true,
        other => {
            return Err(RowError::Invalid(format!(
                "attribute activation is {other:?}, neither 0 nor 1"
            )));
        }
    };
    let is_last = ctx.flag("channels_last", true);
    let ty = ctx.ty(x)?;
    if ty.rank() != 4 {
        return Err(RowError::Invalid(format!("{ty} has not four axes")));
    }
    let (gamma, beta) = (ctx.input(1)?, ctx.input(2)?);
    let (gamma, beta) = (ctx.cast(gamma, ty.dtype)?, ctx.cast(beta, ty.dtype)?);
    let x = match is_last {
        true => channels_second(ctx, x)?,
        false => x,
    };
    let attrs = Attrs::new()
        .with("groups", groups)
        .with("epsilon", ctx.float_or("epsilon", 1e-5));
    let mut y = ctx.push(&GROUP_NORM, &[x, gamma, beta], attrs)?;
    if is_silu {
        y = ctx.op(&SILU, &[y])?;
    }
    match is_last {
        true => channels_last(ctx, y),
        false => Ok(y),
    }
}

/// The norm of `x + skip + bias`; the second result is the sum.
fn skip_group_norm(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, mut skip) = (ctx.input(0)?, ctx.input(3)?);
    let is_last = ctx.flag("channels_last", true);
    let of_channels = |shape: &[Dim]| match (is_last, shape) {
        (true, [batch, channels]) => Some(vec![
            batch.clone(),
            Dim::new(1),
            Dim::new(1),
            channels.clone(),
        ]),
        (false, [batch, channels]) => Some(vec![
            batch.clone(),
            channels.clone(),
            Dim::new(1),
            Dim::new(1),
        ]),
        _ => None,
    };
    if let Some(to) = of_channels(&ctx.ty(skip)?.shape) {
        skip = ctx.view(skip, to)?;
    }
    let mut sum = ctx.add(x, skip)?;
    if let Some(mut bias) = ctx.optional(4) {
        ctx.need_rank(4, 1)?;
        if !is_last {
            let channels = ctx.ty(bias)?.shape[0].clone();
            bias = ctx.view(bias, vec![channels, Dim::new(1), Dim::new(1)])?;
        }
        sum = ctx.add(sum, bias)?;
    }
    let mut results = vec![group_norm(ctx, sum)?, sum];
    results.truncate(ctx.num_outputs().max(1));
    Ok(results)
}

/// Softmax over all axes from one on of rows plus those of a bias. Of fewer rows of the bias each
/// stands for neighbouring ones, or all of them over and over.
fn bias_softmax(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, bias) = (ctx.input(0)?, ctx.input(1)?);
    let (ty, bias_ty) = (ctx.ty(x)?, ctx.ty(bias)?);
    let axis = normal_axis(ctx.int_or("axis", 1), ty.rank())?;
    let inner = ctx
        .int("is_inner_broadcast")
        .ok_or_else(|| RowError::Invalid("attribute is_inner_broadcast is absent".to_owned()))?;
    let misfit = || RowError::Invalid(format!("bias {bias_ty} for {ty} from axis {axis} on"));
    let kept = ty.rank() - axis;
    let front = bias_ty.rank().checked_sub(kept).ok_or_else(misfit)?;
    let who = ctx.name().to_owned();
    for (given, wanted) in bias_ty.shape[front..].iter().zip(&ty.shape[axis..]) {
        let required = ctx.graph().require(given.clone(), wanted.clone(), &who);
        required.map_err(|_| misfit())?;
    }
    let product = |dims: &[Dim]| dims.iter().cloned().product::<Dim>();
    let (rows, columns) = (product(&ty.shape[..axis]), product(&ty.shape[axis..]));
    let own = product(&bias_ty.shape[..front]);
    let times = match own.is(1) {
        true => rows.clone(),
        false => rows.floor_div(&own),
    };
    let required = ctx
        .graph()
        .require(times.clone() * own.clone(), rows.clone(), &who);
    required.map_err(|_| misfit())?;
    let (x_to, bias_to) = match inner != 0 {
        true => ([own.clone(), times], [own, Dim::new(1)]),
        false => ([times, own.clone()], [Dim::new(1), own]),
    };
    let with_columns = |[a, b]: [Dim; 2]| vec![a, b, columns.clone()];
    let x = ctx.view(x, with_columns(x_to))?;
    let bias = ctx.view(bias, with_columns(bias_to))?;
    let sum = ctx.add(x, bias)?;
    let y = ctx.push(&SOFTMAX, &[sum], Attrs::new().with("axis", 2_i64))?;
    Ok(vec![ctx.view(y, ty.shape)?])
}
