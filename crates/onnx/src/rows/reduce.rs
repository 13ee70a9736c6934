//! Reductions.

use alula_ir::{Attrs, OpDef, ValueId};
use alula_ops::elementwise::choice::SELECT;
use alula_ops::reduce::{
    ARGMAX, ARGMIN, REDUCE_L1, REDUCE_L2, REDUCE_LOG_SUM, REDUCE_LOG_SUM_EXP, REDUCE_MAX,
    REDUCE_MEAN, REDUCE_MIN, REDUCE_PROD, REDUCE_SUM, REDUCE_SUM_SQUARE,
};
use alula_ops::shape::{CONCAT, DIMS};
use alula_tensor::{Dim, Tensor};

use super::shape::{read_dims, reshape_to};
use super::{Built, Row, RowCtx, RowError, axes, row};

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
    (x, given): (ValueId, ValueId),
    keepdims: bool,
) -> Built {
    let (shape, ty) = (ctx.ty(x)?.shape, ctx.ty(given)?);
    let rank = shape.len();
    let count = axes::count(&ty, rank)?;
    let is_reduced = axes::mark(ctx, given, rank)?;
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
    let left = axes::extents_left(ctx, extents, is_reduced, rank - count)?;
    Ok(vec![reshape_to(ctx, reduced, left)?])
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
