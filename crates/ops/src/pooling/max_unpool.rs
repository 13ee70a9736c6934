//! `max_unpool`: elements of a max pool's result back at the positions that they came from.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef, Traits,
};
use alula_kernel::{Compute, FoldOp};
use alula_tensor::{DType, DTypeClass, Dim, Scalar, ScalarOp};

/// A tensor of zeros of `shape` with `x[i]` at the flat position `positions[i]`.
///
/// Where a position occurs more than once, the last element in row-major order stands. Positions
/// outside are left out.
pub static MAX_UNPOOL: OpDef = OpDef {
    name: "max_unpool",
    summary: "zeros of the given shape with x[i] at flat position positions[i]",
    operands: &["x", "positions"],
    attrs: &[AttrSpec::required(
        "shape",
        AttrKind::Dims,
        "extents of the result",
    )],
    traits: Traits::NONE,
    infer,
    eval,
    lowering: Lowering::Compute(lower),
    examples: &[
        "graph @e(%x: f32[1, 1, 2, 2]) {
           %i = const i64[1, 1, 2, 2] [1, 3, 8, 15]
           %y = max_unpool %x, %i {shape = [1, 1, 4, 4]} return y: %y }",
        "graph @e(%x: f32[N, 1, 4]) {
           %v, %i = max_pool %x {kernel = [2], strides = [2]}
           %y = max_unpool %v, %i {shape = [N, 1, 4]} return y: %y }",
    ],
};

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_class(0, &[DTypeClass::Float])?;
    ctx.expect_class(1, &[DTypeClass::Signed])?;
    let (x, positions) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let apart = |(own, other): (&Dim, &Dim)| {
        own != other && own.as_const().is_some() && other.as_const().is_some()
    };
    if x.rank() != positions.rank() || x.shape.iter().zip(&positions.shape).any(apart) {
        return Err(InferError::Mismatch(format!(
            "each element of {x} needs one position, not {positions}"
        )));
    }
    Ok(vec![Inferred::tensor(
        dtype,
        ctx.attrs.dims("shape").to_vec(),
    )])
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, positions) = (ctx.tensor(0)?, ctx.ints(1)?);
    if x.len() != positions.len() {
        let (x, count) = (x.ty(), positions.len());
        return Err(EvalError::Value(format!("{count} positions for {x}")));
    }
    let shape = ctx.results[0].as_tensor().and_then(|ty| ty.static_shape());
    let shape = shape.ok_or_else(|| EvalError::Value("the shape is not known".to_owned()))?;
    let mut result = ctx.zeros(x.dtype(), &shape)?.to_scalars();
    for (value, position) in x.to_scalars().into_iter().zip(positions) {
        if let Ok(position) = usize::try_from(position)
            && position < result.len()
        {
            result[position] = value;
        }
    }
    Ok(vec![ctx.result(x.dtype(), &shape, &result)?])
}

/// Each result element looks for the last element of `x` that belongs there.
fn lower(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let (x, positions, result) = (ctx.tensor(0), ctx.tensor(1), ctx.result(0));
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let mut here = c.pool.int(0);
    for (axis, index) in c.indices().into_iter().enumerate() {
        let extent = c.pool.dim(result.shape[axis].clone());
        let scaled = c.pool.mul(here, extent);
        here = c.pool.add(scaled, index);
    }
    let vars: Vec<_> = x
        .shape
        .iter()
        .map(|extent| c.pool.var(extent.clone()))
        .collect();
    let index: Vec<_> = vars.iter().map(|&var| c.pool.var_expr(var)).collect();
    let position = c.pool.load(1, positions.dtype, index.clone());
    let position = c.pool.cast(position, DType::I64);
    let mut order = c.pool.int(0);
    for (axis, &i) in index.iter().enumerate() {
        let extent = c.pool.dim(x.shape[axis].clone());
        let scaled = c.pool.mul(order, extent);
        order = c.pool.add(scaled, i);
    }
    let pool = &mut c.pool;
    let (same, none) = (pool.apply(ScalarOp::Eq, &[position, here]), pool.int(-1));
    let candidate = pool.select(same, order, none);
    let last = pool.fold(FoldOp::Max, vars, candidate);
    let zero = pool.int(0);
    let found = pool.apply(ScalarOp::Ge, &[last, zero]);
    let mut rest = pool.apply(ScalarOp::Max, &[last, zero]);
    let mut from = vec![zero; x.rank()];
    for axis in (0..x.rank()).rev() {
        let extent = pool.dim(x.shape[axis].clone());
        from[axis] = pool.apply(ScalarOp::FloorMod, &[rest, extent]);
        rest = pool.apply(ScalarOp::FloorDiv, &[rest, extent]);
    }
    let value = c.load(0, from);
    let nothing = c.pool.constant(result.dtype.compute(), Scalar::Int(0));
    let value = c.pool.select(found, value, nothing);
    Ok(vec![c.finish(value)])
}
