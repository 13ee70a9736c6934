//! `batch_norm`, `instance_norm` and `group_norm`: scaling by channel.

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx, LowerError,
    Lowering, OpDef, Traits,
};
use alula_kernel::{Compute, ExprId, VarId};
use alula_tensor::{DTypeClass, Dim, Scalar, ScalarOp};

use super::{check_epsilon, inverse_deviation, mean_and_variance, statistics};
use crate::points::points;

const EPSILON: AttrSpec = AttrSpec::float("epsilon", 1e-5, "added to the variance");

/// `y[n, c, ..] = (x[n, c, ..] - mean[c]) / sqrt(variance[c] + epsilon) * scale[c] + bias[c]`.
///
/// The statistics are operands. An operand of rank 1 has one channel.
pub static BATCH_NORM: OpDef = OpDef {
    name: "batch_norm",
    summary: "y = (x - mean[c]) / sqrt(variance[c] + epsilon) * scale[c] + bias[c]",
    operands: &["x", "scale", "bias", "mean", "variance"],
    attrs: &[EPSILON],
    traits: Traits::NONE,
    infer: infer_batch,
    eval: eval_batch,
    lowering: Lowering::Compute(lower_batch),
    examples: &[
        "graph @e(%x: f32[2, 3, 4, 5], %s: f32[3], %b: f32[3], %m: f32[3], %w: f32[3]) {
           %v = abs %w %y = batch_norm %x, %s, %b, %m, %v return y: %y }",
        "graph @e(%x: f16[N, 3], %s: f16[3], %b: f16[3], %m: f32[3], %w: f32[3]) {
           %v = abs %w %y = batch_norm %x, %s, %b, %m, %v {epsilon = 0.01} return y: %y }",
        "graph @e(%x: f64[4], %s: f64[1], %b: f64[1], %m: f64[1], %w: f64[1]) {
           %v = abs %w %y = batch_norm %x, %s, %b, %m, %v return y: %y }",
    ],
};

/// `y = (x - mean) / sqrt(variance + epsilon) * scale[c] + bias[c]`, statistics over the spatial
/// axes of each batch and channel.
pub static INSTANCE_NORM: OpDef = OpDef {
    name: "instance_norm",
    summary: "y = (x - mean) / sqrt(variance + epsilon) * scale[c] + bias[c] over spatial axes",
    operands: &["x", "scale", "bias"],
    attrs: &[EPSILON],
    traits: Traits::NONE,
    infer: |ctx| infer_grouped(ctx, None),
    eval: |ctx| eval_grouped(ctx, None),
    lowering: Lowering::Compute(|ctx| lower_grouped(ctx, None)),
    examples: &[
        "graph @e(%x: f32[2, 3, 4, 5], %s: f32[3], %b: f32[3]) {
           %y = instance_norm %x, %s, %b return y: %y }",
        "graph @e(%x: f16[1, 2, S], %s: f16[2], %b: f16[2]) {
           %y = instance_norm %x, %s, %b {epsilon = 0.01} return y: %y }",
    ],
};

/// As [`INSTANCE_NORM`] with statistics over groups of neighbouring channels as well.
pub static GROUP_NORM: OpDef = OpDef {
    name: "group_norm",
    summary: "instance_norm with statistics over groups of channels",
    operands: &["x", "scale", "bias"],
    attrs: &[
        EPSILON,
        AttrSpec::required("groups", alula_ir::AttrKind::Int, "number of groups"),
    ],
    traits: Traits::NONE,
    infer: |ctx| infer_grouped(ctx, Some(ctx.attrs.int("groups"))),
    eval: |ctx| eval_grouped(ctx, Some(ctx.attrs.int("groups"))),
    lowering: Lowering::Compute(|ctx| lower_grouped(ctx, Some(ctx.attrs.int("groups")))),
    examples: &[
        "graph @e(%x: f32[2, 4, 3, 2], %s: f32[4], %b: f32[4]) {
           %y = group_norm %x, %s, %b {groups = 2} return y: %y }",
        "graph @e(%x: f64[N, 6, 5], %s: f64[6], %b: f64[6]) {
           %y = group_norm %x, %s, %b {groups = 6, epsilon = 0.1} return y: %y }",
    ],
};

/// The number of channels: axis 1, or 1 for rank 1.
fn channels(ctx: &InferCtx<'_>) -> Result<Dim, InferError> {
    let x = ctx.tensor(0)?;
    match x.rank() {
        0 => Err(InferError::Mismatch(format!("{x} has no channels"))),
        1 => Ok(Dim::new(1)),
        _ => Ok(x.shape[1].clone()),
    }
}

fn check_params(ctx: &InferCtx<'_>) -> Result<(), InferError> {
    let channels = channels(ctx)?;
    for position in 1..ctx.len() {
        ctx.expect_class(position, &[DTypeClass::Float])?;
        let ty = ctx.tensor(position)?;
        let fits = ty.rank() == 1
            && (ty.shape[0] == channels
                || ty.shape[0].as_const().is_none()
                || channels.as_const().is_none());
        if !fits {
            return Err(InferError::Mismatch(format!(
                "operand {position} is {ty}, must have one element for each of {channels} channels"
            )));
        }
    }
    check_epsilon(ctx.attrs)
}

fn infer_batch(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_class(0, &[DTypeClass::Float])?;
    check_params(ctx)?;
    Ok(vec![Inferred::tensor(dtype, ctx.tensor(0)?.shape.clone())])
}

fn infer_grouped(ctx: &mut InferCtx<'_>, groups: Option<i64>) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_class(0, &[DTypeClass::Float])?;
    check_params(ctx)?;
    let x = ctx.tensor(0)?;
    if x.rank() < 2 {
        return Err(InferError::Mismatch(format!("{x} has no channel axis")));
    }
    if let Some(groups) = groups
        && (groups < 1 || x.shape[1].as_const().is_some_and(|c| c % groups != 0))
    {
        return Err(InferError::Mismatch(format!(
            "{} channels of {x} do not split into {groups} groups",
            x.shape[1]
        )));
    }
    Ok(vec![Inferred::tensor(dtype, x.shape.clone())])
}

/// Extents that inference took to be equal may differ.
fn check_extents(ctx: &EvalCtx<'_>, channels: usize, groups: usize) -> Result<(), EvalError> {
    let x = ctx.tensor(0)?.ty();
    if groups == 0 || !channels.is_multiple_of(groups) {
        let reason = format!("{groups} groups of the channels of {x}");
        return Err(EvalError::Value(reason));
    }
    for position in 1..ctx.operands.len() {
        let count = ctx.tensor(position)?.len();
        if count != channels {
            let reason = format!("operand {position} has {count} elements for {x}");
            return Err(EvalError::Value(reason));
        }
    }
    Ok(())
}

fn eval_batch(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    check_extents(ctx, x.shape().get(1).copied().unwrap_or(1), 1)?;
    let params = (1..5)
        .map(|position| Ok(ctx.tensor(position)?.to_f64s()))
        .collect::<Result<Vec<_>, EvalError>>()?;
    let values: Vec<Scalar> = points(x.shape())
        .zip(x.to_f64s())
        .map(|(at, x)| {
            let channel = at.get(1).copied().unwrap_or(0);
            let [scale, bias, mean, variance] = [0, 1, 2, 3].map(|k| params[k][channel]);
            let deviation = (variance + ctx.attrs.float("epsilon")).sqrt();
            Scalar::Float((x - mean) / deviation * scale + bias)
        })
        .collect();
    Ok(vec![ctx.result(x.dtype(), x.shape(), &values)?])
}

fn eval_grouped(ctx: &EvalCtx<'_>, groups: Option<i64>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let (scale, bias) = (ctx.tensor(1)?.to_f64s(), ctx.tensor(2)?.to_f64s());
    let channels = x.shape()[1];
    let groups = groups.map_or(channels, |groups| groups as usize);
    check_extents(ctx, channels, groups.max(usize::from(channels == 0)))?;
    let spatial: usize = x.shape()[2..].iter().product();
    let run = channels / groups.max(1) * spatial;
    let mut values = Vec::new();
    for elements in x.to_f64s().chunks(run.max(1)) {
        let (mean, variance) = statistics(elements);
        for element in elements {
            let channel = values.len() / spatial % channels;
            let normal = (element - mean) / (variance + ctx.attrs.float("epsilon")).sqrt();
            values.push(Scalar::Float(normal * scale[channel] + bias[channel]));
        }
    }
    Ok(vec![ctx.result(x.dtype(), x.shape(), &values)?])
}

/// An element of a per-channel operand, in the compute dtype of the result.
fn param(c: &mut Compute, operand: usize, channel: ExprId) -> ExprId {
    let dtype = c.dtype.compute();
    let channel = if c.operands[operand].shape[0].is(1) {
        c.pool.int(0)
    } else {
        channel
    };
    let value = c.load(operand, vec![channel]);
    c.pool.cast(value, dtype)
}

fn lower_batch(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let result = ctx.result(0);
    let dtype = result.dtype.compute();
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let channel = match c.indices().get(1) {
        Some(&channel) => channel,
        None => c.pool.int(0),
    };
    let x = c.load_broadcast(0);
    let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|operand| param(&mut c, operand, channel));
    let inverse = inverse_deviation(&mut c, variance, dtype, ctx.attrs.float("epsilon"));
    let factor = c.pool.mul(scale, inverse);
    let distance = c.pool.sub(x, mean);
    let scaled = c.pool.mul(distance, factor);
    let value = c.pool.add(scaled, bias);
    Ok(vec![c.finish(value)])
}

fn lower_grouped(ctx: &LowerCtx<'_>, groups: Option<i64>) -> Result<Vec<Compute>, LowerError> {
    let result = ctx.result(0);
    let dtype = result.dtype.compute();
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let of_group = match groups {
        Some(groups) => result.shape[1].floor_div(&Dim::new(groups)),
        None => Dim::new(1),
    };
    let element = |c: &mut Compute| -> (Vec<VarId>, ExprId) {
        let mut index = c.indices();
        let inner = c.pool.var(of_group.clone());
        let size = c.pool.dim(of_group.clone());
        let group = c.pool.apply(ScalarOp::FloorDiv, &[index[1], size]);
        let first = c.pool.mul(group, size);
        let inner_index = c.pool.var_expr(inner);
        index[1] = c.pool.add(first, inner_index);
        let mut vars = vec![inner];
        for (at, axis) in index.iter_mut().zip(c.axes.clone()).skip(2) {
            let var = c.pool.var(axis.extent);
            *at = c.pool.var_expr(var);
            vars.push(var);
        }
        let value = c.load(0, index);
        (vars, value)
    };
    let (mean, variance) = mean_and_variance(&mut c, dtype, &element);
    let inverse = inverse_deviation(&mut c, variance, dtype, ctx.attrs.float("epsilon"));
    let channel = c.indices()[1];
    let x = c.load_broadcast(0);
    let (scale, bias) = (param(&mut c, 1, channel), param(&mut c, 2, channel));
    let distance = c.pool.sub(x, mean);
    let normal = c.pool.mul(distance, inverse);
    let scaled = c.pool.mul(normal, scale);
    let value = c.pool.add(scaled, bias);
    Ok(vec![c.finish(value)])
}
