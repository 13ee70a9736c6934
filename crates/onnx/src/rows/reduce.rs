//! Reductions.

use alula_ir::{Attrs, OpDef};
use alula_ops::reduce::{
    ARGMAX, ARGMIN, REDUCE_L1, REDUCE_L2, REDUCE_LOG_SUM, REDUCE_LOG_SUM_EXP, REDUCE_MAX,
    REDUCE_MEAN, REDUCE_MIN, REDUCE_PROD, REDUCE_SUM, REDUCE_SUM_SQUARE,
};

use super::shape::known_ints;
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
    let given = match ctx.optional(1) {
        _ if ctx.version < input_since => ctx.ints("axes"),
        Some(axes) => Some(known_ints(ctx, axes, "axes")?),
        None => None,
    };
    let axes = match given {
        Some(axes) if !axes.is_empty() => axes,
        // No axes mean all of them, unless they are to mean none.
        Some(_) | None if ctx.flag("noop_with_empty_axes", false) => Vec::new(),
        Some(_) | None => (0..ctx.rank(x)? as i64).collect(),
    };
    let attrs = Attrs::new()
        .with("axes", axes)
        .with("keepdims", ctx.flag("keepdims", true));
    Ok(vec![ctx.push(op, &[x], attrs)?])
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
