//! Operators whose result extents depend on values, or that sort.

use alula_ir::Attrs;
use alula_ops::host_ops::{COMPRESS, NON_MAX_SUPPRESSION, NONZERO, TOPK, UNIQUE};
use alula_tensor::Tensor;

use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("NonZero", &[9, 13], &[], |ctx| {
        let x = ctx.input(0)?;
        Ok(vec![ctx.push(&NONZERO, &[x], Attrs::new())?])
    }),
    row(
        "TopK",
        &[1, 10, 11, 24],
        &["axis", "k", "largest", "sorted"],
        topk,
    ),
    row("Unique", &[11, 28], &["axis", "sorted"], unique),
    row("Compress", &[9, 11, 28], &["axis"], compress),
    row(
        "NonMaxSuppression",
        &[10, 11],
        &["center_point_box"],
        non_max_suppression,
    ),
];

/// `k` is an attribute up to opset 9, an input from 10 on.
fn topk(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let k = if ctx.version < 10 {
        let k = ctx.int("k");
        let k = k.ok_or_else(|| RowError::Invalid("attribute k is absent".to_owned()))?;
        ctx.constant(Tensor::from_i64s(&[k]))
    } else {
        ctx.input(1)?
    };
    let attrs = Attrs::new()
        .with("axis", ctx.int_or("axis", -1))
        .with("largest", ctx.flag("largest", true))
        .with("sorted", ctx.flag("sorted", true));
    ctx.push_all(&TOPK, &[Some(x), Some(k)], attrs)
}

fn unique(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let mut attrs = Attrs::new().with("sorted", ctx.flag("sorted", true));
    if let Some(axis) = ctx.int("axis") {
        attrs.set("axis", axis);
    }
    ctx.push_all(&UNIQUE, &[Some(x)], attrs)
}

fn compress(ctx: &mut RowCtx<'_, '_>) -> Built {
    let inputs = ctx.all_inputs()?;
    let mut attrs = Attrs::new();
    if let Some(axis) = ctx.int("axis") {
        attrs.set("axis", axis);
    }
    Ok(vec![ctx.push(&COMPRESS, &inputs, attrs)?])
}

fn non_max_suppression(ctx: &mut RowCtx<'_, '_>) -> Built {
    let operands: Vec<_> = (0..ctx.num_inputs()).map(|k| ctx.optional(k)).collect();
    let attrs = Attrs::new().with("center_point_box", ctx.flag("center_point_box", false));
    ctx.push_all(&NON_MAX_SUPPRESSION, &operands, attrs)
}
