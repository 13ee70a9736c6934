//! `Inverse` of `com.microsoft`: Gauss-Jordan elimination with partial pivoting, as a `loop` over
//! the columns.

use alula_ir::ValueId;
use alula_ops::elementwise::arithmetic::EQ;
use alula_tensor::{DType, Dim};

use super::compose::Value;
use super::pivots::{Pivot, Square, for_each_column, pivot, square};
use super::{Built, Row, RowCtx, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row("Inverse", &[], inverse)];

fn inverse(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let Square {
        matrices,
        dtype,
        count,
        extent,
        ..
    } = square(ctx, "Inverse")?;
    if extent.is(0) {
        return Ok(vec![x]);
    }
    // The identity stands to the right of each matrix and is its inverse in the end.
    let across = ctx.iota(DType::I64, extent.clone())?;
    let down = ctx.view(across, vec![extent.clone(), Dim::new(1)])?;
    let is_diagonal = ctx.op(&EQ, &[across, down])?;
    let (zero, one) = (ctx.scalar(dtype, 0.0)?, ctx.scalar(dtype, 1.0)?);
    let identity = ctx.select(is_diagonal, one, zero)?;
    let identity = ctx.expand(identity, vec![count, extent.clone(), extent.clone()])?;
    let both = ctx.join(&[matrices, identity], 2)?;
    let columns = extent.clone();
    let results = for_each_column(ctx, columns, &[("both", both)], &mut |ctx, both, column| {
        Ok(vec![eliminate(ctx, both[0], column)?])
    })?;
    let twice = extent.clone() * Dim::new(2);
    let y = ctx.part(results[0], 2, extent, twice)?;
    let y = ctx.view(y, ty.shape.clone())?;
    Ok(vec![ctx.cast(y, ty.dtype)?])
}

/// One column of `[B, N, 2N]`: the row at or below the diagonal with its largest element changes
/// places with the column's own, is divided by it, and is subtracted from all others so that they
/// have zeros there.
fn eliminate(ctx: &mut RowCtx<'_, '_>, both: ValueId, column: ValueId) -> Value {
    let extent = ctx.ty(both)?.shape[1].clone();
    let Pivot {
        matrices: both,
        row,
        element,
        ..
    } = pivot(ctx, both, column)?;
    let row = ctx.div(row, element)?;
    let factors = ctx.gather(both, column, 2)?;
    let factors = ctx.unsqueeze(factors, 2)?;
    let taken = ctx.mul(factors, row)?;
    let both = ctx.sub(both, taken)?;
    let positions = ctx.iota(DType::I64, extent)?;
    let is_own = ctx.op(&EQ, &[positions, column])?;
    let is_own = ctx.unsqueeze(is_own, 1)?;
    ctx.select(is_own, row, both)
}
