//! Pools.

use alula_ir::{Attrs, OpDef, ValueId};
use alula_ops::elementwise::arithmetic::{ABS, POW};
use alula_ops::pooling::{AVERAGE_POOL, LP_POOL, MAX_POOL, MAX_UNPOOL};
use alula_ops::reduce::{REDUCE_L1, REDUCE_L2, REDUCE_MAX, REDUCE_MEAN, REDUCE_SUM};
use alula_ops::shape::PAD;
use alula_tensor::Dim;

use super::shape::read_dims;
use super::window::Window;
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "MaxPool",
        &[1, 8, 10, 11, 12, 22],
        &[
            "auto_pad",
            "ceil_mode",
            "dilations",
            "kernel_shape",
            "pads",
            "storage_order",
            "strides",
        ],
        |ctx| {
            let x = ctx.input(0)?;
            let attrs = pool_attrs(ctx, x)?.with("column_major", ctx.flag("storage_order", false));
            ctx.push_all(&MAX_POOL, &[Some(x)], attrs)
        },
    ),
    row(
        "AveragePool",
        &[1, 7, 10, 11, 19, 22],
        &[
            "auto_pad",
            "ceil_mode",
            "count_include_pad",
            "dilations",
            "kernel_shape",
            "pads",
            "strides",
        ],
        |ctx| {
            let include = ctx.flag("count_include_pad", false);
            let x = ctx.input(0)?;
            let attrs = pool_attrs(ctx, x)?.with("count_include_pad", include);
            ctx.push_all(&AVERAGE_POOL, &[Some(x)], attrs)
        },
    ),
    row(
        "LpPool",
        &[1, 2, 11, 18, 22],
        &[
            "auto_pad",
            "ceil_mode",
            "dilations",
            "kernel_shape",
            "p",
            "pads",
            "strides",
        ],
        |ctx| {
            let x = ctx.input(0)?;
            let attrs = pool_attrs(ctx, x)?.with("p", ctx.int_or("p", 2));
            ctx.push_all(&LP_POOL, &[Some(x)], attrs)
        },
    ),
    row("GlobalMaxPool", &[1, 22], &[], |ctx| {
        global(ctx, &REDUCE_MAX)
    }),
    row("GlobalAveragePool", &[1, 22], &[], |ctx| {
        global(ctx, &REDUCE_MEAN)
    }),
    row("GlobalLpPool", &[1, 2, 22], &["p"], global_lp),
    row(
        "MaxUnpool",
        &[9, 11, 22],
        &["kernel_shape", "pads", "strides"],
        max_unpool,
    ),
];

/// All spatial axes of a type.
fn spatial(ctx: &mut RowCtx<'_, '_>, x: ValueId) -> Result<Attrs, RowError> {
    let ty = ctx.ty(x)?;
    if ty.rank() < 3 {
        return Err(RowError::Invalid(format!("{ty} has no spatial axes")));
    }
    let axes: Vec<i64> = (2..ty.rank() as i64).collect();
    Ok(Attrs::new().with("axes", axes).with("keepdims", true))
}

fn global(ctx: &mut RowCtx<'_, '_>, reduce: &'static OpDef) -> Built {
    let x = ctx.input(0)?;
    let attrs = spatial(ctx, x)?;
    Ok(vec![ctx.push(reduce, &[x], attrs)?])
}

fn global_lp(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    match ctx.int_or("p", 2) {
        1 => global(ctx, &REDUCE_L1),
        2 => global(ctx, &REDUCE_L2),
        p => {
            let dtype = ctx.ty(x)?.dtype;
            let (power, root) = (
                ctx.scalar(dtype, p as f64)?,
                ctx.scalar(dtype, 1.0 / p as f64)?,
            );
            let attrs = spatial(ctx, x)?;
            let magnitude = ctx.push(&ABS, &[x], Attrs::new())?;
            let powers = ctx.push(&POW, &[magnitude, power], Attrs::new())?;
            let sum = ctx.push(&REDUCE_SUM, &[powers], attrs)?;
            Ok(vec![ctx.push(&POW, &[sum, root], Attrs::new())?])
        }
    }
}

fn kernel_shape(ctx: &RowCtx<'_, '_>) -> Result<Vec<Dim>, RowError> {
    let kernel = ctx
        .ints("kernel_shape")
        .ok_or_else(|| RowError::Invalid("attribute kernel_shape is absent".to_owned()))?;
    Ok(kernel.into_iter().map(Dim::new).collect())
}

/// A pool's attributes over the spatial axes of `x`, which follow its channels.
pub(super) fn pool_attrs(ctx: &mut RowCtx<'_, '_>, x: ValueId) -> Result<Attrs, RowError> {
    let ty = ctx.ty(x)?;
    let window = Window::new(ctx, kernel_shape(ctx)?)?;
    if ty.rank() != window.kernel.len() + 2 {
        return Err(RowError::Invalid(format!(
            "{ty} has not {} spatial axes as kernel_shape has",
            window.kernel.len()
        )));
    }
    let pads = window.resolved_pads(&ty.shape[2..]);
    let kernel: Vec<i64> = ctx.ints("kernel_shape").unwrap_or_default();
    let ceil_mode = ctx.flag("ceil_mode", false) && !window.is_same();
    Ok(window
        .attrs(pads)
        .with("kernel", kernel)
        .with("ceil_mode", ceil_mode))
}

/// The inverse of a pool; the result's extents are given, or what the windows cover.
fn max_unpool(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, positions) = (ctx.input(0)?, ctx.input(1)?);
    let ty = ctx.ty(x)?;
    let window = Window::new(ctx, kernel_shape(ctx)?)?;
    let rank = window.kernel.len();
    if ty.rank() != rank + 2 {
        return Err(RowError::Invalid(format!(
            "{ty} has not {rank} spatial axes"
        )));
    }
    let covered: Vec<Dim> = (0..ty.rank())
        .map(|axis| match axis.checked_sub(2) {
            None => ty.shape[axis].clone(),
            Some(d) => {
                let reach = (ty.shape[axis].clone() - Dim::new(1)) * Dim::new(window.strides[d]);
                let pads = Dim::new(window.pads[d] + window.pads[rank + d]);
                reach + window.kernel[d].clone() - pads
            }
        })
        .collect();
    let shape = match ctx.optional(2) {
        None => covered.clone(),
        Some(given) => read_dims(ctx, given)?,
    };
    if shape.len() != ty.rank() {
        return Err(RowError::Invalid(format!(
            "output_shape has not the rank of {ty}"
        )));
    }
    // Positions count in the extents that the window covers; the rest is added at the ends.
    let attrs = Attrs::new().with("shape", covered.clone());
    let result = ctx.push(&MAX_UNPOOL, &[x, positions], attrs)?;
    if shape == covered {
        return Ok(vec![result]);
    }
    let mut pads = vec![Dim::new(0); ty.rank()];
    pads.extend(
        shape
            .into_iter()
            .zip(covered)
            .map(|(wanted, has)| wanted - has),
    );
    let padded = ctx.push(&PAD, &[result], Attrs::new().with("pads", pads))?;
    Ok(vec![padded])
}
