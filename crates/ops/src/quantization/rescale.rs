//! `rescale`: steps of one scale to steps of another, by an affine function for each channel.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef, Traits,
};
use alula_kernel::Compute;
use alula_tensor::{DType, Scalar, ScalarOp};

use super::{AXIS, BLOCK, byte_result, check_scale, load_param, param_position, saturated, share};
use crate::points::points;

/// `y = saturate(round(f32(x) * scale + offset))`, ties to even.
///
/// Product and sum are rounded at once or one after the other, as the target likes: who makes such
/// a node sees to it that steps come out the same.
pub static RESCALE: OpDef = OpDef {
    name: "rescale",
    summary: "y = saturate(round(f32(x) * scale + offset)), ties to even",
    operands: &["x", "scale", "offset"],
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
        "graph @e(%x: i8[2, 3]) {
           %s = const f32[] [0.125]
           %o = const f32[] [-3.0625]
           %y = rescale %x, %s, %o {dtype = u8} return y: %y }",
        "graph @e(%x: u8[N, 3, 2]) {
           %s = const f32[3] [0.125, 0.5, -2.0]
           %o = const f32[3] [3.0, -20.25, 100.0]
           %y = rescale %x, %s, %o {dtype = i8} return y: %y }",
        "graph @e(%x: u8[4]) {
           %s = const f32[1] [0.5]
           %o = const f32[1] [0.0]
           %y = rescale %x, %s, %o {dtype = u8, axis = 0} return y: %y }",
    ],
};

fn is_byte(dtype: DType) -> bool {
    matches!(dtype, DType::I8 | DType::U8)
}

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let (x, scale, offset) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.tensor(2)?);
    if !is_byte(x.dtype) || scale.dtype != DType::F32 || offset.dtype != DType::F32 {
        return Err(InferError::Mismatch(format!(
            "{x}, {scale} and {offset} must be bytes, f32 and f32"
        )));
    }
    let dtype = byte_result(ctx)?;
    check_scale(ctx)?;
    Ok(vec![Inferred::tensor(dtype, ctx.tensor(0)?.shape.clone())])
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, scale, offset) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.tensor(2)?);
    let share = share(ctx.attrs, x.rank(), &scale.ty());
    let (scales, offsets) = (scale.to_f64s(), offset.to_f64s());
    let dtype = ctx.attrs.dtype("dtype");
    let values: Vec<Scalar> = points(x.shape())
        .zip(x.to_f64s())
        .map(|(at, x)| {
            let k = param_position(&at, share, scale.shape());
            let value = (x as f32).mul_add(scales[k] as f32, offsets[k] as f32);
            saturated(f64::from(value.round_ties_even()), dtype)
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
    let offset = load_param(&mut c, 2, share);
    let value = c.pool.apply(ScalarOp::Fma, &[value, scale, offset]);
    let value = c.pool.unary(ScalarOp::Round, value);
    // The cast of floats to integers saturates.
    Ok(vec![c.finish(value)])
}
