//! `expand` and `tile`: repeating elements.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef,
};
use alula_kernel::Compute;
use alula_tensor::{Dim, ScalarOp, Shape};

use super::PLAIN;
use crate::extent::greatest;
use crate::movement::{assemble, begin, known_extents, linear, load_stored};

/// Broadcasting to extents; both sides broadcast, so that a target extent of 1 changes nothing.
pub static EXPAND: OpDef = OpDef {
    name: "expand",
    summary: "x repeated to the shape that it and `to` broadcast to",
    operands: &["x"],
    attrs: &[AttrSpec::required(
        "to",
        AttrKind::Dims,
        "what x broadcasts with",
    )],
    traits: PLAIN,
    infer: infer_expand,
    eval: eval_expand,
    lowering: Lowering::Compute(lower_expand),
    examples: &[
        "graph @e(%x: f32[3, 1]) { %y = expand %x {to = [2, 1, 4]} return y: %y }",
        "graph @e(%x: i64[], %n: bool[N]) { %y = expand %x {to = [N, 2]} return y: %y, n: %n }",
        "graph @e(%x: f16[N, 1], %m: bool[M]) {
           %y = expand %x {to = [M, 2]} return y: %y, m: %m }",
        "graph @e(%x: bool[1, 3]) { %y = expand %x {to = [0, 1]} return y: %y }",
    ],
};

fn infer_expand(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let x = ctx.tensor(0)?;
    let to = ctx.attrs.dims("to");
    let rank = x.rank().max(to.len());
    let mut shape: Shape = Vec::with_capacity(rank);
    for axis in 0..rank {
        let own = (axis + x.rank()).checked_sub(rank).map(|k| &x.shape[k]);
        let target = (axis + to.len()).checked_sub(rank).map(|k| &to[k]);
        shape.push(match (own, target) {
            (Some(own), Some(target)) => broadcast_dim(own, target, axis)?,
            (Some(dim), None) | (None, Some(dim)) => dim.clone(),
            (None, None) => Dim::new(1),
        });
    }
    let content = repeat_content(ctx, &shape);
    Ok(vec![Inferred::tensor(x.dtype, shape).with_content(content)])
}

/// The extent that two extents broadcast to. Where both are symbolic and different, one of them
/// is 1 or they are equal: the greater one.
fn broadcast_dim(own: &Dim, target: &Dim, axis: usize) -> Result<Dim, InferError> {
    match (own.as_const(), target.as_const()) {
        _ if own == target || target.is(1) => Ok(own.clone()),
        (Some(1), _) | (None, Some(_)) => Ok(target.clone()),
        (Some(_), None) => Ok(own.clone()),
        (None, None) => Ok(greatest(own, target)),
        (Some(_), Some(_)) => Err(InferError::Mismatch(format!(
            "extents {own} and {target} of axis {axis} do not broadcast"
        ))),
    }
}

fn repeat_content(ctx: &InferCtx<'_>, shape: &Shape) -> Option<Vec<Dim>> {
    const REPEATS_MAX: usize = 1024;
    let content = ctx.content(0)?;
    let count = match shape.as_slice() {
        [] => 1,
        [extent] => usize::try_from(extent.as_const()?).ok()?,
        _ => return None,
    };
    let fits = count <= REPEATS_MAX && (content.len() == 1 || content.len() == count);
    fits.then(|| {
        (0..count)
            .map(|k| content[k % content.len()].clone())
            .collect()
    })
}

fn eval_expand(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let to = known_extents(ctx.attrs.dims("to"))?;
    let rank = x.rank().max(to.len());
    let from_end = |shape: &[usize], k: usize| shape.iter().rev().nth(k).copied().unwrap_or(1);
    let mut shape = Vec::with_capacity(rank);
    for k in (0..rank).rev() {
        shape.push(match (from_end(x.shape(), k), from_end(&to, k)) {
            (a, b) if a == b || b == 1 => a,
            (1, b) => b,
            (a, b) => {
                return Err(EvalError::Value(format!(
                    "extents {a} and {b} do not broadcast"
                )));
            }
        });
    }
    let value = assemble(ctx, &[x], &shape, |index| {
        let own: Vec<usize> = index[rank - x.rank()..]
            .iter()
            .zip(x.shape())
            .map(|(&position, &extent)| if extent == 1 { 0 } else { position })
            .collect();
        Ok((0, linear(x.shape(), &own)))
    })?;
    Ok(vec![value])
}

fn lower_expand(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let x = ctx.tensor(0);
    let skipped = compute.axes.len() - x.rank();
    let index = (0..x.rank())
        .map(|axis| {
            let (var, extent) = (compute.axes[skipped + axis].var, &x.shape[axis]);
            if extent.is(1) {
                return compute.pool.int(0);
            }
            let position = compute.pool.var_expr(var);
            if *extent == compute.axes[skipped + axis].extent || extent.as_const().is_some() {
                return position;
            }
            // The extent may turn out to be 1: then its only element is meant everywhere.
            let last = compute.pool.dim(extent.clone() - Dim::new(1));
            compute.pool.apply(ScalarOp::Min, &[position, last])
        })
        .collect();
    let value = load_stored(&mut compute, 0, index);
    Ok(vec![compute.finish(value)])
}

/// Whole copies along each axis.
pub static TILE: OpDef = OpDef {
    name: "tile",
    summary: "y[i, ..] = x[i mod x's extent, ..]: each axis `repeats` times over",
    operands: &["x"],
    attrs: &[AttrSpec::required(
        "repeats",
        AttrKind::Dims,
        "copies along each axis",
    )],
    traits: PLAIN,
    infer: infer_tile,
    eval: eval_tile,
    lowering: Lowering::Compute(lower_tile),
    examples: &[
        "graph @e(%x: f32[2, 3]) { %y = tile %x {repeats = [2, 3]} return y: %y }",
        "graph @e(%x: u8[N, 1], %m: bool[M]) {
           %y = tile %x {repeats = [2, M]} return y: %y, m: %m }",
        "graph @e(%x: f64[2, 3]) { %y = tile %x {repeats = [0, 1]} return y: %y }",
        "graph @e(%x: i32[]) { %y = tile %x {repeats = []} return y: %y }",
    ],
};

fn infer_tile(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let x = ctx.tensor(0)?;
    let repeats = ctx.attrs.dims("repeats");
    if repeats.len() != x.rank() {
        return Err(InferError::Mismatch(format!(
            "{} repeats are given for {x} of rank {}",
            repeats.len(),
            x.rank()
        )));
    }
    let shape = x
        .shape
        .iter()
        .zip(repeats)
        .map(|(n, r)| n.clone() * r.clone())
        .collect();
    Ok(vec![Inferred::tensor(x.dtype, shape)])
}

fn eval_tile(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let repeats = known_extents(ctx.attrs.dims("repeats"))?;
    let shape: Vec<usize> = x.shape().iter().zip(&repeats).map(|(n, r)| n * r).collect();
    let value = assemble(ctx, &[x], &shape, |index| {
        let own: Vec<usize> = index.iter().zip(x.shape()).map(|(i, n)| i % n).collect();
        Ok((0, linear(x.shape(), &own)))
    })?;
    Ok(vec![value])
}

fn lower_tile(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let x = ctx.tensor(0);
    let repeats = ctx.attrs.dims("repeats");
    let positions = compute.indices();
    let index = (0..x.rank())
        .map(|axis| {
            if repeats[axis].is(1) {
                return positions[axis];
            }
            let extent = compute.pool.dim(x.shape[axis].clone());
            compute
                .pool
                .apply(ScalarOp::FloorMod, &[positions[axis], extent])
        })
        .collect();
    let value = load_stored(&mut compute, 0, index);
    Ok(vec![compute.finish(value)])
}
