//! Gathers and scatters.

use alula_ir::Attrs;
use alula_ops::indexing::{GATHER, GATHER_ELEMENTS, GATHER_ND, SCATTER_ELEMENTS, SCATTER_ND};

use super::{Built, Row, RowCtx, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("Gather", &[1, 11, 13], &["axis"], |ctx| {
        let attrs = Attrs::new().with("axis", ctx.int_or("axis", 0));
        direct(ctx, &GATHER, attrs)
    }),
    row("GatherElements", &[11, 13], &["axis"], |ctx| {
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
