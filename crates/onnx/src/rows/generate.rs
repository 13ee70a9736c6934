//! Tensors made by counting: `Range`, `OneHot`.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic;
use alula_ops::shape::{AS_DIMS, ONE_HOT, RANGE, range_count};
use alula_tensor::Dim;

use super::shape::{as_scalar, read_dim};
use super::{Built, Row, RowCtx, RowError, row, steps};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("Range", &[11, 27], &["stash_type"], range),
    row("OneHot", &[9, 11, 28], &["axis"], one_hot),
];

fn range(ctx: &mut RowCtx<'_, '_>) -> Built {
    let mut scalar = |position: usize| {
        let value = ctx.input(position)?;
        as_scalar(ctx, value)
    };
    let (start, limit, delta) = (scalar(0)?, scalar(1)?, scalar(2)?);
    // Narrow floats are computed in f32, which is what 1 (float) asks for.
    if ctx.int_or("stash_type", 1) != 1 && ctx.ty(start)?.dtype.compute() != ctx.ty(start)?.dtype {
        let stash = ctx.int_or("stash_type", 1);
        return Err(RowError::Unsupported(format!("stash_type {stash}")));
    }
    let count = match known_count(ctx, start, limit, delta)? {
        Some(count) => count,
        None => count_at_run_time(ctx, start, limit, delta)?,
    };
    let attrs = Attrs::new().with("count", vec![count]);
    Ok(vec![ctx.push(&RANGE, &[start, delta], attrs)?])
}

fn known_count(
    ctx: &mut RowCtx<'_, '_>,
    start: ValueId,
    limit: ValueId,
    delta: ValueId,
) -> Result<Option<Dim>, RowError> {
    let all = [start, limit, delta];
    let zero = || RowError::Invalid("the step is 0".to_owned());
    if let [Some(start), Some(limit), Some(delta)] = all.map(|value| ctx.content(value))
        && let ([start], [limit], [delta]) = (&start[..], &limit[..], &delta[..])
        && let Some(step) = delta.as_const()
    {
        return range_count(start, limit, step).map(Some).ok_or_else(zero);
    }
    let dtype = ctx.ty(delta)?.dtype;
    let floats = all.map(|value| ctx.as_constant(value).and_then(|tensor| tensor.get(0)));
    if let [Some(start), Some(limit), Some(delta)] = floats {
        if delta.to_f64() == 0.0 {
            return Err(zero());
        }
        let count = steps::known_count(dtype, [start, limit, delta]);
        return Ok(Some(Dim::new(count)));
    }
    Ok(None)
}

/// The number of steps, computed by the model's own operators.
fn count_at_run_time(
    ctx: &mut RowCtx<'_, '_>,
    start: ValueId,
    limit: ValueId,
    delta: ValueId,
) -> Result<Dim, RowError> {
    let zero = ctx.number(delta, 0.0)?;
    let stays = ctx.op(&arithmetic::EQ, &[delta, zero])?;
    ctx.refuse(stays, "the step is 0")?;
    let compute = ctx.ty(delta)?.dtype.compute();
    let mut wide = |value| ctx.cast(value, compute);
    let (start, limit, delta) = (wide(start)?, wide(limit)?, wide(delta)?);
    let count = steps::count(ctx, start, limit, delta)?;
    let count = ctx.push(&AS_DIMS, &[count], Attrs::new())?;
    match ctx.content(count).as_deref() {
        Some([count]) => Ok(count.clone()),
        _ => Err(RowError::Unsupported(
            "a range of unknown length".to_owned(),
        )),
    }
}

fn one_hot(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (indices, depth, values) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let depth = read_dim(ctx, depth)?;
    let attrs = Attrs::new()
        .with("depth", vec![depth])
        .with("axis", ctx.int_or("axis", -1));
    Ok(vec![ctx.push(&ONE_HOT, &[indices, values], attrs)?])
}
