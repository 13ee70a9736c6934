//! `RoiAlign` and `MaxRoiPool`: regions of images, resampled.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{ABS, AND, CEIL, FLOOR, GE, GT, LT, MAX, NOT, OR, SIGN};
use alula_ops::indexing::GATHER_ND;
use alula_ops::reduce::{REDUCE_MAX, REDUCE_SUM};
use alula_tensor::{DType, Dim};

use super::compose::{Value, one_of};
use super::sampling::{Line, Outside, pixels_first, taps, wide};
use super::shape::read_dim;
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "MaxRoiPool",
        &[1, 22],
        &["pooled_shape", "spatial_scale"],
        max_roi_pool,
    ),
    row(
        "RoiAlign",
        &[10, 16, 22],
        &[
            "coordinate_transformation_mode",
            "mode",
            "output_height",
            "output_width",
            "sampling_ratio",
            "spatial_scale",
        ],
        roi_align,
    ),
];

/// Which pixels of an axis lie in each bin of each region, `[regions, bins, extent]`.
fn bins(ctx: &mut RowCtx<'_, '_>, [begin, end]: [ValueId; 2], count: i64, extent: &Dim) -> Value {
    let length = ctx.sub(end, begin)?;
    let length = ctx.plus(length, 1.0)?;
    let one = ctx.number(length, 1.0)?;
    let length = ctx.op(&MAX, &[length, one])?;
    let dtype = ctx.ty(length)?.dtype;
    let divisor = ctx.number(length, count as f64)?;
    let size = ctx.div(length, divisor)?;
    let bin = ctx.iota(dtype, Dim::new(count))?;
    let next = ctx.plus(bin, 1.0)?;
    let (low, high) = (ctx.mul(bin, size)?, ctx.mul(next, size)?);
    let (low, high) = (ctx.op(&FLOOR, &[low])?, ctx.op(&CEIL, &[high])?);
    let (low, high) = (ctx.add(low, begin)?, ctx.add(high, begin)?);
    let (low, high) = (ctx.unsqueeze(low, 2)?, ctx.unsqueeze(high, 2)?);
    let pixel = ctx.iota(dtype, extent.clone())?;
    let (after, before) = (ctx.op(&GE, &[pixel, low])?, ctx.op(&LT, &[pixel, high])?);
    ctx.op(&AND, &[after, before])
}

/// The greatest pixel of each bin of each region, 0 where there is none. Corners of regions are
/// rounded to pixels, and belong to them.
fn max_roi_pool(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, rois) = (ctx.input(0)?, ctx.input(1)?);
    let (ty, rois_ty) = (ctx.ty(x)?, ctx.ty(rois)?);
    let is_list = rois_ty.rank() == 2 && rois_ty.shape[1].is(5);
    if ty.rank() != 4 || !is_list {
        return Err(RowError::Invalid(format!("regions {rois_ty} of {ty}")));
    }
    let sizes = ctx.ints("pooled_shape").unwrap_or_default();
    let &[high, broad] = sizes.as_slice() else {
        return Err(RowError::Invalid(format!("pooled_shape {sizes:?}")));
    };
    if high < 1 || broad < 1 {
        return Err(RowError::Invalid(format!("pooled_shape {sizes:?}")));
    }
    let dtype = wide(ty.dtype);
    let (batch, rois) = {
        let batch = ctx.part(rois, 1, Dim::new(0), Dim::new(1))?;
        let batch = ctx.cast(batch, DType::I64)?;
        let rois = ctx.cast(rois, dtype)?;
        (ctx.view(batch, vec![rois_ty.shape[0].clone()])?, rois)
    };
    ctx.demand_within(batch, x, 0)?;
    // Halves are rounded away from 0.
    let scaled = ctx.times(rois, ctx.float_or("spatial_scale", 1.0))?;
    let (size, sign) = (ctx.op(&ABS, &[scaled])?, ctx.op(&SIGN, &[scaled])?);
    let size = ctx.plus(size, 0.5)?;
    let size = ctx.op(&FLOOR, &[size])?;
    let rounded = ctx.mul(size, sign)?;
    let mut corner = |k: i64| ctx.part(rounded, 1, Dim::new(k), Dim::new(k + 1));
    let [left, top, right, bottom] = [corner(1)?, corner(2)?, corner(3)?, corner(4)?];
    let rows = bins(ctx, [top, bottom], high, &ty.shape[2])?;
    let columns = bins(ctx, [left, right], broad, &ty.shape[3])?;
    let images = ctx.gather(x, batch, 0)?;
    let never = ctx.number(images, f64::NEG_INFINITY)?;
    // `[R, C, H, 1, W]` in the columns `[R, 1, 1, bins, W]`, then `[R, C, 1, bins, H]` in the rows.
    let images = ctx.unsqueeze(images, 3)?;
    let columns = ctx.unsqueeze(columns, 1)?;
    let columns = ctx.unsqueeze(columns, 1)?;
    let inside = ctx.select(columns, images, never)?;
    let lines = ctx.reduce(&REDUCE_MAX, inside, vec![4], false)?;
    let lines = ctx.permute(lines, &[0, 1, 3, 2])?;
    let lines = ctx.unsqueeze(lines, 2)?;
    let rows = ctx.unsqueeze(rows, 1)?;
    let rows = ctx.unsqueeze(rows, 3)?;
    let inside = ctx.select(rows, lines, never)?;
    let greatest = ctx.reduce(&REDUCE_MAX, inside, vec![4], false)?;
    // Bins without a pixel.
    let has_row = ctx.reduce(&REDUCE_MAX, rows, vec![4], false)?;
    let has_column = ctx.reduce(&REDUCE_MAX, columns, vec![4], false)?;
    let is_there = ctx.op(&AND, &[has_row, has_column])?;
    let none = ctx.number(greatest, 0.0)?;
    Ok(vec![ctx.select(is_there, greatest, none)?])
}

/// Regions of images, each divided into bins; a bin is the average or the greatest of samples.
///
/// The greatest is taken over the weighted elements of all samples, as the reference and other
/// engines have it.
fn roi_align(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, rois, images) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let mode = ctx.str_or("mode", "avg");
    let is_max = one_of("mode", &mode, &["avg", "max"])? == 1;
    let default = "half_pixel";
    let transformation = ctx.str_or("coordinate_transformation_mode", default);
    let words = [default, "output_half_pixel"];
    if ctx.version < 16 && ctx.has_attr("coordinate_transformation_mode") {
        return Err(RowError::Invalid(
            "coordinate_transformation_mode is newer than version 10".to_owned(),
        ));
    }
    let is_half = one_of("coordinate_transformation_mode", &transformation, &words)? == 0
        && ctx.version >= 16;
    let (ty, rois_ty) = (ctx.ty(x)?, ctx.ty(rois)?);
    if ty.rank() != 4 || rois_ty.rank() != 2 {
        return Err(RowError::Invalid(format!("regions {rois_ty} of {ty}")));
    }
    let dtype = wide(ty.dtype);
    let ratio = ctx.int_or("sampling_ratio", 0);
    let scale = ctx.float_or("spatial_scale", 1.0);
    let count = rois_ty.shape[0].clone();
    let rois = ctx.cast(rois, dtype)?;
    let rois = ctx.times(rois, scale)?;
    let rois = match is_half {
        true => ctx.plus(rois, -0.5)?,
        false => rois,
    };
    // Taps of each axis, `[regions, bins, samples]`, and which of the samples count.
    let mut sides = Vec::new();
    let sizes = [
        ctx.int_or("output_height", 1),
        ctx.int_or("output_width", 1),
    ];
    for (axis, size) in sizes.into_iter().enumerate() {
        if size < 1 {
            return Err(RowError::Invalid(format!("{size} bins")));
        }
        let corner = |ctx: &mut RowCtx<'_, '_>, k: usize| -> Value {
            let column = ctx.part(rois, 1, Dim::from(k), Dim::from(k + 1))?;
            ctx.view(column, vec![count.clone(), Dim::new(1), Dim::new(1)])
        };
        let (begin, end) = (corner(ctx, 1 - axis)?, corner(ctx, 3 - axis)?);
        let mut length = ctx.sub(end, begin)?;
        if !is_half {
            let one = ctx.number(length, 1.0)?;
            length = ctx.op(&MAX, &[length, one])?;
        }
        let bin = ctx.times(length, 1.0 / size as f64)?;
        let (samples, of_region) = match ratio {
            1.. => (Dim::new(ratio), ctx.number(bin, ratio as f64)?),
            _ => {
                let zero = ctx.number(bin, 0.0)?;
                let each = ctx.op(&CEIL, &[bin])?;
                let each = ctx.op(&MAX, &[each, zero])?;
                let most = ctx.reduce(&REDUCE_MAX, each, vec![0, 1, 2], false)?;
                let most = ctx.cast(most, DType::I64)?;
                (read_dim(ctx, most)?, each)
            }
        };
        let k = ctx.iota(dtype, samples)?;
        let bins = ctx.iota(dtype, Dim::new(size))?;
        let bins = ctx.view(bins, vec![Dim::new(size), Dim::new(1)])?;
        let into = ctx.mul(bins, bin)?;
        let into = ctx.add(begin, into)?;
        let middle = ctx.plus(k, 0.5)?;
        let step = ctx.mul(middle, bin)?;
        let step = ctx.div(step, of_region)?;
        let at = ctx.add(into, step)?;
        let counts = ctx.op(&LT, &[k, of_region])?;
        let extent = ctx.dim(ty.shape[2 + axis].clone())?;
        let extent = ctx.cast(extent, dtype)?;
        let low = ctx.number(at, -1.0)?;
        let (before, behind) = (ctx.op(&LT, &[at, low])?, ctx.op(&GT, &[at, extent])?);
        let outside = ctx.op(&OR, &[before, behind])?;
        let inside = ctx.op(&NOT, &[outside])?;
        let line = Line {
            extent,
            outside: Outside::Border,
            corners: false,
        };
        let at = line.clamped(ctx, at)?;
        sides.push((taps(ctx, &line, at, 2)?, inside, counts, of_region));
    }
    // All of it over `[regions, bins of y, samples of y, bins of x, samples of x]`.
    let spread = |ctx: &mut RowCtx<'_, '_>, value: ValueId, axis: usize| -> Value {
        let shape = ctx.ty(value)?.shape;
        let mut to = vec![Dim::new(1); 5];
        let skip = 3 - shape.len();
        for (k, dim) in shape.into_iter().enumerate() {
            to[match k + skip {
                0 => 0,
                k => k + 2 * axis,
            }] = dim;
        }
        ctx.view(value, to)
    };
    let pixels = pixels_first(ctx, x)?;
    let pixels = ctx.cast(pixels, dtype)?;
    ctx.demand_within(images, pixels, 0)?;
    let pixels = ctx.gather(pixels, images, 0)?;
    let width = ctx.dim(ty.shape[3].clone())?;
    let mut inside = spread(ctx, sides[0].1, 0)?;
    let other = spread(ctx, sides[1].1, 1)?;
    inside = ctx.op(&AND, &[inside, other])?;
    let mut counts = spread(ctx, sides[0].2, 0)?;
    let other = spread(ctx, sides[1].2, 1)?;
    counts = ctx.op(&AND, &[counts, other])?;
    let counts = ctx.unsqueeze(counts, 5)?;
    let mut result: Option<ValueId> = None;
    for y in sides[0].0.clone() {
        for x in sides[1].0.clone() {
            let row = spread(ctx, y.at, 0)?;
            let row = ctx.mul(row, width)?;
            let column = spread(ctx, x.at, 1)?;
            let at = ctx.add(row, column)?;
            let index = ctx.unsqueeze(at, 5)?;
            let attrs = Attrs::new().with("batch_dims", 1_i64);
            let value = ctx.push(&GATHER_ND, &[pixels, index], attrs)?;
            let mut weight = None;
            for (axis, own) in [y.weight, x.weight].into_iter().enumerate() {
                if let Some(own) = own {
                    let own = spread(ctx, own, axis)?;
                    weight = Some(match weight {
                        Some(weight) => ctx.mul(weight, own)?,
                        None => own,
                    });
                }
            }
            let mut value = value;
            if let Some(weight) = weight {
                let none = ctx.number(weight, 0.0)?;
                let weight = ctx.select(inside, weight, none)?;
                let weight = ctx.unsqueeze(weight, 5)?;
                value = ctx.mul(value, weight)?;
            }
            result = Some(match result {
                Some(result) if is_max => ctx.op(&MAX, &[result, value])?,
                Some(result) => ctx.add(result, value)?,
                None => value,
            });
        }
    }
    let samples = result.ok_or_else(|| RowError::Invalid("no samples".to_owned()))?;
    let left_out = match is_max {
        true => ctx.number(samples, f64::NEG_INFINITY)?,
        false => ctx.number(samples, 0.0)?,
    };
    let samples = ctx.select(counts, samples, left_out)?;
    let op = if is_max { &REDUCE_MAX } else { &REDUCE_SUM };
    let bins = ctx.reduce(op, samples, vec![2, 4], false)?;
    let zero = ctx.number(bins, 0.0)?;
    let mut area: Option<ValueId> = None;
    for (_, _, _, of_region) in &sides {
        let rank = ctx.rank(*of_region)?;
        let of_region = match rank {
            3 => ctx.view(
                *of_region,
                vec![count.clone(), Dim::new(1), Dim::new(1), Dim::new(1)],
            )?,
            _ => *of_region,
        };
        area = Some(match area {
            Some(area) => ctx.mul(area, of_region)?,
            None => of_region,
        });
    }
    let area = area.ok_or_else(|| RowError::Invalid("no samples".to_owned()))?;
    let y = match is_max {
        true => {
            let has_samples = ctx.op(&GT, &[area, zero])?;
            ctx.select(has_samples, bins, zero)?
        }
        false => {
            let one = ctx.number(area, 1.0)?;
            let area = ctx.op(&MAX, &[area, one])?;
            ctx.div(bins, area)?
        }
    };
    let y = ctx.permute(y, &[0, 3, 1, 2])?;
    Ok(vec![ctx.cast(y, ty.dtype)?])
}
