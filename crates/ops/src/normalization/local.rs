//! `lrn`: local response normalization across channels.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef, Traits,
};
use alula_kernel::{Compute, FoldOp};
use alula_tensor::{DTypeClass, Scalar, ScalarOp};

use crate::points::{points, ravel_inside};

/// `y = x / (bias + alpha / size * sum of x^2 over size neighbouring channels)^beta`.
///
/// The channels of `c` are those from `c - (size - 1) / 2` (rounded down) on, as far as they exist.
pub static LRN: OpDef = OpDef {
    name: "lrn",
    summary: "y = x / (bias + alpha / size * sum of x^2 over neighbouring channels)^beta",
    operands: &["x"],
    attrs: &[
        AttrSpec::required("size", AttrKind::Int, "number of channels"),
        AttrSpec::float("alpha", 0.0001, "scale of the sum"),
        AttrSpec::float("beta", 0.75, "exponent"),
        AttrSpec::float("bias", 1.0, "added to the sum"),
    ],
    traits: Traits::NONE,
    infer,
    eval,
    lowering: Lowering::Compute(lower),
    examples: &[
        "graph @e(%x: f32[2, 5, 3, 2]) { %y = lrn %x {size = 3, alpha = 0.1} return y: %y }",
        "graph @e(%x: f16[N, 4, 2]) {
           %y = lrn %x {size = 4, alpha = 1.0, beta = 0.5, bias = 2.0} return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_class(0, &[DTypeClass::Float])?;
    let (x, size) = (ctx.tensor(0)?, ctx.attrs.int("size"));
    if x.rank() < 2 || size < 1 {
        return Err(InferError::Mismatch(format!(
            "{size} neighbouring channels of {x}: needs a channel axis and a positive size"
        )));
    }
    Ok(vec![Inferred::tensor(dtype, x.shape.clone())])
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let xs = x.to_f64s();
    let size = ctx.attrs.int("size");
    let [alpha, beta, bias] = ["alpha", "beta", "bias"].map(|name| ctx.attrs.float(name));
    let values: Vec<Scalar> = points(x.shape())
        .zip(&xs)
        .map(|(at, value)| {
            let sum: f64 = (0..size)
                .filter_map(|k| {
                    let mut from: Vec<i64> = at.iter().map(|&i| i as i64).collect();
                    from[1] += k - (size - 1) / 2;
                    ravel_inside(&from, x.shape())
                })
                .map(|position| xs[position] * xs[position])
                .sum();
            Scalar::Float(value / (bias + alpha / size as f64 * sum).powf(beta))
        })
        .collect();
    Ok(vec![ctx.result(x.dtype(), x.shape(), &values)?])
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let result = ctx.result(0);
    let dtype = result.dtype.compute();
    let size = ctx.attrs.int("size");
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let mut index = c.indices();
    let var = c.pool.var(size);
    let (tap, first) = (c.pool.var_expr(var), c.pool.int(-((size - 1) / 2)));
    let offset = c.pool.add(tap, first);
    index[1] = c.pool.add(index[1], offset);
    let zero = c.pool.float(dtype, 0.0);
    let neighbour = c.load_padded(0, index, &[1], zero);
    let square = c.pool.mul(neighbour, neighbour);
    let sum = c.pool.fold(FoldOp::Add, vec![var], square);
    let x = c.load_broadcast(0);
    let pool = &mut c.pool;
    let alpha = pool.float(dtype, ctx.attrs.float("alpha") / size as f64);
    let (beta, bias) = (
        pool.float(dtype, ctx.attrs.float("beta")),
        pool.float(dtype, ctx.attrs.float("bias")),
    );
    let scaled = pool.mul(alpha, sum);
    let base = pool.add(bias, scaled);
    let power = pool.apply(ScalarOp::Pow, &[base, beta]);
    let value = pool.div(x, power);
    Ok(vec![c.finish(value)])
}
