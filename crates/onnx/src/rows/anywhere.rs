//! `Slice` and `Pad` along axes, or by steps, that a model computes while it runs.

use alula_ir::ValueId;
use alula_ops::elementwise::arithmetic::{ABS, DIV, EQ, LT, MAX, MIN, OR, SIGN};
use alula_ops::reduce::{REDUCE_MAX, REDUCE_SUM};
use alula_tensor::{DType, Dim, Tensor};

use super::axes::no_axes;
use super::compose::Value;
use super::shape::read_dims;
use super::{Built, RowCtx, RowError};

/// A list of `count` integers as `i64`.
fn list(ctx: &mut RowCtx<'_, '_>, value: ValueId) -> Result<(ValueId, usize), RowError> {
    let ty = ctx.ty(value)?;
    let count = match ty.shape.as_slice() {
        [count] => count
            .as_const()
            .and_then(|count| usize::try_from(count).ok()),
        _ => None,
    };
    let count =
        count.ok_or_else(|| RowError::Unsupported(format!("{ty} is no list of a known length")))?;
    Ok((ctx.cast(value, DType::I64)?, count))
}

/// `bool[rank, count]`: whether entry `k` of `axes` is this axis.
fn matches(
    ctx: &mut RowCtx<'_, '_>,
    axes: ValueId,
    rank: usize,
) -> Result<(ValueId, usize), RowError> {
    let (axes, count) = list(ctx, axes)?;
    let mut numbers = |range: std::ops::Range<i64>| {
        let column = Tensor::from_i64s(&range.collect::<Vec<i64>>()).reshape(&[rank, 1]);
        let column = column.map_err(|error| RowError::Invalid(error.to_string()))?;
        let column = ctx.constant(column);
        ctx.op(&EQ, &[column, axes])
    };
    let (front, back) = (numbers(0..rank as i64)?, numbers(-(rank as i64)..0)?);
    let matches = ctx.op(&OR, &[front, back])?;
    let marked = ctx.reduce(&REDUCE_MAX, matches, vec![1], false)?;
    ctx.demand_sum(marked, count as i64, &no_axes(rank))?;
    Ok((matches, count))
}

/// The entry of each axis, or a default where no entry is its, `i64[rank]`.
fn by_axis(
    ctx: &mut RowCtx<'_, '_>,
    matches: ValueId,
    entries: ValueId,
    default: ValueId,
) -> Value {
    let zero = ctx.number(entries, 0.0)?;
    let own = ctx.select(matches, entries, zero)?;
    let own = ctx.reduce(&REDUCE_SUM, own, vec![1], false)?;
    let is_given = ctx.reduce(&REDUCE_MAX, matches, vec![1], false)?;
    ctx.select(is_given, own, default)
}

/// Every axis is gathered at positions that are counted from start, end and step.
pub(super) fn slice(
    ctx: &mut RowCtx<'_, '_>,
    axes: Option<ValueId>,
    steps: Option<ValueId>,
) -> Built {
    let (x, starts, ends) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let shape = ctx.ty(x)?.shape;
    let rank = shape.len();
    let axes = match axes {
        Some(axes) => axes,
        None => {
            let (_, count) = list(ctx, starts)?;
            ctx.list(&(0..count as i64).collect::<Vec<i64>>())
        }
    };
    let (matches, count) = matches(ctx, axes, rank)?;
    let ((starts, a), (ends, b)) = (list(ctx, starts)?, list(ctx, ends)?);
    let (steps, c) = match steps {
        Some(steps) => list(ctx, steps)?,
        None => (ctx.list(&vec![1; count]), count),
    };
    if [a, b, c] != [count; 3] {
        return Err(RowError::Invalid(format!(
            "{a} starts, {b} ends and {c} steps for {count} axes"
        )));
    }
    let none = ctx.number(steps, 0.0)?;
    let stays = ctx.op(&EQ, &[steps, none])?;
    ctx.refuse(stays, "a step is 0")?;
    let extents = ctx.dims(shape)?;
    let (zero, one) = (
        ctx.constant(Tensor::scalar(0_i64)),
        ctx.constant(Tensor::scalar(1_i64)),
    );
    let minus = ctx.constant(Tensor::scalar(-1_i64));
    let starts = by_axis(ctx, matches, starts, zero)?;
    let ends = by_axis(ctx, matches, ends, extents)?;
    let steps = by_axis(ctx, matches, steps, one)?;
    let backward = ctx.op(&LT, &[steps, zero])?;
    let last = ctx.sub(extents, one)?;
    let high = ctx.select(backward, last, extents)?;
    let low = ctx.select(backward, minus, zero)?;
    let within = |ctx: &mut RowCtx<'_, '_>, place: ValueId, low: ValueId| {
        let from_end = ctx.add(place, extents)?;
        let is_from_end = ctx.op(&LT, &[place, zero])?;
        let place = ctx.select(is_from_end, from_end, place)?;
        let place = ctx.op(&MIN, &[place, high])?;
        ctx.op(&MAX, &[place, low])
    };
    let (starts, ends) = (within(ctx, starts, zero)?, within(ctx, ends, low)?);
    let (sign, step) = (ctx.op(&SIGN, &[steps])?, ctx.op(&ABS, &[steps])?);
    let span = ctx.sub(ends, starts)?;
    let span = ctx.mul(span, sign)?;
    let span = ctx.op(&MAX, &[span, zero])?;
    let up = ctx.add(span, step)?;
    let up = ctx.sub(up, one)?;
    let counts = ctx.op(&DIV, &[up, step])?;
    // An empty axis has nothing to begin at.
    let counts = ctx.op(&MIN, &[counts, extents])?;
    let counts = read_dims(ctx, counts)?;
    let mut y = x;
    for (axis, count) in counts.into_iter().enumerate() {
        let mut entry = |list: ValueId| -> Value {
            let entry = ctx.part(list, 0, Dim::from(axis), Dim::from(axis + 1))?;
            ctx.view(entry, Vec::new())
        };
        let (start, step) = (entry(starts)?, entry(steps)?);
        let k = ctx.iota(DType::I64, count)?;
        let k = ctx.mul(k, step)?;
        let at = ctx.add(start, k)?;
        y = ctx.gather(y, at, axis)?;
    }
    Ok(vec![y])
}

/// Pads of every axis, all begins and then all ends, where axes are computed.
pub(super) fn pads(
    ctx: &mut RowCtx<'_, '_>,
    axes: ValueId,
    given: ValueId,
    rank: usize,
) -> Result<Vec<Dim>, RowError> {
    let (matches, count) = matches(ctx, axes, rank)?;
    let (given, pads) = list(ctx, given)?;
    if pads != 2 * count {
        return Err(RowError::Invalid(format!("{pads} pads for {count} axes")));
    }
    let zero = ctx.constant(Tensor::scalar(0_i64));
    let mut all = Vec::new();
    for begin in [0, count] {
        let side = ctx.part(given, 0, Dim::from(begin), Dim::from(begin + count))?;
        let side = by_axis(ctx, matches, side, zero)?;
        all.extend(read_dims(ctx, side)?);
    }
    Ok(all)
}
