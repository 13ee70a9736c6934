//! `concat` and `split`: joining and cutting along an axis.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef,
};
use alula_kernel::Compute;
use alula_tensor::{Dim, ScalarOp, Shape, Tensor};

use super::PLAIN;
use crate::extent::first_within;
use crate::movement::{agree_except, assemble, axis_of, begin, known_extents, linear, load_stored};

/// Operands one after the other along an axis.
pub static CONCAT: OpDef = OpDef {
    name: "concat",
    summary: "the operands one after the other along `axis`",
    operands: &["x", "more*"],
    attrs: &[AttrSpec::required(
        "axis",
        AttrKind::Int,
        "the axis, from the end if negative",
    )],
    traits: PLAIN,
    infer: infer_concat,
    eval: eval_concat,
    lowering: Lowering::Compute(lower_concat),
    examples: &[
        "graph @e(%x: f32[2, 3], %y: f32[2, 1], %z: f32[2, 0]) {
           %c = concat %x, %y, %z {axis = -1} return c: %c }",
        "graph @e(%x: i64[N, 2], %y: i64[M, 2]) { %c = concat %x, %y {axis = 0} return c: %c }",
        "graph @e(%x: bool[3]) { %c = concat %x {axis = 0} return c: %c }",
    ],
};

fn infer_concat(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let first = ctx.tensor(0)?;
    let axis = ctx.axis(ctx.attrs.int("axis"), first.rank())?;
    let mut shape: Shape = first.shape.clone();
    for position in 1..ctx.len() {
        ctx.expect_same_dtype(0, position)?;
        let next = ctx.tensor(position)?;
        agree_except(&shape, &next.shape, Some(axis))?;
        for (k, dim) in next.shape.iter().enumerate() {
            if k == axis {
                shape[k] = shape[k].clone() + dim.clone();
            } else if shape[k].as_const().is_none() {
                // Of two extents that must be equal, the known one says more.
                shape[k] = if dim.as_const().is_some() {
                    dim.clone()
                } else {
                    shape[k].clone()
                };
            }
        }
    }
    let content = concat_content(ctx)?;
    Ok(vec![
        Inferred::tensor(first.dtype, shape).with_content(content),
    ])
}

/// Elements of joined shape vectors. Where some are known, each of the others becomes a symbol,
/// so that what is known is not lost.
fn concat_content(ctx: &mut InferCtx<'_>) -> Result<Option<Vec<Dim>>, InferError> {
    const PART_MAX: i64 = 16;
    let first = ctx.tensor(0)?;
    let is_known = |k: usize| ctx.content(k).is_some_and(|dims| !dims.is_empty());
    if first.rank() != 1 || !first.dtype.is_integer() || !(0..ctx.len()).any(is_known) {
        return Ok(None);
    }
    let mut all = Vec::new();
    for position in 0..ctx.len() {
        if let Some(part) = ctx.content(position) {
            all.extend_from_slice(part);
            continue;
        }
        match ctx.tensor(position)?.shape[0].as_const() {
            Some(count) if (0..=PART_MAX).contains(&count) => {
                for index in 0..count as usize {
                    all.push(ctx.fresh_content(position, index)?);
                }
            }
            Some(_) | None => return Ok(None),
        }
    }
    Ok(Some(all))
}

fn eval_concat(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let parts = (0..ctx.operands.len())
        .map(|k| ctx.tensor(k))
        .collect::<Result<Vec<&Tensor>, EvalError>>()?;
    let axis = axis_of(ctx.attrs.int("axis"), parts[0].rank());
    let mut shape = parts[0].shape().to_vec();
    shape[axis] = 0;
    for part in &parts {
        for (k, &extent) in part.shape().iter().enumerate() {
            if k == axis {
                shape[k] += extent;
            } else if shape[k] != extent {
                return Err(EvalError::Value(format!(
                    "extents {} and {extent} of axis {k} differ",
                    shape[k]
                )));
            }
        }
    }
    let value = assemble(ctx, &parts, &shape, |index| {
        let (mut own, mut source) = (index.to_vec(), 0);
        while own[axis] >= parts[source].shape()[axis] {
            own[axis] -= parts[source].shape()[axis];
            source += 1;
        }
        Ok((source, linear(parts[source].shape(), &own)))
    })?;
    Ok(vec![value])
}

fn lower_concat(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let axis = axis_of(ctx.attrs.int("axis"), ctx.tensor(0).rank());
    let indices = compute.indices();
    // From the last part to the first: `i < end ? x[i - start] : the parts behind`.
    let mut ends = Vec::with_capacity(ctx.operands.len());
    let mut end = Dim::new(0);
    for k in 0..ctx.operands.len() {
        end = end + ctx.tensor(k).shape[axis].clone();
        ends.push(end.clone());
    }
    let parts: Vec<usize> = (0..ends.len())
        .filter(|&k| !ctx.tensor(k).shape[axis].is(0))
        .collect();
    let mut value = None;
    for &part in parts.iter().rev() {
        let extent = ctx.tensor(part).shape[axis].clone();
        let start = compute.pool.dim(ends[part].clone() - extent);
        let mut index = indices.clone();
        index[axis] = compute.pool.sub(index[axis], start);
        let (_, index) = match parts.len() {
            1 => (indices[axis], index),
            _ => compute.clamp_inside(part, index, &[axis]),
        };
        let own = compute.load(part, index);
        value = Some(match value {
            None => own,
            Some(behind) => {
                let end = compute.pool.dim(ends[part].clone());
                let before = compute.pool.apply(ScalarOp::Lt, &[indices[axis], end]);
                compute.pool.select(before, own, behind)
            }
        });
    }
    let value = match value {
        Some(value) => value,
        // No part has elements: the result has none either.
        None => compute.load(0, indices),
    };
    Ok(vec![compute.finish(value)])
}

/// Consecutive parts along an axis.
pub static SPLIT: OpDef = OpDef {
    name: "split",
    summary: "consecutive parts of x along `axis`, one result of each of `sizes`",
    operands: &["x"],
    attrs: &[
        AttrSpec::required("axis", AttrKind::Int, "the axis, from the end if negative"),
        AttrSpec::required(
            "sizes",
            AttrKind::Dims,
            "extents of the results along the axis",
        ),
    ],
    traits: PLAIN,
    infer: infer_split,
    eval: eval_split,
    lowering: Lowering::Compute(lower_split),
    examples: &[
        "graph @e(%x: f32[2, 6]) {
           %a, %b = split %x {axis = 1, sizes = [2, 4]} return a: %a, b: %b }",
        "graph @e(%x: i32[N, 2]) {
           %a, %b, %c = split %x {axis = -2, sizes = [1, 0, N - 1]}
           return a: %a, b: %b, c: %c }",
        "graph @e(%x: bf16[3]) { %a = split %x {axis = 0, sizes = [3]} return a: %a }",
    ],
};

fn infer_split(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let x = ctx.tensor(0)?;
    let axis = ctx.axis(ctx.attrs.int("axis"), x.rank())?;
    let sizes = ctx.attrs.dims("sizes");
    let total: Dim = sizes.iter().cloned().sum();
    if (total.clone() - x.shape[axis].clone())
        .as_const()
        .is_some_and(|rest| rest != 0)
    {
        return Err(InferError::Mismatch(format!(
            "parts of {total} in all do not fill axis {axis} of {x}"
        )));
    }
    if sizes.is_empty() {
        return Err(InferError::Mismatch("no part is asked for".to_owned()));
    }
    let content = ctx.content(0).filter(|_| x.rank() == 1);
    // Where the next part starts, as long as that is a number.
    let mut start = Some(0_usize);
    let part = |size: &Dim| {
        let mut shape = x.shape.clone();
        shape[axis] = size.clone();
        let from = start;
        let count = size
            .as_const()
            .and_then(|count| usize::try_from(count).ok());
        start = from
            .zip(count)
            .and_then(|(from, count)| from.checked_add(count));
        let own = content
            .zip(from.zip(start))
            .and_then(|(all, (from, to))| all.get(from..to));
        Inferred::tensor(x.dtype, shape).with_content(own.map(<[Dim]>::to_vec))
    };
    Ok(sizes.iter().map(part).collect())
}

fn eval_split(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let axis = axis_of(ctx.attrs.int("axis"), x.rank());
    let sizes = known_extents(ctx.attrs.dims("sizes"))?;
    let mut start = 0;
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        let mut shape = x.shape().to_vec();
        shape[axis] = size;
        parts.push(assemble(ctx, &[x], &shape, |index| {
            let mut own = index.to_vec();
            own[axis] += start;
            Ok((0, linear(x.shape(), &own)))
        })?);
        start += size;
    }
    Ok(parts)
}

fn lower_split(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let axis = axis_of(ctx.attrs.int("axis"), ctx.tensor(0).rank());
    let mut start = Dim::new(0);
    let mut parts = Vec::with_capacity(ctx.results.len());
    for (position, size) in ctx.attrs.dims("sizes").iter().enumerate() {
        let mut compute = begin(ctx, position)?;
        let mut index = compute.indices();
        let first = first_within(start.clone(), &ctx.tensor(0).shape[axis], size);
        let offset = compute.pool.dim(first);
        index[axis] = compute.pool.add(index[axis], offset);
        let value = load_stored(&mut compute, 0, index);
        parts.push(compute.finish(value));
        start = start + size.clone();
    }
    Ok(parts)
}
