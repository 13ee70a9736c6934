//! `quantize_linear`: real numbers to the nearest step.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef, Traits,
};
use alula_kernel::Compute;
use alula_tensor::{DType, DTypeClass, MiniFloat, Scalar, ScalarOp, Tensor};

use super::{AXIS, BLOCK, check_scale, load_param, param_position, share};
use crate::points::points;

/// `y = saturate(round(x / scale) + zero_point)`, ties to even.
///
/// `dtype` is an integer type, or a narrow float: then `y = x / scale` rounded to it, saturating
/// to the greatest finite value unless `saturate` is false.
pub static QUANTIZE_LINEAR: OpDef = OpDef {
    name: "quantize_linear",
    summary: "y = saturate(round(x / scale) + zero_point), ties to even",
    operands: &["x", "scale", "zero_point?"],
    attrs: &[
        AXIS,
        BLOCK,
        AttrSpec::required("dtype", AttrKind::DType, "what is stored"),
        AttrSpec::bool(
            "saturate",
            true,
            "narrow floats saturate rather than overflow",
        ),
    ],
    traits: Traits::NONE,
    infer,
    eval,
    lowering: Lowering::Compute(lower),
    examples: &[
        "graph @e(%x: f32[2, 3], %z: u8[]) {
           %s = const f32[] [0.25]
           %y = quantize_linear %x, %s, %z {dtype = u8} return y: %y }",
        "graph @e(%x: f32[N, 3, 2], %z: i8[3]) {
           %s = const f32[3] [0.01, 0.5, 2.0]
           %y = quantize_linear %x, %s, %z {dtype = i8} return y: %y }",
        "graph @e(%x: f32[2, 5]) {
           %s = const f32[2, 3] [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
           %y = quantize_linear %x, %s {dtype = i4, block = 2} return y: %y }",
        "graph @e(%x: f16[4]) {
           %s = const f16[1] [0.001]
           %y = quantize_linear %x, %s {dtype = f8e4m3fn, axis = 0} return y: %y }",
        "graph @e(%x: f32[0, 2]) {
           %s = const f32[] [1.0]
           %y = quantize_linear %x, %s {dtype = i16} return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let numbers = [DTypeClass::Float, DTypeClass::Signed];
    ctx.expect_class(0, &numbers)?;
    ctx.expect_class(1, &[DTypeClass::Float])?;
    let dtype = ctx.attrs.dtype("dtype");
    let is_stored = dtype.is_integer() || (dtype.is_float() && MiniFloat::of(dtype).is_some());
    if !is_stored {
        return Err(InferError::BadAttr {
            name: "dtype".to_owned(),
            reason: format!("is {dtype}, must be an integer or a narrow float type"),
        });
    }
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

/// The greatest finite value of a narrow float type.
fn greatest_finite(dtype: DType) -> Option<f64> {
    let format = MiniFloat::of(dtype)?;
    Some(format.decode(format.encode(f64::MAX, true)))
}

/// The dtype in which the quotient is computed.
fn quotient_dtype(x: DType) -> DType {
    if x == DType::F64 {
        DType::F64
    } else {
        DType::F32
    }
}

pub(super) fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, scale) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let share = share(ctx.attrs, x.rank(), &scale.ty());
    let (scales, zeros) = (scale.to_f64s(), ctx.optional(2).map(Tensor::to_f64s));
    let dtype = ctx.attrs.dtype("dtype");
    let computed = quotient_dtype(x.dtype());
    let values: Vec<Scalar> = points(x.shape())
        .zip(x.to_f64s())
        .map(|(at, x)| {
            let k = param_position(&at, share, scale.shape());
            let quotient = Scalar::Float(x / scales[k]).cast(computed).to_f64();
            let zero = zeros.as_ref().map_or(0.0, |zeros| zeros[k]);
            match dtype.int_range() {
                Some((least, greatest)) => {
                    let steps = quotient.round_ties_even() + zero;
                    Scalar::Float(steps.clamp(least as f64, greatest as f64))
                }
                None => match greatest_finite(dtype).filter(|_| ctx.attrs.bool("saturate")) {
                    Some(most) if !quotient.is_nan() => {
                        Scalar::Float((quotient + zero).clamp(-most, most))
                    }
                    _ => Scalar::Float(quotient + zero),
                },
            }
        })
        .collect();
    Ok(vec![ctx.result(dtype, x.shape(), &values)?])
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let (x, scale, result) = (ctx.tensor(0), ctx.tensor(1), ctx.result(0));
    let share = share(ctx.attrs, x.rank(), scale);
    let computed = quotient_dtype(x.dtype);
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let value = c.load_broadcast(0);
    let value = c.pool.cast(value, computed);
    let scale = load_param(&mut c, 1, share);
    let scale = c.pool.cast(scale, computed);
    let mut value = c.pool.div(value, scale);
    // The cast to integers saturates by itself.
    let range = match result.dtype.int_range() {
        Some(_) => {
            value = c.pool.unary(ScalarOp::Round, value);
            None
        }
        None => greatest_finite(result.dtype)
            .filter(|_| ctx.attrs.bool("saturate"))
            .map(|most| (-most, most)),
    };
    if ctx.has(2) {
        let zero = load_param(&mut c, 2, share);
        let zero = c.pool.cast(zero, computed);
        value = c.pool.add(value, zero);
    }
    if let Some((least, greatest)) = range {
        let (least, greatest) = (
            c.pool.float(computed, least),
            c.pool.float(computed, greatest),
        );
        value = c.pool.apply(ScalarOp::Max, &[value, least]);
        value = c.pool.apply(ScalarOp::Min, &[value, greatest]);
    }
    Ok(vec![c.finish(value)])
}
