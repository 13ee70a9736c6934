//! `Det`: the product of the pivots of an LU decomposition with partial pivoting, as a `loop` over
//! the columns.

use alula_ir::ValueId;
use alula_ops::elementwise::arithmetic::{EQ, NEG};

use super::pivots::{Pivot, Square, for_each_column, pivot, square};
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row("Det", &[11, 22], &[], det)];

fn det(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let result = ctx.ty(x)?.dtype;
    let Square {
        matrices,
        dtype,
        batch,
        count,
        extent,
    } = square(ctx, "Det")?;
    if extent.is(0) {
        let one = ctx.scalar(result, 1.0)?;
        return Ok(vec![ctx.expand(one, batch)?]);
    }
    let one = ctx.scalar(dtype, 1.0)?;
    let ones = ctx.expand(one, vec![count])?;
    let carried = [("matrices", matrices), ("product", ones)];
    let results = for_each_column(ctx, extent, &carried, &mut |ctx, carried, column| {
        let (matrices, product) = eliminate(ctx, carried[0], carried[1], column)?;
        Ok(vec![matrices, product])
    })?;
    let product = ctx.cast(results[1], result)?;
    Ok(vec![ctx.view(product, batch)?])
}

/// One column of `[B, N, N]` matrices: the row with its largest element changes places with the
/// column's own, and is subtracted from the rows beneath so that they have zeros there. Rows above
/// are not needed any more and hold anything.
fn eliminate(
    ctx: &mut RowCtx<'_, '_>,
    matrices: ValueId,
    product: ValueId,
    column: ValueId,
) -> Result<(ValueId, ValueId), RowError> {
    let count = ctx.ty(matrices)?.shape[0].clone();
    let Pivot {
        matrices,
        row,
        at,
        element,
    } = pivot(ctx, matrices, column)?;
    let below = ctx.gather(matrices, column, 2)?;
    let below = ctx.unsqueeze(below, 2)?;
    // Beneath a largest element of 0 there is nothing to do.
    let zero = ctx.number(element, 0.0)?;
    let is_zero = ctx.op(&EQ, &[element, zero])?;
    let factors = ctx.div(below, element)?;
    let factors = ctx.select(is_zero, zero, factors)?;
    let taken = ctx.mul(factors, row)?;
    let matrices = ctx.sub(matrices, taken)?;
    let element = ctx.view(element, vec![count.clone()])?;
    let at = ctx.view(at, vec![count])?;
    let is_in_place = ctx.op(&EQ, &[at, column])?;
    let negative = ctx.op(&NEG, &[element])?;
    let factor = ctx.select(is_in_place, element, negative)?;
    Ok((matrices, ctx.mul(product, factor)?))
}
