//! `max_pool`: the greatest element of each window, and where it is.

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx, LowerError,
    Lowering, OpDef, Traits,
};
use alula_kernel::{Compute, ExprId, FoldOp, VarId};
use alula_tensor::{DType, DTypeClass, Dim, Scalar, ScalarOp};

use super::{CEIL_MODE, KERNEL, Sliding, Taps, pooled_shape, window};
use crate::points::{points, ravel_inside};
use crate::window::{DILATIONS, PADS, STRIDES};

/// `y[n, c, o..] = max over k.. of x[n, c, o*stride + k*dilation - pad..]`, padding left out.
///
/// A second result, if asked for, is the position (`i64`) of the first maximum in the flattened
/// input; with `column_major` the spatial axes are flattened with the first one fastest. NaN is
/// greater than everything.
pub static MAX_POOL: OpDef = OpDef {
    name: "max_pool",
    summary: "y[n, c, o..] = max over k.. of x[n, c, o*stride + k*dilation - pad..]",
    operands: &["x"],
    attrs: &[
        KERNEL,
        STRIDES,
        PADS,
        DILATIONS,
        CEIL_MODE,
        AttrSpec::bool(
            "column_major",
            false,
            "positions count the first spatial axis fastest",
        ),
    ],
    traits: Traits::NONE,
    infer,
    eval,
    lowering: Lowering::Compute(lower),
    examples: &[
        "graph @e(%x: f32[1, 2, 7, 8]) {
           %y = max_pool %x {kernel = [3, 2], strides = [2, 2], pads = [1, 0, 1, 0]}
           return y: %y }",
        "graph @e(%x: f32[N, 2, 5, 6]) {
           %y, %i = max_pool %x {kernel = [2, 3], dilations = [2, 1], column_major = true}
           return y: %y, i: %i }",
        "graph @e(%x: i8[1, 1, 5]) {
           %y, %i = max_pool %x {kernel = [3], strides = [2], ceil_mode = true, pads = [1, 1]}
           return y: %y, i: %i }",
        "graph @e(%x: f16[1, 2, S]) {
           %y = max_pool %x {kernel = [2], strides = [2], ceil_mode = true} return y: %y }",
        "graph @e(%x: f64[1, 1, 2, 3, 4]) { %y = max_pool %x {kernel = [2, 2, 2]} return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let numbers = [DTypeClass::Float, DTypeClass::Signed, DTypeClass::Unsigned];
    let dtype = ctx.expect_class(0, &numbers)?;
    let shape = pooled_shape(ctx)?;
    let mut results = vec![Inferred::tensor(dtype, shape.clone())];
    if ctx.results_wanted > 1 {
        results.push(Inferred::tensor(DType::I64, shape));
    }
    Ok(results)
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let taps = Taps::new(ctx.attrs)?;
    let shape = taps.shape(x.shape(), ctx.attrs.bool("ceil_mode"));
    let xs = x.to_scalars();
    let (mut values, mut positions) = (Vec::new(), Vec::new());
    for at in points(&shape) {
        let mut best: Option<(Scalar, Vec<i64>)> = None;
        for tap in points(&taps.kernel) {
            let from = taps.source(&at, &tap);
            let Some(position) = ravel_inside(&from, x.shape()) else {
                continue;
            };
            let value = xs[position];
            let greater = best.as_ref().is_none_or(|(most, _)| {
                !most.to_f64().is_nan()
                    && (value.to_f64() > most.to_f64() || value.to_f64().is_nan())
            });
            if greater {
                best = Some((value, from));
            }
        }
        let nothing = FoldOp::Max.identity(x.dtype().compute());
        values.push(best.as_ref().map_or(nothing, |(value, _)| *value));
        let position = best.map_or(0, |(_, from)| {
            flat_position(&from, x.shape(), ctx.attrs.bool("column_major"))
        });
        positions.push(Scalar::Int(position.into()));
    }
    let mut results = vec![ctx.result(x.dtype(), &shape, &values)?];
    if ctx.results.len() > 1 {
        results.push(ctx.result(DType::I64, &shape, &positions)?);
    }
    Ok(results)
}

fn flat_position(index: &[i64], shape: &[usize], column_major: bool) -> i64 {
    let mut order: Vec<usize> = (0..shape.len()).collect();
    if column_major {
        order[2..].reverse();
    }
    order.iter().fold(0, |position, &axis| {
        position * shape[axis] as i64 + index[axis]
    })
}

/// The greatest element of the window at the output position, over fresh variables.
fn greatest(
    c: &mut Compute,
    ctx: &LowerCtx<'_>,
) -> Result<(ExprId, Vec<VarId>, Sliding), LowerError> {
    let window = window(ctx.attrs).map_err(|error| LowerError::Unsupported(error.to_string()))?;
    let sliding = Sliding::new(c, &window, ctx.attrs.bool("ceil_mode"));
    let compute = c.operands[0].dtype.compute();
    let least = c.pool.constant(compute, FoldOp::Max.identity(compute));
    let value = c.load_padded(0, sliding.index.clone(), &sliding.padded, least);
    let most = c.pool.fold(FoldOp::Max, sliding.taps.clone(), value);
    Ok((most, sliding.taps.clone(), sliding))
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let result = ctx.result(0);
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let (most, _, _) = greatest(&mut c, ctx)?;
    let mut definitions = vec![c.finish(most)];
    if ctx.results.len() > 1 {
        definitions.push(lower_position(ctx)?);
    }
    Ok(definitions)
}

/// The least row-major position whose element is not below the maximum.
fn lower_position(ctx: &LowerCtx<'_>) -> Result<Compute, LowerError> {
    let (x, result) = (ctx.tensor(0), ctx.result(1));
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let (most, _, _) = greatest(&mut c, ctx)?;
    let window = window(ctx.attrs).map_err(|error| LowerError::Unsupported(error.to_string()))?;
    // The search runs over variables of its own: the maximum is complete before it starts.
    let search = Sliding::new(&mut c, &window, ctx.attrs.bool("ceil_mode"));
    let (inside, index) = c.clamp_inside(0, search.index.clone(), &search.padded);
    let value = c.load(0, index.clone());
    let position = flatten(&mut c, &x.shape, &index, &(0..x.rank()).collect::<Vec<_>>());
    let pool = &mut c.pool;
    let less = pool.apply(ScalarOp::Lt, &[value, most]);
    let found = pool.unary(ScalarOp::Not, less);
    let found = pool.apply(ScalarOp::And, &[found, inside]);
    let far = pool.int(i64::MAX);
    let candidate = pool.select(found, position, far);
    let first = pool.fold(FoldOp::Min, search.taps, candidate);
    // A window that lies in the padding altogether has no maximum; its position is 0.
    let zero = pool.int(0);
    let none = pool.apply(ScalarOp::Eq, &[first, far]);
    let mut position = pool.select(none, zero, first);
    if ctx.attrs.bool("column_major") {
        position = transposed(&mut c, &x.shape, position);
    }
    Ok(c.finish(position))
}

/// The position of `index` with axes nested in `order`, outermost first.
fn flatten(c: &mut Compute, shape: &[Dim], index: &[ExprId], order: &[usize]) -> ExprId {
    let mut position = c.pool.int(0);
    for &axis in order {
        let extent = c.pool.dim(shape[axis].clone());
        let scaled = c.pool.mul(position, extent);
        position = c.pool.add(scaled, index[axis]);
    }
    position
}

/// A row-major position as one with the spatial axes reversed.
fn transposed(c: &mut Compute, shape: &[Dim], position: ExprId) -> ExprId {
    let mut rest = position;
    let mut index = vec![rest; shape.len()];
    for axis in (0..shape.len()).rev() {
        let extent = c.pool.dim(shape[axis].clone());
        index[axis] = c.pool.apply(ScalarOp::FloorMod, &[rest, extent]);
        rest = c.pool.apply(ScalarOp::FloorDiv, &[rest, extent]);
    }
    let order: Vec<usize> = [0, 1].into_iter().chain((2..shape.len()).rev()).collect();
    flatten(c, shape, &index, &order)
}
