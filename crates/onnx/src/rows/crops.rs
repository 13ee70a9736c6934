//! `com.microsoft` operators that resample and transform: `CropAndResize`, `Rfft`, `Irfft`.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{CEIL, EQ, FLOOR, GE, GT, LT, MAX, OR};
use alula_ops::indexing::GATHER_ND;
use alula_tensor::{DType, Dim};

use super::compose::{Value, one_of};
use super::sampling::{channels_second, pixels_first, wide};
use super::shape::read_dims;
use super::signal::Transform;
use super::{Built, Row, RowCtx, RowError, microsoft_row as row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "CropAndResize",
        &["extrapolation_value", "mode"],
        crop_and_resize,
    ),
    row("Rfft", &["normalized", "onesided", "signal_ndim"], |ctx| {
        transform(ctx, false)
    }),
    row("Irfft", &["normalized", "onesided", "signal_ndim"], |ctx| {
        transform(ctx, true)
    }),
];

/// The places that a crop reads along one axis, `[regions, count]`, from its corners
/// `[regions, 1]`: the outermost on the corners, a single one between them.
fn places(
    ctx: &mut RowCtx<'_, '_>,
    [begin, end]: [ValueId; 2],
    last: ValueId,
    count: &Dim,
) -> Value {
    let dtype = ctx.ty(begin)?.dtype;
    let (first, behind) = (ctx.mul(begin, last)?, ctx.mul(end, last)?);
    let total = ctx.dim(count.clone())?;
    let total = ctx.cast(total, dtype)?;
    let one = ctx.number(total, 1.0)?;
    let gaps = ctx.sub(total, one)?;
    let is_single = ctx.op(&EQ, &[total, one])?;
    let divisor = ctx.op(&MAX, &[gaps, one])?;
    let span = ctx.sub(end, begin)?;
    let span = ctx.mul(span, last)?;
    let step = ctx.div(span, divisor)?;
    let k = ctx.iota(dtype, count.clone())?;
    let into = ctx.mul(k, step)?;
    let inner = ctx.add(first, into)?;
    let is_last = ctx.op(&EQ, &[k, gaps])?;
    let at = ctx.select(is_last, behind, inner)?;
    let both = ctx.add(begin, end)?;
    let middle = ctx.times(both, 0.5)?;
    let middle = ctx.mul(middle, last)?;
    ctx.select(is_single, middle, at)
}

fn crop_and_resize(ctx: &mut RowCtx<'_, '_>) -> Built {
    for (position, rank) in [(0, 4), (1, 2), (2, 1), (3, 1)] {
        ctx.need_rank(position, rank)?;
    }
    let (x, regions, images) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let mode = ctx.str_or("mode", "bilinear");
    let is_nearest = one_of("mode", &mode, &["bilinear", "nearest"])? == 1;
    let ty = ctx.ty(x)?;
    let size = ctx.input(3)?;
    let size = <[Dim; 2]>::try_from(read_dims(ctx, size)?)
        .map_err(|size| RowError::Invalid(format!("crop_size has {} elements", size.len())))?;
    let dtype = wide(ty.dtype);
    let regions = ctx.cast(regions, dtype)?;
    let count = ctx.ty(regions)?.shape[0].clone();
    ctx.demand_within(images, x, 0)?;
    let pixels = pixels_first(ctx, x)?;
    let pixels = ctx.cast(pixels, dtype)?;
    let pixels = ctx.gather(pixels, images, 0)?;
    // Of each axis over `[regions, height, width]`: the nearest element or both neighbours, the
    // distance from the first, and what is outside of the image.
    let mut sides = Vec::new();
    for (axis, extent) in size.iter().enumerate() {
        let corner = |ctx: &mut RowCtx<'_, '_>, k: usize| -> Value {
            ctx.part(regions, 1, Dim::from(k), Dim::from(k + 1))
        };
        let corners = [corner(ctx, axis)?, corner(ctx, axis + 2)?];
        let last = ctx.dim(ty.shape[2 + axis].clone() - Dim::new(1))?;
        let last = ctx.cast(last, dtype)?;
        let at = places(ctx, corners, last, extent)?;
        let mut to = vec![count.clone(), Dim::new(1), Dim::new(1)];
        to[1 + axis] = extent.clone();
        let at = ctx.view(at, to)?;
        let zero = ctx.number(at, 0.0)?;
        let (before, behind) = (ctx.op(&LT, &[at, zero])?, ctx.op(&GT, &[at, last])?);
        let outside = ctx.op(&OR, &[before, behind])?;
        let (low, high) = (ctx.op(&FLOOR, &[at])?, ctx.op(&CEIL, &[at])?);
        let distance = ctx.sub(at, low)?;
        let taps = match is_nearest {
            true => {
                let half = ctx.number(distance, 0.5)?;
                let is_far = ctx.op(&GE, &[distance, half])?;
                vec![ctx.select(is_far, high, low)?]
            }
            false => vec![low, high],
        };
        let mut rounded = Vec::new();
        for tap in taps {
            // Those outside read any element.
            let tap = ctx.select(outside, zero, tap)?;
            rounded.push(ctx.cast(tap, DType::I64)?);
        }
        sides.push((rounded, distance, outside));
    }
    let width = ctx.dim(ty.shape[3].clone())?;
    let mut rows = Vec::new();
    for y in sides[0].0.clone() {
        let mut values = Vec::new();
        for x in sides[1].0.clone() {
            let row = ctx.mul(y, width)?;
            let at = ctx.add(row, x)?;
            let index = ctx.unsqueeze(at, 3)?;
            let attrs = Attrs::new().with("batch_dims", 1_i64);
            values.push(ctx.push(&GATHER_ND, &[pixels, index], attrs)?);
        }
        rows.push(between(ctx, &values, sides[1].1)?);
    }
    let y = between(ctx, &rows, sides[0].1)?;
    let outside = ctx.op(&OR, &[sides[0].2, sides[1].2])?;
    let outside = ctx.unsqueeze(outside, 3)?;
    let beyond = ctx.number(y, ctx.float_or("extrapolation_value", 0.0))?;
    let y = ctx.select(outside, beyond, y)?;
    let y = channels_second(ctx, y)?;
    Ok(vec![ctx.cast(y, ty.dtype)?])
}

/// One value, or what lies between two at a distance `[regions, height, width]` from the first.
fn between(ctx: &mut RowCtx<'_, '_>, values: &[ValueId], distance: ValueId) -> Value {
    match values {
        [a, b] => {
            let distance = ctx.unsqueeze(distance, 3)?;
            let way = ctx.sub(*b, *a)?;
            let way = ctx.mul(way, distance)?;
            ctx.add(*a, way)
        }
        [a, ..] => Ok(*a),
        [] => Err(RowError::Invalid("no samples".to_owned())),
    }
}

/// The half spectrum of real lines, or the real lines of half a spectrum, whose length is even.
fn transform(ctx: &mut RowCtx<'_, '_>, inverse: bool) -> Built {
    for (name, only, default) in [
        ("normalized", 0, 0),
        ("onesided", 1, 1),
        ("signal_ndim", 1, 1),
    ] {
        let given = ctx.int_or(name, default);
        if given != only {
            let reason = format!("attribute {name} is {given}, not {only}");
            return Err(RowError::Unsupported(reason));
        }
    }
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let parts = if inverse { 2 } else { 1 };
    let split = ty.rank().checked_sub(parts);
    let Some(axis) = split.filter(|_| !inverse || ty.shape.last().is_some_and(|k| k.is(2))) else {
        return Err(RowError::Invalid(format!("{ty} is no signal")));
    };
    let n = ty.shape[axis].clone();
    let lines: Dim = ty.shape[..axis].iter().cloned().product();
    let length = match inverse {
        true => (n.clone() - Dim::new(1)) * Dim::new(2),
        false => n.clone(),
    };
    let work = Transform {
        length,
        inverse,
        onesided: true,
    };
    let x = ctx.view(x, vec![lines, n, Dim::from(parts)])?;
    let y = work.apply(ctx, x)?;
    let made = ctx.ty(y)?.shape;
    let mut to = ty.shape[..axis].to_vec();
    to.push(made[1].clone());
    if !inverse {
        to.push(Dim::new(2));
    }
    Ok(vec![ctx.view(y, to)?])
}
