//! Reductions.

use alula_ir::{Attrs, OpDef, ValueId};
use alula_ops::elementwise::arithmetic::{EQ, NOT, OR};
use alula_ops::elementwise::choice::{CAST, SELECT};
use alula_ops::host_ops::COMPRESS;
use alula_ops::reduce::{
    ARGMAX, ARGMIN, REDUCE_L1, REDUCE_L2, REDUCE_LOG_SUM, REDUCE_LOG_SUM_EXP, REDUCE_MAX,
    REDUCE_MEAN, REDUCE_MIN, REDUCE_PROD, REDUCE_SUM, REDUCE_SUM_SQUARE,
};
use alula_ops::shape::{CONCAT, DIMS};
use alula_tensor::{DType, Dim, Tensor};

use super::shape::{read_dims, reshape_to};
use super::{Built, Row, RowCtx, RowError, row};

/// A reduction whose axes became an input in `$input_since`.
macro_rules! reduction {
    ($op_type:literal, $versions:expr, $op:path, $input_since:literal) => {
        row(
            $op_type,
            $versions,
            &["axes", "keepdims", "noop_with_empty_axes"],
            |ctx| reduce(ctx, &$op, $input_since),
        )
    };
}

const SINCE_18: &[i64] = &[1, 11, 13, 18];

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    reduction!("ReduceSum", &[1, 11, 13], REDUCE_SUM, 13),
    reduction!("ReduceMean", SINCE_18, REDUCE_MEAN, 18),
    reduction!("ReduceProd", SINCE_18, REDUCE_PROD, 18),
    reduction!("ReduceMax", &[1, 11, 12, 13, 18, 20], REDUCE_MAX, 18),
    reduction!("ReduceMin", &[1, 11, 12, 13, 18, 20], REDUCE_MIN, 18),
    reduction!("ReduceL1", SINCE_18, REDUCE_L1, 18),
    reduction!("ReduceL2", SINCE_18, REDUCE_L2, 18),
    reduction!("ReduceLogSum", &[1, 11, 13, 18, 28], REDUCE_LOG_SUM, 18),
    reduction!(
        "ReduceLogSumExp",
        &[1, 11, 13, 18, 28],
        REDUCE_LOG_SUM_EXP,
        18
    ),
    reduction!("ReduceSumSquare", SINCE_18, REDUCE_SUM_SQUARE, 18),
    row(
        "ArgMax",
        &[1, 11, 12, 13],
        &["axis", "keepdims", "select_last_index"],
        |ctx| arg(ctx, &ARGMAX),
    ),
    row(
        "ArgMin",
        &[1, 11, 12, 13],
        &["axis", "keepdims", "select_last_index"],
        |ctx| arg(ctx, &ARGMIN),
    ),
];

fn reduce(ctx: &mut RowCtx<'_, '_>, op: &'static OpDef, input_since: i64) -> Built {
    let x = ctx.input(0)?;
    let rank = ctx.rank(x)?;
    let keepdims = ctx.flag("keepdims", true);
    let given = match ctx.optional(1) {
        _ if ctx.version < input_since => ctx.ints("axes"),
        Some(axes) => match ctx.const_ints(axes) {
            Some(known) => Some(known),
            // No axes are known to be none, whatever computes them.
            None if ctx.ty(axes)?.num_elements().is(0) => None,
            None => return reduce_unknown_axes(ctx, op, (x, axes), keepdims),
        },
        None => None,
    };
    let axes = match given {
        Some(axes) if !axes.is_empty() => axes,
        // No axes mean all of them, unless they are to mean none.
        Some(_) | None if ctx.flag("noop_with_empty_axes", false) => Vec::new(),
        Some(_) | None => (0..rank as i64).collect(),
    };
    let attrs = Attrs::new().with("axes", axes).with("keepdims", keepdims);
    Ok(vec![ctx.push(op, &[x], attrs)?])
}

/// Axes computed while the model runs: each axis of `x` becomes two, one that is kept and one that
/// is reduced, of which one has extent 1. The model's own operators compute which.
fn reduce_unknown_axes(
    ctx: &mut RowCtx<'_, '_>,
    op: &'static OpDef,
    (x, axes): (ValueId, ValueId),
    keepdims: bool,
) -> Built {
    let (shape, ty) = (ctx.ty(x)?.shape, ctx.ty(axes)?);
    let rank = shape.len();
    let count = match ty.shape.as_slice() {
        [count] => count
            .as_const()
            .and_then(|count| usize::try_from(count).ok()),
        _ => None,
    };
    let Some(count) = count.filter(|count| *count <= rank) else {
        return Err(RowError::Unsupported(format!("axes {ty} of rank {rank}")));
    };
    let is_reduced = mark_axes(ctx, axes, rank)?;
    let extents = ctx.push(&DIMS, &[], Attrs::new().with("values", shape))?;
    let one = ctx.constant(Tensor::scalar(1_i64));
    let plain = Attrs::new;
    let kept = ctx.push(&SELECT, &[is_reduced, one, extents], plain())?;
    let folded = ctx.push(&SELECT, &[is_reduced, extents, one], plain())?;
    let column = |ctx: &mut RowCtx<'_, '_>, value| {
        reshape_to(ctx, value, vec![Dim::from(rank), Dim::new(1)])
    };
    let columns = [column(ctx, kept)?, column(ctx, folded)?];
    let pairs = ctx.push(&CONCAT, &columns, plain().with("axis", 1_i64))?;
    let pairs = reshape_to(ctx, pairs, vec![Dim::from(2 * rank)])?;
    let pairs = read_dims(ctx, pairs)?;
    let wide = reshape_to(ctx, x, pairs)?;
    let second: Vec<i64> = (0..rank as i64).map(|k| 2 * k + 1).collect();
    let attrs = plain().with("axes", second).with("keepdims", false);
    let reduced = ctx.push(op, &[wide], attrs)?;
    if keepdims {
        return Ok(vec![reduced]);
    }
    // The extents that stay, in order: there are `rank - count` of them.
    let stays = ctx.push(&NOT, &[is_reduced], plain())?;
    let left = ctx.push(&COMPRESS, &[extents, stays], plain().with("axis", 0_i64))?;
    let left = reshape_to(ctx, left, vec![Dim::from(rank - count)])?;
    let left = read_dims(ctx, left)?;
    Ok(vec![reshape_to(ctx, reduced, left)?])
}

/// `bool[rank]`: whether each axis is one of `axes`, which may count from the end.
fn mark_axes(ctx: &mut RowCtx<'_, '_>, axes: ValueId, rank: usize) -> Result<ValueId, RowError> {
    let plain = Attrs::new;
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
    ctx.push(&REDUCE_MAX, &[either], attrs)
}

fn arg(ctx: &mut RowCtx<'_, '_>, op: &'static OpDef) -> Built {
    let x = ctx.input(0)?;
    if ctx.rank(x)? == 0 {
        return Err(RowError::Unsupported(
            "the position of a scalar's only element".to_owned(),
        ));
    }
    let attrs = Attrs::new()
        .with("axis", ctx.int_or("axis", 0))
        .with("keepdims", ctx.flag("keepdims", true))
        .with("last", ctx.flag("select_last_index", false));
    Ok(vec![ctx.push(op, &[x], attrs)?])
}
