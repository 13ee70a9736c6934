//! Images sampled at the places of a grid: `AffineGrid`, `GridSample`.

use alula_ir::Attrs;
use alula_ops::contraction::MATMUL;
use alula_ops::elementwise::arithmetic::ROUND;
use alula_tensor::Dim;

use super::compose::one_of;
use super::sampling::{Line, Outside, channels_second, pixels_first, sample, taps, wide};
use super::shape::read_dims;
use super::{Built, Row, RowCtx, RowError, microsoft_row, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("AffineGrid", &[20], &["align_corners"], affine_grid),
    row(
        "GridSample",
        &[16, 20, 22],
        &["align_corners", "mode", "padding_mode"],
        grid_sample,
    ),
    microsoft_row(
        "GridSample",
        &["align_corners", "mode", "padding_mode"],
        grid_sample,
    ),
];

fn affine_grid(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (theta, size) = (ctx.input(0)?, ctx.input(1)?);
    let ty = ctx.ty(theta)?;
    let size = read_dims(ctx, size)?;
    let rank = size.len().saturating_sub(2);
    if !(2..=3).contains(&rank) || ty.rank() != 3 {
        return Err(RowError::Invalid(format!("{ty} for a grid of {rank} axes")));
    }
    let dtype = ty.dtype;
    let corners = ctx.flag("align_corners", false);
    let extents = &size[2..];
    let mut columns = Vec::new();
    // The last axis of the image is the first coordinate.
    for axis in (0..rank).rev() {
        let count = extents[axis].clone();
        let at = ctx.iota(dtype, count.clone())?;
        let total = match corners {
            true => count.clone() - Dim::new(1),
            false => count.clone(),
        };
        let total = ctx.dim(total)?;
        let total = ctx.cast(total, dtype)?;
        let doubled = ctx.times(at, 2.0)?;
        let begin = match corners {
            true => doubled,
            false => ctx.plus(doubled, 1.0)?,
        };
        let place = ctx.div(begin, total)?;
        let place = ctx.plus(place, -1.0)?;
        let mut shape = vec![Dim::new(1); rank + 1];
        shape[axis] = count;
        let place = ctx.view(place, shape)?;
        let mut to = extents.to_vec();
        to.push(Dim::new(1));
        columns.push(ctx.expand(place, to)?);
    }
    let one = ctx.number(columns[0], 1.0)?;
    let mut to = extents.to_vec();
    to.push(Dim::new(1));
    columns.push(ctx.expand(one, to)?);
    let places = ctx.join(&columns, rank)?;
    let all: Dim = extents.iter().cloned().product();
    let places = ctx.view(places, vec![all, Dim::from(rank + 1)])?;
    let attrs = Attrs::new().with("transpose_b", true);
    let grid = ctx.push(&MATMUL, &[places, theta], attrs)?;
    let mut to = vec![size[0].clone()];
    to.extend_from_slice(extents);
    to.push(Dim::from(rank));
    Ok(vec![ctx.view(grid, to)?])
}

/// Version 16 and the vendor's are for images only, and say bilinear and bicubic.
fn grid_sample(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, grid) = (ctx.input(0)?, ctx.input(1)?);
    let (ty, places) = (ctx.ty(x)?, ctx.ty(grid)?);
    let rank = ty.rank().saturating_sub(2);
    let (words, default) = match ctx.version {
        1 | 16 => (["nearest", "bilinear", "bicubic"], "bilinear"),
        _ => (["nearest", "linear", "cubic"], "linear"),
    };
    let mode = ctx.str_or("mode", default);
    let mode = one_of("mode", &mode, &words)?;
    let padding = ctx.str_or("padding_mode", "zeros");
    let outside = match one_of("padding_mode", &padding, &["zeros", "border", "reflection"])? {
        0 => Outside::Zeros,
        1 => Outside::Border,
        _ => Outside::Reflection,
    };
    let corners = ctx.flag("align_corners", false);
    let last = places.shape.last().and_then(Dim::as_const);
    if rank == 0 || places.rank() != ty.rank() || last != Some(rank as i64) {
        return Err(RowError::Invalid(format!("{ty} at places {places}")));
    }
    if mode > 0 && !ty.dtype.is_float() {
        return Err(RowError::Unsupported(format!(
            "mode {} of {}",
            words[mode], ty.dtype
        )));
    }
    let dtype = wide(places.dtype);
    let grid = ctx.cast(grid, dtype)?;
    let mut axes = Vec::new();
    for axis in 0..rank {
        let extent = ctx.dim(ty.shape[2 + axis].clone())?;
        let line = Line {
            extent: ctx.cast(extent, dtype)?,
            outside,
            corners,
        };
        // The first coordinate is that of the last axis.
        let coordinate = (rank - 1 - axis) as i64;
        let at = ctx.part(
            grid,
            rank + 1,
            Dim::new(coordinate),
            Dim::new(coordinate + 1),
        )?;
        let at = ctx.view(at, places.shape[..=rank].to_vec())?;
        let at = ctx.plus(at, 1.0)?;
        let mut at = match corners {
            true => {
                let half = ctx.times(at, 0.5)?;
                let last = ctx.plus(line.extent, -1.0)?;
                ctx.mul(half, last)?
            }
            false => {
                let scaled = ctx.mul(at, line.extent)?;
                let scaled = ctx.plus(scaled, -1.0)?;
                ctx.times(scaled, 0.5)?
            }
        };
        if mode == 0 {
            at = ctx.op(&ROUND, &[at])?;
        }
        // The four taps of a cubic are looked up at the border one by one: a place far outside
        // is not moved to it first.
        let at = match (mode, outside) {
            (2, Outside::Border) => at,
            _ => line.place(ctx, at)?,
        };
        axes.push(taps(ctx, &line, at, [1, 2, 4][mode])?);
    }
    let image = match mode {
        0 => x,
        _ => ctx.cast(x, dtype)?,
    };
    let image = pixels_first(ctx, image)?;
    let y = sample(ctx, image, &ty.shape[2..], 1, &axes)?;
    let y = ctx.cast(y, ty.dtype)?;
    Ok(vec![channels_second(ctx, y)?])
}
