//! Gathers and scatters.

use alula_ir::Attrs;
use alula_ops::indexing::{GATHER, GATHER_ELEMENTS, GATHER_ND, SCATTER_ELEMENTS, SCATTER_ND};
use alula_tensor::Dim;

use super::shape::normal_axis;
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("Gather", &[1, 11, 13], &["axis"], |ctx| {
        let attrs = along_axis(ctx)?;
        direct(ctx, &GATHER, attrs)
    }),
    row("GatherElements", &[11, 13], &["axis"], |ctx| {
        let attrs = along_axis(ctx)?;
        direct(ctx, &GATHER_ELEMENTS, attrs)
    }),
    row("GatherND", &[11, 12, 13], &["batch_dims"], |ctx| {
        let batch = ctx.int_or("batch_dims", 0);
        demand_positions(ctx, usize::try_from(batch).unwrap_or(usize::MAX))?;
        direct(ctx, &GATHER_ND, Attrs::new().with("batch_dims", batch))
    }),
    row("ScatterND", &[11, 13, 16, 18], &["reduction"], |ctx| {
        demand_positions(ctx, 0)?;
        let attrs = Attrs::new().with("reduction", ctx.str_or("reduction", "none"));
        direct(ctx, &SCATTER_ND, attrs)
    }),
    row(
        "ScatterElements",
        &[11, 13, 16, 18],
        &["axis", "reduction"],
        scatter_elements,
    ),
    // The older name of the same operator.
    row("Scatter", &[9, 11], &["axis"], scatter_elements),
];

/// The axis, within which the indices must be.
fn along_axis(ctx: &mut RowCtx<'_, '_>) -> Result<Attrs, RowError> {
    let (x, indices) = (ctx.input(0)?, ctx.input(1)?);
    let given = ctx.int_or("axis", 0);
    let axis = normal_axis(given, ctx.rank(x)?)?;
    ctx.demand_within(indices, x, axis)?;
    Ok(Attrs::new().with("axis", given))
}

/// Positions that the last axis of the indices holds must be within the axes of `x` after the
/// batch axes. What does not type is left to inference.
fn demand_positions(ctx: &mut RowCtx<'_, '_>, batch: usize) -> Result<(), RowError> {
    let (x, indices) = (ctx.input(0)?, ctx.input(1)?);
    let (ty, positions) = (ctx.ty(x)?, ctx.ty(indices)?);
    let depth = positions.shape.last().and_then(Dim::as_const);
    let depth = depth.and_then(|depth| usize::try_from(depth).ok());
    let end = depth.and_then(|depth| batch.checked_add(depth));
    match end.and_then(|end| ty.shape.get(batch..end)) {
        Some(extents) => ctx.demand_inside(indices, extents, &format!("{ty}")),
        None => Ok(()),
    }
}

fn direct(ctx: &mut RowCtx<'_, '_>, op: &'static alula_ir::OpDef, attrs: Attrs) -> Built {
    let inputs = ctx.all_inputs()?;
    Ok(vec![ctx.push(op, &inputs, attrs)?])
}

fn scatter_elements(ctx: &mut RowCtx<'_, '_>) -> Built {
    let attrs = along_axis(ctx)?.with("reduction", ctx.str_or("reduction", "none"));
    direct(ctx, &SCATTER_ELEMENTS, attrs)
}
