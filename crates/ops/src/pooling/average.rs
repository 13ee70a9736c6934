//! `average_pool` and `lp_pool`: means and norms of windows.

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx, LowerError,
    Lowering, OpDef, Traits,
};
use alula_kernel::{Compute, ExprId, FoldOp};
use alula_tensor::{DType, DTypeClass, Dim, Scalar, ScalarOp};

use super::{CEIL_MODE, KERNEL, Sliding, Taps, pooled_shape, window};
use crate::points::{points, ravel_inside};
use crate::window::{DILATIONS, PADS, STRIDES, Window};

/// `y[n, c, o..]` is the mean of the elements of the window at `o`.
///
/// Padding is left out of the count, or counts as zeros with `count_include_pad`; what lies beyond
/// the padding (with `ceil_mode`) never counts.
pub static AVERAGE_POOL: OpDef = OpDef {
    name: "average_pool",
    summary: "y[n, c, o..] = mean over k.. of x[n, c, o*stride + k*dilation - pad..]",
    operands: &["x"],
    attrs: &[
        KERNEL,
        STRIDES,
        PADS,
        DILATIONS,
        CEIL_MODE,
        AttrSpec::bool("count_include_pad", false, "padding counts as zeros"),
    ],
    traits: Traits::NONE,
    infer,
    eval: eval_average,
    lowering: Lowering::Compute(lower_average),
    examples: &[
        "graph @e(%x: f32[1, 2, 7, 8]) {
           %y = average_pool %x {kernel = [3, 2], strides = [2, 2], pads = [1, 0, 1, 0]}
           return y: %y }",
        "graph @e(%x: f32[N, 2, 5, 6]) {
           %y = average_pool %x {kernel = [2, 3], dilations = [2, 2], pads = [1, 1, 1, 1],
             count_include_pad = true} return y: %y }",
        "graph @e(%x: f64[1, 1, 7]) {
           %y = average_pool %x {kernel = [3], strides = [2], ceil_mode = true, pads = [1, 0],
             count_include_pad = true} return y: %y }",
        "graph @e(%x: f16[1, 2, S]) {
           %y = average_pool %x {kernel = [3], dilations = [2], pads = [2, 2]} return y: %y }",
        "graph @e(%x: f32[1, 3, 4, 4]) { %y = average_pool %x {kernel = [4, 4]} return y: %y }",
    ],
};

/// `y[n, c, o..]` is the p-norm of the window at `o`: `(sum |x|^p)^(1/p)`.
pub static LP_POOL: OpDef = OpDef {
    name: "lp_pool",
    summary: "y[n, c, o..] = (sum over k.. of |x[n, c, o*stride + k*dilation - pad..]|^p)^(1/p)",
    operands: &["x"],
    attrs: &[
        KERNEL,
        STRIDES,
        PADS,
        DILATIONS,
        CEIL_MODE,
        AttrSpec::int("p", 2, "the norm's exponent"),
    ],
    traits: Traits::NONE,
    infer: infer_lp,
    eval: eval_lp,
    lowering: Lowering::Compute(lower_lp),
    examples: &[
        "graph @e(%x: f32[1, 2, 5, 5]) {
           %y = lp_pool %x {kernel = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]}
           return y: %y }",
        "graph @e(%x: f64[N, 2, 6]) {
           %y = lp_pool %x {kernel = [2], p = 3, dilations = [2]} return y: %y }",
        "graph @e(%x: f16[1, 1, 6]) {
           %y = lp_pool %x {kernel = [3], p = 1, ceil_mode = true, strides = [2]} return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_class(0, &[DTypeClass::Float])?;
    Ok(vec![Inferred::tensor(dtype, pooled_shape(ctx)?)])
}

fn infer_lp(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    if ctx.attrs.int("p") < 1 {
        return Err(InferError::BadAttr {
            name: "p".to_owned(),
            reason: format!("is {}, must be positive", ctx.attrs.int("p")),
        });
    }
    infer(ctx)
}

/// Folds the elements of each window that lie inside, with the output position.
fn eval_windows(
    ctx: &EvalCtx<'_>,
    finish: impl Fn(&Taps, &[usize], &[f64]) -> f64,
) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let taps = Taps::new(ctx.attrs)?;
    let shape = taps.shape(x.shape(), ctx.attrs.bool("ceil_mode"));
    let xs = x.to_f64s();
    let values: Vec<Scalar> = points(&shape)
        .map(|at| {
            let inside: Vec<f64> = points(&taps.kernel)
                .filter_map(|tap| ravel_inside(&taps.source(&at, &tap), x.shape()))
                .map(|position| xs[position])
                .collect();
            Scalar::Float(finish(&taps, &at, &inside))
        })
        .collect();
    Ok(vec![ctx.result(x.dtype(), &shape, &values)?])
}

fn eval_average(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let include = ctx.attrs.bool("count_include_pad");
    eval_windows(ctx, |taps, at, inside| {
        let in_padding = |tap: &Vec<usize>| {
            taps.source(at, tap)[2..].iter().enumerate().all(|(d, &i)| {
                let end = taps.window.ends[d].as_const().unwrap_or(0);
                (-taps.begins[d]..x.shape()[2 + d] as i64 + end).contains(&i)
            })
        };
        let count = match include {
            true => points(&taps.kernel).filter(in_padding).count(),
            false => inside.len(),
        };
        inside.iter().sum::<f64>() / count as f64
    })
}

fn eval_lp(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let p = ctx.attrs.int("p") as f64;
    eval_windows(ctx, |_, _, inside| {
        inside
            .iter()
            .map(|x| x.abs().powf(p))
            .sum::<f64>()
            .powf(1.0 / p)
    })
}

fn lower_average(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let (x, result) = (ctx.tensor(0), ctx.result(0));
    let window = window(ctx.attrs).map_err(|error| LowerError::Unsupported(error.to_string()))?;
    let ceil_mode = ctx.attrs.bool("ceil_mode");
    let dtype = result.dtype.compute();
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let sliding = Sliding::new(&mut c, &window, ceil_mode);
    let zero = c.pool.float(dtype, 0.0);
    let value = c.load_padded(0, sliding.index, &sliding.padded, zero);
    let sum = c.pool.fold(FoldOp::Add, sliding.taps, value);
    let mut count = c.pool.int(1);
    for axis in 0..window.kernel.len() {
        let some = if sliding.padded.contains(&(2 + axis)) {
            let include = ctx.attrs.bool("count_include_pad");
            counted(&mut c, &window, axis, &x.shape[2 + axis], include)
        } else {
            c.pool.dim(window.kernel[axis].clone())
        };
        count = c.pool.mul(count, some);
    }
    let count = c.pool.cast(count, dtype);
    let mean = c.pool.div(sum, count);
    Ok(vec![c.finish(mean)])
}

/// Taps of the window on one axis that count: those from `low` up to but not including `high`.
fn counted(
    c: &mut Compute,
    window: &Window,
    axis: usize,
    extent: &Dim,
    include_pads: bool,
) -> ExprId {
    let (low, high) = match include_pads {
        true => (
            Dim::new(0) - window.begins[axis].clone(),
            extent.clone() + window.ends[axis].clone(),
        ),
        false => (Dim::new(0), extent.clone()),
    };
    let out = c.indices()[2 + axis];
    let pool = &mut c.pool;
    let (stride, begin) = (
        pool.int(window.strides[axis]),
        pool.dim(window.begins[axis].clone()),
    );
    let start = pool.mul(out, stride);
    let start = pool.sub(start, begin);
    let (dilation, kernel) = (
        pool.int(window.dilations[axis]),
        pool.dim(window.kernel[axis].clone()),
    );
    // Taps below a bound b: ceil((b - start) / dilation), limited to 0..=kernel.
    let mut below = |bound: Dim| {
        let bound = pool.dim(bound + Dim::new(window.dilations[axis] - 1));
        let room = pool.sub(bound, start);
        let taps = pool.apply(ScalarOp::FloorDiv, &[room, dilation]);
        let zero = pool.int(0);
        let taps = pool.apply(ScalarOp::Max, &[taps, zero]);
        pool.apply(ScalarOp::Min, &[taps, kernel])
    };
    let (to_high, to_low) = (below(high), below(low));
    pool.sub(to_high, to_low)
}

fn lower_lp(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let result = ctx.result(0);
    let window = window(ctx.attrs).map_err(|error| LowerError::Unsupported(error.to_string()))?;
    let dtype: DType = result.dtype.compute();
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let sliding = Sliding::new(&mut c, &window, ctx.attrs.bool("ceil_mode"));
    let zero = c.pool.float(dtype, 0.0);
    let value = c.load_padded(0, sliding.index, &sliding.padded, zero);
    let p = ctx.attrs.int("p");
    let power = power_of_magnitude(&mut c, value, dtype, p);
    let sum = c.pool.fold(FoldOp::Add, sliding.taps, power);
    let norm = root(&mut c, sum, dtype, p);
    Ok(vec![c.finish(norm)])
}

/// `|x|^p`.
pub(crate) fn power_of_magnitude(c: &mut Compute, x: ExprId, dtype: DType, p: i64) -> ExprId {
    match p {
        1 => c.pool.unary(ScalarOp::Abs, x),
        2 => c.pool.mul(x, x),
        _ => {
            let magnitude = c.pool.unary(ScalarOp::Abs, x);
            let exponent = c.pool.float(dtype, p as f64);
            c.pool.apply(ScalarOp::Pow, &[magnitude, exponent])
        }
    }
}

/// `x^(1/p)`.
pub(crate) fn root(c: &mut Compute, x: ExprId, dtype: DType, p: i64) -> ExprId {
    match p {
        1 => x,
        2 => c.pool.unary(ScalarOp::Sqrt, x),
        _ => {
            let exponent = c.pool.float(dtype, 1.0 / p as f64);
            c.pool.apply(ScalarOp::Pow, &[x, exponent])
        }
    }
}
