//! `layer_norm` and `rms_norm`: each run of trailing axes scaled by its own statistics.

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx, LowerError,
    Lowering, OpDef, Traits,
};
use alula_kernel::{Compute, ExprId, FoldOp, VarId};
use alula_tensor::{DType, DTypeClass, Dim, Scalar, Tensor};

use super::{axis, check_epsilon, inverse_deviation, mean_and_variance, statistics};
use crate::elementwise::{broadcast_shapes, broadcast_values};

const AXIS: AttrSpec = AttrSpec::int("axis", -1, "first of the normalized axes");
const EPSILON: AttrSpec = AttrSpec::float("epsilon", 1e-5, "added to the variance");

/// `y = (x - mean) / sqrt(variance + epsilon) * scale + bias`, statistics over the axes from
/// `axis` on.
///
/// `scale` and `bias` broadcast to `x`. Two more results, if asked for, are the mean and
/// `1 / sqrt(variance + epsilon)`, with extents 1 on the normalized axes, in the dtype that `x`
/// computes in (`f32`, or `f64` for `f64`).
pub static LAYER_NORM: OpDef = OpDef {
    name: "layer_norm",
    summary: "y = (x - mean) / sqrt(variance + epsilon) * scale + bias over trailing axes",
    operands: &["x", "scale?", "bias?"],
    attrs: &[AXIS, EPSILON],
    traits: Traits::NONE,
    infer: |ctx| infer(ctx, 3),
    eval: eval_layer,
    lowering: Lowering::Compute(lower_layer),
    examples: &[
        "graph @e(%x: f32[3, 8], %s: f32[8], %b: f32[8]) {
           %y = layer_norm %x, %s, %b return y: %y }",
        "graph @e(%x: f32[2, N, 4], %s: f32[N, 4]) {
           %y, %m, %d = layer_norm %x, %s {axis = 1, epsilon = 0.01}
           return y: %y, m: %m, d: %d }",
        "graph @e(%x: f16[2, 5], %s: f16[5]) {
           %y, %m = layer_norm %x, %s return y: %y, m: %m }",
        "graph @e(%x: f64[4, 1], %b: f64[1]) { %y = layer_norm %x, _, %b return y: %y }",
        "graph @e(%x: f32[0, 4], %s: f32[4]) { %y = layer_norm %x, %s return y: %y }",
    ],
};

/// `y = x / sqrt(mean(x^2) + epsilon) * scale`, the mean over the axes from `axis` on.
pub static RMS_NORM: OpDef = OpDef {
    name: "rms_norm",
    summary: "y = x / sqrt(mean of x^2 + epsilon) * scale over trailing axes",
    operands: &["x", "scale?"],
    attrs: &[AXIS, EPSILON],
    traits: Traits::NONE,
    infer: |ctx| infer(ctx, 1),
    eval: eval_rms,
    lowering: Lowering::Compute(lower_rms),
    examples: &[
        "graph @e(%x: f32[3, 8], %s: f32[8]) { %y = rms_norm %x, %s return y: %y }",
        "graph @e(%x: f16[N, 3, 4], %s: f16[3, 4]) {
           %y = rms_norm %x, %s {axis = 1} return y: %y }",
        "graph @e(%x: f64[2, 3]) { %y = rms_norm %x {axis = 0, epsilon = 0.0} return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>, most_results: usize) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_class(0, &[DTypeClass::Float])?;
    let x = ctx.tensor(0)?;
    let axis = ctx.axis(ctx.attrs.int("axis"), x.rank())?;
    check_epsilon(ctx.attrs)?;
    for operand in 1..ctx.len() {
        if !ctx.has(operand) {
            continue;
        }
        ctx.expect_same_dtype(0, operand)?;
        let ty = ctx.tensor(operand)?;
        // Symbolic extents are taken to be equal; each run checks what the lowering relies on.
        let differs = |(known, own): (&Dim, &Dim)| known != own && own.as_const().is_some();
        let joined = broadcast_shapes(&[&x.shape, &ty.shape])?;
        if ty.rank() > x.rank() || joined.iter().zip(&x.shape).any(differs) {
            return Err(InferError::Mismatch(format!(
                "{ty} does not broadcast to {x}"
            )));
        }
    }
    let mut statistic = x.shape.clone();
    statistic[axis..].fill(Dim::new(1));
    let mut results = vec![Inferred::tensor(dtype, x.shape.clone())];
    for _ in 1..ctx.results_wanted.min(most_results) {
        results.push(Inferred::tensor(dtype.compute(), statistic.clone()));
    }
    Ok(results)
}

/// Elements of an optional operand broadcast to the shape of `x`, or `otherwise`.
fn spread(
    ctx: &EvalCtx<'_>,
    operand: usize,
    x: &Tensor,
    otherwise: f64,
) -> Result<Vec<f64>, EvalError> {
    let Some(tensor) = ctx.optional(operand) else {
        return Ok(vec![otherwise; x.len()]);
    };
    let own = tensor.shape().iter().rev().zip(x.shape().iter().rev());
    if tensor.rank() > x.rank() || own.into_iter().any(|(own, to)| *own != 1 && own != to) {
        let (tensor, x) = (tensor.ty(), x.ty());
        return Err(EvalError::Value(format!(
            "{tensor} does not broadcast to {x}"
        )));
    }
    let values = broadcast_values(tensor, x.shape());
    Ok(values.into_iter().map(Scalar::to_f64).collect())
}

fn eval_layer(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let axis = axis(ctx.attrs, x.rank());
    let count: usize = x.shape()[axis..].iter().product();
    let (scale, bias) = (spread(ctx, 1, x, 1.0)?, spread(ctx, 2, x, 0.0)?);
    let (mut values, mut means, mut inverses) = (Vec::new(), Vec::new(), Vec::new());
    for (run, elements) in x.to_f64s().chunks(count.max(1)).enumerate() {
        let (mean, variance) = statistics(elements);
        let inverse = 1.0 / (variance + ctx.attrs.float("epsilon")).sqrt();
        means.push(Scalar::Float(mean));
        inverses.push(Scalar::Float(inverse));
        for (k, element) in elements.iter().enumerate() {
            let at = run * count + k;
            values.push(Scalar::Float(
                (element - mean) * inverse * scale[at] + bias[at],
            ));
        }
    }
    let mut statistic = x.shape().to_vec();
    statistic[axis..].fill(1);
    let stats_dtype = x.dtype().compute();
    let runs: usize = statistic.iter().product();
    let mut results = vec![ctx.result(x.dtype(), x.shape(), &values)?];
    for mut column in [means, inverses].into_iter().take(ctx.results.len() - 1) {
        column.resize(runs, Scalar::Float(f64::NAN));
        results.push(ctx.result(stats_dtype, &statistic, &column)?);
    }
    Ok(results)
}

fn eval_rms(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let axis = axis(ctx.attrs, x.rank());
    let count: usize = x.shape()[axis..].iter().product();
    let scale = spread(ctx, 1, x, 1.0)?;
    let mut values = Vec::new();
    for elements in x.to_f64s().chunks(count.max(1)) {
        let square = elements.iter().map(|x| x * x).sum::<f64>() / count as f64;
        let root = (square + ctx.attrs.float("epsilon")).sqrt();
        for element in elements {
            values.push(Scalar::Float(element / root * scale[values.len()]));
        }
    }
    Ok(vec![ctx.result(x.dtype(), x.shape(), &values)?])
}

/// Fresh variables over the normalized axes and the element there.
fn element(c: &mut Compute, axis: usize) -> (Vec<VarId>, ExprId) {
    let extents: Vec<Dim> = c.operands[0].shape.clone();
    let mut index = c.indices();
    let vars: Vec<VarId> = extents[axis..]
        .iter()
        .map(|e| c.pool.var(e.clone()))
        .collect();
    for (k, &var) in vars.iter().enumerate() {
        index[axis + k] = c.pool.var_expr(var);
    }
    let value = c.load(0, index);
    (vars, value)
}

fn lower_layer(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let axis = axis(ctx.attrs, ctx.tensor(0).rank());
    (0..ctx.results.len())
        .map(|position| {
            let result = ctx.result(position);
            let dtype: DType = result.dtype.compute();
            let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
            let (mean, variance) = mean_and_variance(&mut c, dtype, &|c| element(c, axis));
            if position == 1 {
                return Ok(c.finish(mean));
            }
            let inverse = inverse_deviation(&mut c, variance, dtype, ctx.attrs.float("epsilon"));
            if position == 2 {
                return Ok(c.finish(inverse));
            }
            let here = c.load_broadcast(0);
            let distance = c.pool.sub(here, mean);
            let mut value = c.pool.mul(distance, inverse);
            if ctx.has(1) {
                let scale = c.load_broadcast(ctx.present(1));
                value = c.pool.mul(value, scale);
            }
            if ctx.has(2) {
                let bias = c.load_broadcast(ctx.present(2));
                value = c.pool.add(value, bias);
            }
            Ok(c.finish(value))
        })
        .collect()
}

fn lower_rms(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let result = ctx.result(0);
    let axis = axis(ctx.attrs, result.rank());
    let dtype = result.dtype.compute();
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let (vars, value) = element(&mut c, axis);
    let count = vars.iter().map(|&var| c.pool.extent(var).clone()).product();
    let count = c.pool.dim(count);
    let count = c.pool.cast(count, dtype);
    let square = c.pool.mul(value, value);
    let sum = c.pool.fold(FoldOp::Add, vars, square);
    let mean = c.pool.div(sum, count);
    let inverse = inverse_deviation(&mut c, mean, dtype, ctx.attrs.float("epsilon"));
    let here = c.load_broadcast(0);
    let mut value = c.pool.mul(here, inverse);
    if ctx.has(1) {
        let scale = c.load_broadcast(1);
        value = c.pool.mul(value, scale);
    }
    Ok(vec![c.finish(value)])
}
