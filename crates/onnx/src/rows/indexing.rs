//! Gathers and scatters.

use alula_ir::Attrs;
use alula_ops::indexing::{GATHER, GATHER_ELEMENTS, GATHER_ND, SCATTER_ELEMENTS, SCATTER_ND};

use super::shape::normal_axis;
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("Gather", &[1, 11, 13], &["axis"], |ctx| {
        check_known_indices(ctx)?;
        let attrs = Attrs::new().with("axis", ctx.int_or("axis", 0));
        direct(ctx, &GATHER, attrs)
    }),
    row("GatherElements", &[11, 13], &["axis"], |ctx| {
        check_known_indices(ctx)?;
        let attrs = Attrs::new().with("axis", ctx.int_or("axis", 0));
        direct(ctx, &GATHER_ELEMENTS, attrs)
    }),
    row("GatherND", &[11, 12, 13], &["batch_dims"], |ctx| {
        let attrs = Attrs::new().with("batch_dims", ctx.int_or("batch_dims", 0));
        direct(ctx, &GATHER_ND, attrs)
    }),
    row("ScatterND", &[11, 13, 16, 18], &["reduction"], |ctx| {
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

/// Refuses indices that are constants outside of the axis. Others are clamped as a model runs.
fn check_known_indices(ctx: &mut RowCtx<'_, '_>) -> Result<(), RowError> {
    let (x, indices) = (ctx.input(0)?, ctx.input(1)?);
    let ty = ctx.ty(x)?;
    let axis = normal_axis(ctx.int_or("axis", 0), ty.rank())?;
    let known = ctx.as_constant(indices).and_then(|tensor| tensor.to_i64s());
    let (Some(known), Some(extent)) = (known, ty.shape[axis].as_const()) else {
        return Ok(());
    };
    match known.iter().find(|at| !(-extent..extent).contains(*at)) {
        None => Ok(()),
        Some(at) => Err(RowError::Invalid(format!(
            "index {at} is outside of axis {axis} of {ty}"
        ))),
    }
}

fn direct(ctx: &mut RowCtx<'_, '_>, op: &'static alula_ir::OpDef, attrs: Attrs) -> Built {
    let inputs = ctx.all_inputs()?;
    Ok(vec![ctx.push(op, &inputs, attrs)?])
}

fn scatter_elements(ctx: &mut RowCtx<'_, '_>) -> Built {
    let attrs = Attrs::new()
        .with("axis", ctx.int_or("axis", 0))
        .with("reduction", ctx.str_or("reduction", "none"));
    direct(ctx, &SCATTER_ELEMENTS, attrs)
}
