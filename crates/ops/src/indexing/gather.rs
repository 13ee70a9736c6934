//! Gathers: elements or slices at given positions.

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx, LowerError,
    Lowering, OpDef,
};
use alula_kernel::{Compute, ExprId};
use alula_tensor::{DType, DTypeClass, Dim, ScalarOp};

use crate::movement::{agree_except, assemble, axis_of, begin, linear, load_stored};
use crate::shape::PLAIN;

/// Slices of `x` along one axis.
pub static GATHER: OpDef = OpDef {
    name: "gather",
    summary: "y[a.., i.., b..] = x[a.., indices[i..], b..], a.. before `axis`",
    operands: &["x", "indices"],
    attrs: &[AttrSpec::int(
        "axis",
        0,
        "the axis, from the end if negative",
    )],
    traits: PLAIN,
    infer: infer_gather,
    eval: eval_gather,
    lowering: Lowering::Compute(lower_gather),
    examples: &[
        "graph @e(%x: f32[4, 3]) {
           %i = const i64[2, 2] [0, -1, 3, 2] %y = gather %x, %i return y: %y }",
        "graph @e(%x: f16[2, N]) {
           %i = const i32[] [-1] %y = gather %x, %i {axis = 1} return y: %y }",
        "graph @e(%x: bool[2, 3]) {
           %i = const i64[0] [] %y = gather %x, %i {axis = -1} return y: %y }",
        "graph @e(%x: f32[N, 4]) {
           %s = dims {values = [N, 4]} %i = const i64[1] [1] %y = gather %s, %i
           return y: %y, x: %x }",
    ],
};

/// A position, counted from the end if negative.
fn place(position: i64, extent: usize) -> Result<usize, EvalError> {
    let normal = if position < 0 {
        position.saturating_add(extent as i64)
    } else {
        position
    };
    match usize::try_from(normal) {
        Ok(normal) if normal < extent => Ok(normal),
        _ => Err(EvalError::Value(format!(
            "index {position} is out of range for extent {extent}"
        ))),
    }
}

/// The same in a kernel: clamped to be inside.
fn place_expr(compute: &mut Compute, position: ExprId, extent: &Dim) -> ExprId {
    let pool = &mut compute.pool;
    let position = pool.cast(position, DType::I64);
    let (zero, end) = (pool.int(0), pool.dim(extent.clone()));
    let last = pool.dim(extent.clone() - Dim::new(1));
    let below = pool.apply(ScalarOp::Lt, &[position, zero]);
    let turned = pool.add(position, end);
    let normal = pool.select(below, turned, position);
    let low = pool.apply(ScalarOp::Min, &[normal, last]);
    pool.apply(ScalarOp::Max, &[low, zero])
}

fn expect_indices(ctx: &InferCtx<'_>) -> Result<(), InferError> {
    ctx.expect_class(1, &[DTypeClass::Signed, DTypeClass::Unsigned])?;
    Ok(())
}

fn infer_gather(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    expect_indices(ctx)?;
    let (x, indices) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let axis = ctx.axis(ctx.attrs.int("axis"), x.rank())?;
    let mut shape = x.shape[..axis].to_vec();
    shape.extend_from_slice(&indices.shape);
    shape.extend_from_slice(&x.shape[axis + 1..]);
    let content = match (ctx.content(0), ctx.const_ints(1)) {
        (Some(all), Some(wanted)) if x.rank() == 1 => wanted
            .into_iter()
            .map(|at| all.get(place(at, all.len()).ok()?).cloned())
            .collect(),
        _ => None,
    };
    Ok(vec![Inferred::tensor(x.dtype, shape).with_content(content)])
}

fn eval_gather(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, indices) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let axis = axis_of(ctx.attrs.int("axis"), x.rank());
    let positions = ctx.ints(1)?;
    let mut shape = x.shape()[..axis].to_vec();
    shape.extend_from_slice(indices.shape());
    shape.extend_from_slice(&x.shape()[axis + 1..]);
    let behind = axis + indices.rank();
    let value = assemble(ctx, &[x], &shape, |index| {
        let mut own = index[..axis].to_vec();
        let at = positions[linear(indices.shape(), &index[axis..behind])];
        own.push(place(at, x.shape()[axis])?);
        own.extend_from_slice(&index[behind..]);
        Ok((0, linear(x.shape(), &own)))
    })?;
    Ok(vec![value])
}

fn lower_gather(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let (x, indices) = (ctx.tensor(0), ctx.tensor(1));
    let axis = axis_of(ctx.attrs.int("axis"), x.rank());
    let index = compute.indices();
    let behind = axis + indices.rank();
    let at = compute.load(1, index[axis..behind].to_vec());
    let mut own = index[..axis].to_vec();
    own.push(place_expr(&mut compute, at, &x.shape[axis]));
    own.extend_from_slice(&index[behind..]);
    let value = load_stored(&mut compute, 0, own);
    Ok(vec![compute.finish(value)])
}

/// Single elements along one axis.
pub static GATHER_ELEMENTS: OpDef = OpDef {
    name: "gather_elements",
    summary: "y[a.., i, b..] = x[a.., indices[a.., i, b..], b..], i on `axis`",
    operands: &["x", "indices"],
    attrs: &[AttrSpec::int(
        "axis",
        0,
        "the axis, from the end if negative",
    )],
    traits: PLAIN,
    infer: infer_elements,
    eval: eval_elements,
    lowering: Lowering::Compute(lower_elements),
    examples: &[
        "graph @e(%x: f32[3, 3]) {
           %i = const i64[2, 3] [0, 1, 2, -1, -2, 0] %y = gather_elements %x, %i return y: %y }",
        "graph @e(%x: u8[2, N]) {
           %i = const i32[2, 1] [0, -1]
           %y = gather_elements %x, %i {axis = -1} return y: %y }",
    ],
};

fn infer_elements(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    expect_indices(ctx)?;
    let (x, indices) = (ctx.tensor(0)?, ctx.tensor(1)?);
    ctx.axis(ctx.attrs.int("axis"), x.rank())?;
    if x.rank() != indices.rank() {
        return Err(InferError::Mismatch(format!(
            "indices {indices} into {x} differ in rank"
        )));
    }
    Ok(vec![Inferred::tensor(x.dtype, indices.shape.clone())])
}

fn eval_elements(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, indices) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let axis = axis_of(ctx.attrs.int("axis"), x.rank());
    let positions = ctx.ints(1)?;
    let value = assemble(ctx, &[x], indices.shape(), |index| {
        let mut own = index.to_vec();
        own[axis] = place(positions[linear(indices.shape(), index)], x.shape()[axis])?;
        let fits = own.iter().zip(x.shape()).all(|(at, extent)| at < extent);
        match fits {
            true => Ok((0, linear(x.shape(), &own))),
            false => Err(EvalError::Value(format!(
                "indices reach outside {}",
                x.ty()
            ))),
        }
    })?;
    Ok(vec![value])
}

fn lower_elements(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let x = ctx.tensor(0);
    let axis = axis_of(ctx.attrs.int("axis"), x.rank());
    let mut index = compute.indices();
    let at = compute.load(1, index.clone());
    index[axis] = place_expr(&mut compute, at, &x.shape[axis]);
    let value = load_stored(&mut compute, 0, index);
    Ok(vec![compute.finish(value)])
}

/// Slices at positions that the last axis of `indices` holds.
pub static GATHER_ND: OpDef = OpDef {
    name: "gather_nd",
    summary: "y[b.., i.., s..] = x[b.., indices[b.., i.., :].., s..], b.. the batch axes",
    operands: &["x", "indices"],
    attrs: &[AttrSpec::int(
        "batch_dims",
        0,
        "leading axes that both operands share",
    )],
    traits: PLAIN,
    infer: infer_nd,
    eval: eval_nd,
    lowering: Lowering::Compute(lower_nd),
    examples: &[
        "graph @e(%x: f32[2, 3]) {
           %i = const i64[2, 2] [0, 0, -1, 2] %y = gather_nd %x, %i return y: %y }",
        "graph @e(%x: i32[2, N, 4]) {
           %i = const i64[2, 1] [1, 0] %y = gather_nd %x, %i {batch_dims = 1} return y: %y }",
        "graph @e(%x: f64[2, 3]) {
           %i = const i64[1, 1] [1] %y = gather_nd %x, %i return y: %y }",
    ],
};

/// Batch axes and the length of a position.
fn nd_sizes(attrs: &alula_ir::Attrs, indices: &[Dim]) -> Option<(usize, usize)> {
    let depth = indices.last()?.as_const()?;
    let batch = attrs.int("batch_dims");
    Some((usize::try_from(batch).ok()?, usize::try_from(depth).ok()?))
}

fn infer_nd(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    ctx.expect_class(1, &[DTypeClass::Signed, DTypeClass::Unsigned])?;
    let (x, indices) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if indices
        .shape
        .last()
        .is_some_and(|depth| depth.as_const().is_none())
    {
        return Err(InferError::Unsupported(format!(
            "indices {indices} whose last extent is not known, and so not the result's rank"
        )));
    }
    let Some((batch, depth)) = nd_sizes(ctx.attrs, &indices.shape) else {
        return Err(InferError::Mismatch(format!(
            "indices {indices} have no positions"
        )));
    };
    if batch >= indices.rank() || batch + depth > x.rank() {
        return Err(InferError::Mismatch(format!(
            "positions of {depth} axes after {batch} batch axes: indices {indices} into {x}"
        )));
    }
    agree_except(&x.shape[..batch], &indices.shape[..batch], None)?;
    let mut shape = indices.shape[..indices.rank() - 1].to_vec();
    shape.extend_from_slice(&x.shape[batch + depth..]);
    Ok(vec![Inferred::tensor(x.dtype, shape)])
}

fn eval_nd(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, indices) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let positions = ctx.ints(1)?;
    let batch = ctx.attrs.int("batch_dims") as usize;
    let lead = indices.rank() - 1;
    let depth = indices.shape()[lead];
    let mut shape = indices.shape()[..lead].to_vec();
    shape.extend_from_slice(&x.shape()[batch + depth..]);
    let value = assemble(ctx, &[x], &shape, |index| {
        let mut own = index[..batch].to_vec();
        let row = linear(&indices.shape()[..lead], &index[..lead]) * depth;
        for k in 0..depth {
            own.push(place(positions[row + k], x.shape()[batch + k])?);
        }
        own.extend_from_slice(&index[lead..]);
        Ok((0, linear(x.shape(), &own)))
    })?;
    Ok(vec![value])
}

fn lower_nd(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let (x, indices) = (ctx.tensor(0), ctx.tensor(1));
    let Some((batch, depth)) = nd_sizes(ctx.attrs, &indices.shape) else {
        return Err(LowerError::Unsupported(format!(
            "indices {indices} of unknown depth"
        )));
    };
    let lead = indices.rank() - 1;
    let index = compute.indices();
    let mut own = index[..batch].to_vec();
    for k in 0..depth {
        let mut row = index[..lead].to_vec();
        row.push(compute.pool.int(k as i64));
        let at = compute.load(1, row);
        own.push(place_expr(&mut compute, at, &x.shape[batch + k]));
    }
    own.extend_from_slice(&index[lead..]);
    let value = load_stored(&mut compute, 0, own);
    Ok(vec![compute.finish(value)])
}
