//! `lp_normalization`: each run along an axis divided by its norm.

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx, LowerError,
    Lowering, OpDef, Traits,
};
use alula_kernel::{Compute, FoldOp};
use alula_tensor::{DTypeClass, Scalar, ScalarOp};

use super::axis;
use crate::points::{points, ravel};
use crate::pooling::{power_of_magnitude, root};

/// `y = x / (sum |x|^p)^(1/p)` along an axis; 0 where the norm is 0.
pub static LP_NORMALIZATION: OpDef = OpDef {
    name: "lp_normalization",
    summary: "y = x / (sum of |x|^p)^(1/p) along an axis; 0 where the norm is 0",
    operands: &["x"],
    attrs: &[
        AttrSpec::int("axis", -1, "the axis, counted from the end if negative"),
        AttrSpec::int("p", 2, "the norm's exponent: 1 or 2"),
    ],
    traits: Traits::NONE,
    infer,
    eval,
    lowering: Lowering::Compute(lower),
    examples: &[
        "graph @e(%x: f32[3, 4]) { %y = lp_normalization %x return y: %y }",
        "graph @e(%x: f64[2, N, 3]) { %y = lp_normalization %x {axis = 1, p = 1} return y: %y }",
        "graph @e() { %x = const f16[2] [0.0, 0.0] %y = lp_normalization %x return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_class(0, &[DTypeClass::Float])?;
    let x = ctx.tensor(0)?;
    ctx.axis(ctx.attrs.int("axis"), x.rank())?;
    let p = ctx.attrs.int("p");
    if p != 1 && p != 2 {
        return Err(InferError::BadAttr {
            name: "p".to_owned(),
            reason: format!("is {p}, must be 1 or 2"),
        });
    }
    Ok(vec![Inferred::tensor(dtype, x.shape.clone())])
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let (axis, p) = (axis(ctx.attrs, x.rank()), ctx.attrs.int("p") as f64);
    let xs = x.to_f64s();
    let values: Vec<Scalar> = points(x.shape())
        .zip(&xs)
        .map(|(mut at, value)| {
            let mut sum = 0.0;
            for k in 0..x.shape()[axis] {
                at[axis] = k;
                sum += xs[ravel(&at, x.shape())].abs().powf(p);
            }
            Scalar::Float(if sum == 0.0 {
                0.0
            } else {
                value / sum.powf(1.0 / p)
            })
        })
        .collect();
    Ok(vec![ctx.result(x.dtype(), x.shape(), &values)?])
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let result = ctx.result(0);
    let dtype = result.dtype.compute();
    let axis = axis(ctx.attrs, result.rank());
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let mut index = c.indices();
    let var = c.pool.var(result.shape[axis].clone());
    index[axis] = c.pool.var_expr(var);
    let value = c.load(0, index);
    let p = ctx.attrs.int("p");
    let power = power_of_magnitude(&mut c, value, dtype, p);
    let sum = c.pool.fold(FoldOp::Add, vec![var], power);
    let norm = root(&mut c, sum, dtype, p);
    let here = c.load_broadcast(0);
    let share = c.pool.div(here, norm);
    let zero = c.pool.float(dtype, 0.0);
    let nothing = c.pool.apply(ScalarOp::Eq, &[norm, zero]);
    let value = c.pool.select(nothing, zero, share);
    Ok(vec![c.finish(value)])
}
