//! `requantize`: sums of products of steps to steps of another scale.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef, Traits,
};
use alula_kernel::Compute;
use alula_tensor::{DType, Scalar, ScalarOp, Tensor};

use super::{AXIS, BLOCK, byte_result, check_scale, load_param, param_position, saturated, share};
use crate::points::points;

/// `y = saturate(round(f32(x) * scale) + zero_point)`, ties to even, in `f32`.
///
/// `scale` is what one step of `x` is in steps of `y`: for the sums of a quantized convolution the
/// product of the operands' scales over the result's. The conversion of `x`, the product and the
/// rounding are each rounded once, so that every target gives the same steps.
pub static REQUANTIZE: OpDef = OpDef {
    name: "requantize",
    summary: "y = saturate(round(f32(x) * scale) + zero_point), ties to even",
    operands: &["x", "scale", "zero_point?"],
    attrs: &[
        AXIS,
        BLOCK,
        AttrSpec::required("dtype", AttrKind::DType, "what is stored"),
    ],
    traits: Traits::NONE,
    infer,
    eval,
    lowering: Lowering::Compute(lower),
    examples: &[
        "graph @e(%x: i32[2, 3], %z: u8[]) {
           %s = const f32[] [0.125]
           %y = requantize %x, %s, %z {dtype = u8} return y: %y }",
        "graph @e(%x: i32[N, 3, 2], %z: i8[3]) {
           %s = const f32[3] [0.01, 0.5, 2.0]
           %y = requantize %x, %s, %z {dtype = i8} return y: %y }",
        "graph @e(%x: i32[4]) {
           %s = const f32[1] [0.5]
           %y = requantize %x, %s {dtype = u8, axis = 0} return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let (x, scale) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if x.dtype != DType::I32 || scale.dtype != DType::F32 {
        return Err(InferError::Mismatch(format!(
            "{x} and {scale} must be i32 and f32"
        )));
    }
    let dtype = byte_result(ctx)?;
    if ctx.has(2) && ctx.tensor(2)?.dtype != dtype {
        return Err(InferError::BadDType {
            operand: 2,
            given: ctx.tensor(2)?.to_string(),
            wanted: dtype.to_string(),
        });
    }
    check_scale(ctx)?;
    Ok(vec![Inferred::tensor(dtype, ctx.tensor(0)?.shape.clone())])
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, scale) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let share = share(ctx.attrs, x.rank(), &scale.ty());
    let (scales, zeros) = (scale.to_f64s(), ctx.optional(2).map(Tensor::to_f64s));
    let dtype = ctx.attrs.dtype("dtype");
    let values: Vec<Scalar> = points(x.shape())
        .zip(x.to_f64s())
        .map(|(at, x)| {
            let k = param_position(&at, share, scale.shape());
            let product = x as f32 * scales[k] as f32;
            let zero = zeros.as_ref().map_or(0.0, |zeros| zeros[k]);
            let steps = f64::from(product.round_ties_even()) + zero;
            saturated(steps, dtype)
        })
        .collect();
    Ok(vec![ctx.result(dtype, x.shape(), &values)?])
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let (x, scale, result) = (ctx.tensor(0), ctx.tensor(1), ctx.result(0));
    let share = share(ctx.attrs, x.rank(), scale);
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let value = c.load_broadcast(0);
    let value = c.pool.cast(value, DType::F32);
    let scale = load_param(&mut c, 1, share);
    let value = c.pool.mul(value, scale);
    let mut value = c.pool.unary(ScalarOp::Round, value);
    if ctx.has(2) {
        let zero = load_param(&mut c, 2, share);
        let zero = c.pool.cast(zero, DType::F32);
        value = c.pool.add(value, zero);
    }
    // The cast of floats to integers saturates.
    Ok(vec![c.finish(value)])
}
