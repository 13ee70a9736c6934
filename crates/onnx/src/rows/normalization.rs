//! Normalizations.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{ADD, DIV, MUL, SQRT, SUB};
use alula_ops::elementwise::choice::CAST;
use alula_ops::normalization::{
    BATCH_NORM, GROUP_NORM, HARDMAX, INSTANCE_NORM, LAYER_NORM, LOG_SOFTMAX, LP_NORMALIZATION, LRN,
    RMS_NORM, SOFTMAX,
};
use alula_ops::reduce::REDUCE_MEAN;
use alula_ops::shape::EXPAND;
use alula_tensor::{DType, Dim};

use super::contraction::reshape;
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("Softmax", &[1, 11, 13], &["axis"], |ctx| {
        along_axis(ctx, &SOFTMAX)
    }),
    row("LogSoftmax", &[1, 11, 13], &["axis"], |ctx| {
        along_axis(ctx, &LOG_SOFTMAX)
    }),
    row("Hardmax", &[1, 11, 13], &["axis"], |ctx| {
        along_axis(ctx, &HARDMAX)
    }),
    row(
        "LayerNormalization",
        &[17],
        &["axis", "epsilon", "stash_type"],
        layer_norm,
    ),
    row(
        "RMSNormalization",
        &[23],
        &["axis", "epsilon", "stash_type"],
        |ctx| {
            let attrs = trailing(ctx)?;
            let (x, scale) = (ctx.input(0)?, ctx.input(1)?);
            Ok(vec![ctx.push(&RMS_NORM, &[x, scale], attrs)?])
        },
    ),
    row(
        "BatchNormalization",
        &[1, 6, 7, 9, 14, 15],
        &[
            "consumed_inputs",
            "epsilon",
            "is_test",
            "momentum",
            "spatial",
            "training_mode",
        ],
        batch_norm,
    ),
    row(
        "InstanceNormalization",
        &[1, 6, 22],
        &["consumed_inputs", "epsilon"],
        |ctx| {
            let attrs = Attrs::new().with("epsilon", ctx.float_or("epsilon", 1e-5));
            let operands = ctx.all_inputs()?;
            Ok(vec![ctx.push(&INSTANCE_NORM, &operands, attrs)?])
        },
    ),
    row(
        "GroupNormalization",
        &[18, 21],
        &["epsilon", "num_groups", "stash_type"],
        group_norm,
    ),
    row("LpNormalization", &[1, 22], &["axis", "p"], |ctx| {
        let attrs = Attrs::new()
            .with("axis", ctx.int_or("axis", -1))
            .with("p", ctx.int_or("p", 2));
        let x = ctx.input(0)?;
        Ok(vec![ctx.push(&LP_NORMALIZATION, &[x], attrs)?])
    }),
    row(
        "MeanVarianceNormalization",
        &[9, 13],
        &["axes"],
        mean_variance,
    ),
    row("LRN", &[1, 13], &["alpha", "beta", "bias", "size"], |ctx| {
        let size = ctx.int("size");
        let size = size.ok_or_else(|| RowError::Invalid("attribute size is absent".to_owned()))?;
        let attrs = Attrs::new()
            .with("alpha", ctx.float_or("alpha", 1e-4))
            .with("beta", ctx.float_or("beta", 0.75))
            .with("bias", ctx.float_or("bias", 1.0))
            .with("size", size);
        let x = ctx.input(0)?;
        Ok(vec![ctx.push(&LRN, &[x], attrs)?])
    }),
];

/// An axis attribute counted from the front.
fn front_axis(axis: i64, rank: usize) -> Result<usize, RowError> {
    let normal = if axis < 0 {
        axis.saturating_add(rank as i64)
    } else {
        axis
    };
    usize::try_from(normal)
        .ok()
        .filter(|axis| *axis <= rank)
        .ok_or_else(|| RowError::Invalid(format!("axis {axis} is out of range for rank {rank}")))
}

/// Softmax and its kin: along one axis since version 13, before that over all axes from one on.
fn along_axis(ctx: &mut RowCtx<'_, '_>, op: &'static alula_ir::OpDef) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    if ctx.version >= 13 {
        let attrs = Attrs::new().with("axis", ctx.int_or("axis", -1));
        return Ok(vec![ctx.push(op, &[x], attrs)?]);
    }
    let axis = front_axis(ctx.int_or("axis", 1), ty.rank())?;
    if axis + 1 == ty.rank() {
        return Ok(vec![ctx.push(
            op,
            &[x],
            Attrs::new().with("axis", axis as i64),
        )?]);
    }
    let product = |dims: &[Dim]| dims.iter().cloned().product::<Dim>();
    let flat = vec![product(&ty.shape[..axis]), product(&ty.shape[axis..])];
    let flat = reshape(ctx, x, flat)?;
    let value = ctx.push(op, &[flat], Attrs::new().with("axis", 1_i64))?;
    Ok(vec![reshape(ctx, value, ty.shape)?])
}

/// Attributes of a norm over trailing axes; its statistics are kept in `f32`.
fn trailing(ctx: &RowCtx<'_, '_>) -> Result<Attrs, RowError> {
    stash_type(ctx)?;
    Ok(Attrs::new()
        .with("axis", ctx.int_or("axis", -1))
        .with("epsilon", ctx.float_or("epsilon", 1e-5)))
}

/// Statistics are computed in `f32` at least, which is as precise as any type asked for.
fn stash_type(ctx: &RowCtx<'_, '_>) -> Result<DType, RowError> {
    match ctx.dtype("stash_type")?.unwrap_or(DType::F32) {
        dtype @ (DType::F32 | DType::F16 | DType::BF16) => Ok(dtype),
        other => Err(RowError::Unsupported(format!(
            "attribute stash_type is {other}"
        ))),
    }
}

fn layer_norm(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let dtype = ctx.ty(x)?.dtype;
    let stash = stash_type(ctx)?;
    let attrs = trailing(ctx)?;
    let operands = [Some(x), ctx.optional(1), ctx.optional(2)];
    let mut results = ctx.push_all(&LAYER_NORM, &operands, attrs)?;
    for statistic in &mut results[1..] {
        if stash != dtype.compute() {
            *statistic = ctx.push(&CAST, &[*statistic], Attrs::new().with("to", stash))?;
        }
    }
    Ok(results)
}

fn batch_norm(ctx: &mut RowCtx<'_, '_>) -> Built {
    if !ctx.flag("spatial", true) {
        return Err(RowError::Unsupported("attribute spatial is 0".to_owned()));
    }
    if ctx.version < 7 && !ctx.flag("is_test", false) {
        return Err(RowError::Unsupported(
            "normalization in training mode, attribute is_test is 0".to_owned(),
        ));
    }
    if ctx.flag("training_mode", false) {
        return batch_norm_in_training(ctx);
    }
    if (1..ctx.num_outputs()).any(|output| ctx.wants(output)) {
        return Err(RowError::Unsupported(
            "running statistics as outputs".to_owned(),
        ));
    }
    // The momentum is that of training.
    let attrs = Attrs::new().with("epsilon", ctx.float_or("epsilon", 1e-5));
    let operands = ctx.all_inputs()?;
    Ok(vec![ctx.push(&BATCH_NORM, &operands, attrs)?])
}

/// Statistics are those of the batch; the running ones are moved towards them.
fn batch_norm_in_training(ctx: &mut RowCtx<'_, '_>) -> Built {
    let [x, scale, bias, mean, variance] = {
        let inputs = ctx.all_inputs()?;
        <[ValueId; 5]>::try_from(inputs)
            .map_err(|inputs| RowError::Invalid(format!("{} inputs, not 5", inputs.len())))?
    };
    ctx.need_rank(3, 1)?;
    ctx.need_rank(4, 1)?;
    let rank = ctx.rank(x)? as i64;
    let axes: Vec<i64> = (0..rank).filter(|axis| *axis != 1).collect();
    let over = |keepdims: bool| {
        Attrs::new()
            .with("axes", axes.clone())
            .with("keepdims", keepdims)
    };
    let none = Attrs::new;
    let here = ctx.push(&REDUCE_MEAN, &[x], over(true))?;
    let distance = ctx.push(&SUB, &[x, here], none())?;
    let square = ctx.push(&MUL, &[distance, distance], none())?;
    let spread = ctx.push(&REDUCE_MEAN, &[square], over(false))?;
    let here = ctx.push(&REDUCE_MEAN, &[x], over(false))?;
    let dtype = ctx.ty(mean)?.dtype;
    let to = || Attrs::new().with("to", dtype);
    let here = ctx.push(&CAST, &[here], to())?;
    let spread = ctx.push(&CAST, &[spread], to())?;
    let attrs = Attrs::new().with("epsilon", ctx.float_or("epsilon", 1e-5));
    let mut results = vec![ctx.push(&BATCH_NORM, &[x, scale, bias, here, spread], attrs)?];
    let momentum = ctx.float_or("momentum", 0.9);
    let (kept, taken) = (
        ctx.scalar(dtype, momentum)?,
        ctx.scalar(dtype, 1.0 - momentum)?,
    );
    for (running, now) in [(mean, here), (variance, spread)] {
        let old = ctx.push(&MUL, &[running, kept], none())?;
        let new = ctx.push(&MUL, &[now, taken], none())?;
        results.push(ctx.push(&ADD, &[old, new], none())?);
    }
    if (3..ctx.num_outputs()).any(|output| ctx.wants(output)) {
        return Err(RowError::Unsupported(
            "saved statistics as outputs".to_owned(),
        ));
    }
    results.truncate(ctx.num_outputs().max(1));
    Ok(results)
}

/// `(x - mean) / (deviation + 1e-9)`, the variance as the mean of squares less the square of the
/// mean.
fn mean_variance(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let axes = ctx.ints("axes").unwrap_or_else(|| vec![0, 2, 3]);
    let over = || {
        Attrs::new()
            .with("axes", axes.clone())
            .with("keepdims", true)
    };
    let none = Attrs::new;
    let mean = ctx.push(&REDUCE_MEAN, &[x], over())?;
    let square_of_mean = ctx.push(&MUL, &[mean, mean], none())?;
    let square = ctx.push(&MUL, &[x, x], none())?;
    let mean_of_square = ctx.push(&REDUCE_MEAN, &[square], over())?;
    let variance = ctx.push(&SUB, &[mean_of_square, square_of_mean], none())?;
    let deviation = ctx.push(&SQRT, &[variance], none())?;
    let dtype = ctx.ty(x)?.dtype;
    let small = ctx.scalar(dtype, 1e-9)?;
    let below = ctx.push(&ADD, &[deviation, small], none())?;
    let distance = ctx.push(&SUB, &[x, mean], none())?;
    Ok(vec![ctx.push(&DIV, &[distance, below], none())?])
}

/// Before version 21, scale and bias are given for each group rather than each channel.
fn group_norm(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, mut scale, mut bias) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    stash_type(ctx)?;
    let groups = ctx
        .int("num_groups")
        .ok_or_else(|| RowError::Invalid("attribute num_groups is absent".to_owned()))?;
    let ty = ctx.ty(x)?;
    if ty.rank() < 2 || groups < 1 {
        return Err(RowError::Invalid(format!(
            "{groups} groups of the channels of {ty}"
        )));
    }
    if ctx.version < 21 {
        let channels = ty.shape[1].clone();
        scale = per_channel(ctx, scale, groups, &channels)?;
        bias = per_channel(ctx, bias, groups, &channels)?;
    }
    let attrs = Attrs::new()
        .with("groups", groups)
        .with("epsilon", ctx.float_or("epsilon", 1e-5));
    Ok(vec![ctx.push(&GROUP_NORM, &[x, scale, bias], attrs)?])
}

fn per_channel(
    ctx: &mut RowCtx<'_, '_>,
    value: ValueId,
    groups: i64,
    channels: &Dim,
) -> Result<ValueId, RowError> {
    let groups = Dim::new(groups);
    let of_group = channels.floor_div(&groups);
    let column = reshape(ctx, value, vec![groups.clone(), Dim::new(1)])?;
    let to = Attrs::new().with("to", vec![groups, of_group]);
    let repeated = ctx.push(&EXPAND, &[column], to)?;
    reshape(ctx, repeated, vec![channels.clone()])
}
