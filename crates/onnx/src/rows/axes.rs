//! Axes that a model computes while it runs: which axes are meant, and what extents follow, is
//! computed by the model's own operators on small integer tensors.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{EQ, NOT, OR};
use alula_ops::elementwise::choice::{CAST, SELECT};
use alula_ops::host_ops::COMPRESS;
use alula_ops::indexing::GATHER;
use alula_ops::reduce::{REDUCE_MAX, REDUCE_PROD};
use alula_ops::shape::{CONCAT, CUM_SUM, DIMS};
use alula_tensor::{DType, Dim, Tensor, TensorType};

use super::shape::{read_dims, reshape_to};
use super::{RowCtx, RowError};

/// The number of axes that a value of this type holds, of a tensor of this rank.
pub(super) fn count(axes: &TensorType, rank: usize) -> Result<usize, RowError> {
    let count = axes.num_elements().as_const();
    let count = count.and_then(|count| usize::try_from(count).ok());
    let fits = count.filter(|count| *count <= rank && axes.rank() <= 1);
    fits.ok_or_else(|| RowError::Unsupported(format!("axes {axes} of rank {rank}")))
}

/// What is wrong with axes of which fewer are marked than there are.
pub(super) fn no_axes(rank: usize) -> String {
    format!("an axis is out of range for rank {rank}, or given twice")
}

/// `bool[rank]`: whether each axis is one of `axes`, which may count from the end.
pub(super) fn mark(
    ctx: &mut RowCtx<'_, '_>,
    axes: ValueId,
    rank: usize,
) -> Result<ValueId, RowError> {
    let plain = Attrs::new;
    let count = ctx.ty(axes)?.num_elements().as_const();
    let axes = ctx.push(&CAST, &[axes], plain().with("to", DType::I64))?;
    let numbers = |numbers: std::ops::Range<i64>| -> Result<Tensor, RowError> {
        let column = Tensor::from_i64s(&numbers.collect::<Vec<i64>>()).reshape(&[rank, 1]);
        column.map_err(|error| RowError::Invalid(error.to_string()))
    };
    let (front, back) = (numbers(0..rank as i64)?, numbers(-(rank as i64)..0)?);
    let (front, back) = (ctx.constant(front), ctx.constant(back));
    let front = ctx.push(&EQ, &[front, axes], plain())?;
    let back = ctx.push(&EQ, &[back, axes], plain())?;
    let either = ctx.push(&OR, &[front, back], plain())?;
    let attrs = plain().with("axes", vec![1_i64]).with("keepdims", false);
    let marked = ctx.push(&REDUCE_MAX, &[either], attrs)?;
    if let Some(count) = count {
        ctx.demand_sum(marked, count, &no_axes(rank))?;
    }
    Ok(marked)
}

/// The dims `shape` as a tensor.
fn extents(ctx: &mut RowCtx<'_, '_>, shape: &[Dim]) -> Result<ValueId, RowError> {
    ctx.push(&DIMS, &[], Attrs::new().with("values", shape.to_vec()))
}

/// Those of `extents` (`i64[rank]`) that are not marked, of which there are `left`.
pub(super) fn extents_left(
    ctx: &mut RowCtx<'_, '_>,
    extents: ValueId,
    marked: ValueId,
    left: usize,
) -> Result<Vec<Dim>, RowError> {
    let stays = ctx.push(&NOT, &[marked], Attrs::new())?;
    let attrs = Attrs::new().with("axis", 0_i64);
    let kept = ctx.push(&COMPRESS, &[extents, stays], attrs)?;
    let kept = reshape_to(ctx, kept, vec![Dim::from(left)])?;
    read_dims(ctx, kept)
}

/// The shape without the axes that `axes` computes.
pub(super) fn without(
    ctx: &mut RowCtx<'_, '_>,
    shape: &[Dim],
    axes: ValueId,
) -> Result<Vec<Dim>, RowError> {
    let left = shape.len() - count(&ctx.ty(axes)?, shape.len())?;
    let marked = mark(ctx, axes, shape.len())?;
    let extents = extents(ctx, shape)?;
    extents_left(ctx, extents, marked, left)
}

/// The shape with an extent of 1 at each axis of the result that `axes` computes.
pub(super) fn with_ones(
    ctx: &mut RowCtx<'_, '_>,
    shape: &[Dim],
    axes: ValueId,
    rank: usize,
) -> Result<Vec<Dim>, RowError> {
    if shape.is_empty() {
        return Ok(vec![Dim::new(1); rank]);
    }
    let marked = mark(ctx, axes, rank)?;
    let stays = ctx.push(&NOT, &[marked], Attrs::new())?;
    let stays = ctx.push(&CAST, &[stays], Attrs::new().with("to", DType::I64))?;
    // How many axes of the operand come before; at a marked axis, any number within will do.
    let attrs = Attrs::new().with("axis", 0_i64).with("exclusive", true);
    let place = ctx.push(&CUM_SUM, &[stays], attrs)?;
    let zero = ctx.constant(Tensor::scalar(0_i64));
    let place = ctx.push(&SELECT, &[marked, zero, place], Attrs::new())?;
    let extents = extents(ctx, shape)?;
    let own = ctx.push(&GATHER, &[extents, place], Attrs::new())?;
    let one = ctx.constant(Tensor::scalar(1_i64));
    let to = ctx.push(&SELECT, &[marked, one, own], Attrs::new())?;
    read_dims(ctx, to)
}

/// The product of the extents before the axis that `axis` computes, its extent, and the product
/// of those behind it.
pub(super) fn around(
    ctx: &mut RowCtx<'_, '_>,
    shape: &[Dim],
    axis: ValueId,
) -> Result<Vec<Dim>, RowError> {
    let here = mark(ctx, axis, shape.len())?;
    let number = ctx.push(&CAST, &[here], Attrs::new().with("to", DType::I64))?;
    let mut side = |reverse: bool| {
        let attrs = Attrs::new().with("axis", 0_i64).with("exclusive", true);
        let beyond = ctx.push(&CUM_SUM, &[number], attrs.with("reverse", reverse))?;
        ctx.push(&CAST, &[beyond], Attrs::new().with("to", DType::Bool))
    };
    let (before, behind) = (side(true)?, side(false)?);
    let extents = extents(ctx, shape)?;
    let one = ctx.constant(Tensor::scalar(1_i64));
    let mut parts = Vec::with_capacity(3);
    for counts in [before, here, behind] {
        let own = ctx.push(&SELECT, &[counts, extents, one], Attrs::new())?;
        let attrs = Attrs::new().with("axes", vec![0_i64]);
        parts.push(ctx.push(&REDUCE_PROD, &[own], attrs)?);
    }
    let three = ctx.push(&CONCAT, &parts, Attrs::new().with("axis", 0_i64))?;
    read_dims(ctx, three)
}
