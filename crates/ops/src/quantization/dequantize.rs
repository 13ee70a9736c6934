//! `dequantize_linear`: steps back to real numbers.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef, Traits,
};
use alula_kernel::Compute;
use alula_tensor::{DType, Scalar, Tensor};

use super::{AXIS, BLOCK, check_scale, load_param, param_position, share};
use crate::points::points;

/// `y = (x - zero_point) * scale`, in the dtype of the scale or in `dtype`.
pub static DEQUANTIZE_LINEAR: OpDef = OpDef {
    name: "dequantize_linear",
    summary: "y = (x - zero_point) * scale",
    operands: &["x", "scale", "zero_point?"],
    attrs: &[
        AXIS,
        BLOCK,
        AttrSpec::optional(
            "dtype",
            AttrKind::DType,
            "of the result; absent means the scale's",
        ),
    ],
    traits: Traits::NONE,
    infer,
    eval,
    lowering: Lowering::Compute(lower),
    examples: &[
        "graph @e(%x: u8[2, 3], %z: u8[]) {
           %s = const f32[] [0.25]
           %y = dequantize_linear %x, %s, %z return y: %y }",
        "graph @e(%x: i8[N, 3, 2], %z: i8[3]) {
           %s = const f32[3] [0.01, 0.5, 2.0]
           %y = dequantize_linear %x, %s, %z return y: %y }",
        "graph @e(%x: i4[5, 2], %s: f16[3, 2], %z: i4[3, 2]) {
           %y = dequantize_linear %x, %s, %z {axis = 0, block = 2} return y: %y }",
        "graph @e(%x: i32[4], %s: f32[1]) {
           %y = dequantize_linear %x, %s {dtype = f16, axis = 0} return y: %y }",
        "graph @e(%x: f8e5m2[4], %s: f32[]) {
           %y = dequantize_linear %x, %s return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let (x, scale) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if !(x.dtype.is_integer() || x.dtype.is_float()) || !scale.dtype.is_float() {
        return Err(InferError::Mismatch(format!(
            "{x} cannot be scaled by {scale}"
        )));
    }
    if ctx.has(2) {
        ctx.expect_same_dtype(0, 2)?;
    }
    check_scale(ctx)?;
    let dtype = match ctx.attrs.has("dtype") {
        true => ctx.attrs.dtype("dtype"),
        false => scale.dtype,
    };
    if !dtype.is_float() {
        return Err(InferError::BadAttr {
            name: "dtype".to_owned(),
            reason: format!("is {dtype}, must be a float type"),
        });
    }
    Ok(vec![Inferred::tensor(dtype, x.shape.clone())])
}

pub(super) fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, scale) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let share = share(ctx.attrs, x.rank(), &scale.ty());
    let (scales, zeros) = (scale.to_f64s(), ctx.optional(2).map(Tensor::to_f64s));
    let dtype = match ctx.attrs.has("dtype") {
        true => ctx.attrs.dtype("dtype"),
        false => scale.dtype(),
    };
    let values: Vec<Scalar> = points(x.shape())
        .zip(x.to_f64s())
        .map(|(at, x)| {
            let k = param_position(&at, share, scale.shape());
            let zero = zeros.as_ref().map_or(0.0, |zeros| zeros[k]);
            Scalar::Float((x - zero) * scales[k])
        })
        .collect();
    Ok(vec![ctx.result(dtype, x.shape(), &values)?])
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let (x, scale, result) = (ctx.tensor(0), ctx.tensor(1), ctx.result(0));
    let share = share(ctx.attrs, x.rank(), scale);
    let computed = scale.dtype.compute();
    // Differences of narrow integers are exact in i32, those of floats in the compute dtype.
    let difference = match x.dtype.int_range() {
        Some((least, greatest)) if least >= -(1 << 30) && greatest < 1 << 30 => DType::I32,
        Some(_) => DType::I64,
        None => computed,
    };
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let mut value = c.load_broadcast(0);
    if ctx.has(2) {
        value = c.pool.cast(value, difference);
        let zero = load_param(&mut c, 2, share);
        let zero = c.pool.cast(zero, difference);
        value = c.pool.sub(value, zero);
    }
    let value = c.pool.cast(value, computed);
    let scale = load_param(&mut c, 1, share);
    let value = c.pool.mul(value, scale);
    Ok(vec![c.finish(value)])
}
