//! `Resize` where scales, regions or the ratio of extents are known only while the model runs: one
//! axis after the other, places and weights computed by the model's own operators.

use alula_ir::ValueId;
use alula_ops::elementwise::arithmetic::{ABS, AND, CEIL, FLOOR, GE, GT, LE, LT, MAX, MIN};
use alula_ops::reduce::REDUCE_SUM;
use alula_tensor::{DType, Dim};

use super::compose::{Value, one_of};
use super::shape::read_dim;
use super::{RowCtx, RowError};

/// How an axis is sampled.
pub(super) struct Sampling {
    pub(super) mode: &'static str,
    pub(super) coordinates: String,
    pub(super) nearest: String,
    pub(super) cubic_a: f64,
    pub(super) exclude_outside: bool,
    pub(super) antialias: bool,
    pub(super) extrapolation: f64,
}

/// An axis that is resized.
pub(super) struct Line {
    pub(super) axis: usize,
    pub(super) size: Dim,
    /// What coordinates are divided by, an `f32` scalar.
    pub(super) scale: ValueId,
    /// Whether the scale was given, rather than the size.
    pub(super) is_given: bool,
    /// Begin and end of the region, `f32` scalars.
    pub(super) roi: Option<(ValueId, ValueId)>,
}

/// Extents of one axis as `f32` scalars.
struct Extents {
    from: ValueId,
    to: ValueId,
}

const COORDINATES: &[&str] = &[
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
];

/// `x` sampled along each line.
pub(super) fn resample(
    ctx: &mut RowCtx<'_, '_>,
    x: ValueId,
    lines: &[Line],
    how: &Sampling,
) -> Value {
    let ty = ctx.ty(x)?;
    let is_nearest = how.mode == "nearest";
    let wide = match ty.dtype {
        _ if is_nearest => ty.dtype,
        DType::F64 => DType::F64,
        _ => DType::F32,
    };
    let mut y = ctx.cast(x, wide)?;
    let mut inside: Option<ValueId> = None;
    for line in lines {
        let mut extent = |dim: &Dim| -> Value {
            let dim = ctx.dim(dim.clone())?;
            ctx.cast(dim, DType::F32)
        };
        let extents = Extents {
            from: extent(&ty.shape[line.axis])?,
            to: extent(&line.size)?,
        };
        let at = coordinates(ctx, line, how, &extents)?;
        if how.coordinates == "tf_crop_and_resize" {
            let (zero, last) = (ctx.number(at, 0.0)?, ctx.plus(extents.from, -1.0)?);
            let (above, below) = (ctx.op(&GE, &[at, zero])?, ctx.op(&LE, &[at, last])?);
            let is_in = ctx.op(&AND, &[above, below])?;
            let mut to = vec![Dim::new(1); ty.rank()];
            to[line.axis] = line.size.clone();
            let is_in = ctx.view(is_in, to)?;
            inside = Some(match inside {
                Some(inside) => ctx.op(&AND, &[inside, is_in])?,
                None => is_in,
            });
        }
        y = match is_nearest {
            true => {
                let at = rounded(ctx, at, &how.nearest)?;
                let at = clamped(ctx, at, &extents)?;
                ctx.gather(y, at, line.axis)?
            }
            false => interpolated(ctx, y, at, line, how, &extents)?,
        };
    }
    if let Some(inside) = inside {
        let outside = ctx.number(y, how.extrapolation)?;
        y = ctx.select(inside, y, outside)?;
    }
    ctx.cast(y, ty.dtype)
}

/// The places on the operand's axis, `f32[size]`.
fn coordinates(ctx: &mut RowCtx<'_, '_>, line: &Line, how: &Sampling, extents: &Extents) -> Value {
    let word = one_of(
        "coordinate_transformation_mode",
        &how.coordinates,
        COORDINATES,
    )?;
    let at = ctx.iota(DType::F32, line.size.clone())?;
    let (from, to, scale) = (extents.from, extents.to, line.scale);
    let middle = ctx.plus(at, 0.5)?;
    let scaled = ctx.div(middle, scale)?;
    let half_pixel = ctx.plus(scaled, -0.5)?;
    let one = ctx.number(to, 1.0)?;
    let is_long = ctx.op(&GT, &[to, one])?;
    let reach = ctx.plus(from, -1.0)?;
    match COORDINATES[word] {
        "half_pixel" => Ok(half_pixel),
        "half_pixel_symmetric" => {
            let exact = ctx.mul(scale, from)?;
            let adjustment = ctx.div(to, exact)?;
            let centre = ctx.times(from, 0.5)?;
            let rest = ctx.sub(one, adjustment)?;
            let offset = ctx.mul(centre, rest)?;
            ctx.add(offset, half_pixel)
        }
        "pytorch_half_pixel" => {
            let zero = ctx.number(half_pixel, 0.0)?;
            ctx.select(is_long, half_pixel, zero)
        }
        "align_corners" => {
            let length = match line.is_given {
                true => ctx.mul(scale, from)?,
                false => to,
            };
            let steps = ctx.plus(length, -1.0)?;
            let steps = ctx.op(&MAX, &[steps, one])?;
            let scaled = ctx.mul(at, reach)?;
            ctx.div(scaled, steps)
        }
        "asymmetric" => ctx.div(at, scale),
        "tf_half_pixel_for_nn" => Ok(scaled),
        _ => {
            let (begin, end) = line
                .roi
                .ok_or_else(|| RowError::Invalid("the region is absent".to_owned()))?;
            let steps = ctx.plus(to, -1.0)?;
            let steps = ctx.op(&MAX, &[steps, one])?;
            let first = ctx.mul(begin, reach)?;
            let length = ctx.sub(end, begin)?;
            let length = ctx.mul(length, reach)?;
            let moved = ctx.mul(at, length)?;
            let moved = ctx.div(moved, steps)?;
            let long = ctx.add(first, moved)?;
            let sum = ctx.add(begin, end)?;
            let sum = ctx.times(sum, 0.5)?;
            let short = ctx.mul(sum, reach)?;
            ctx.select(is_long, long, short)
        }
    }
}

fn rounded(ctx: &mut RowCtx<'_, '_>, at: ValueId, nearest: &str) -> Value {
    let words = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"];
    let word = one_of("nearest_mode", nearest, &words)?;
    let moved = match word {
        0 => ctx.plus(at, -0.5)?,
        1 => ctx.plus(at, 0.5)?,
        _ => at,
    };
    let op = if word == 1 || word == 2 {
        &FLOOR
    } else {
        &CEIL
    };
    ctx.op(op, &[moved])
}

/// A place as a position on the axis.
fn clamped(ctx: &mut RowCtx<'_, '_>, at: ValueId, extents: &Extents) -> Value {
    let (zero, last) = (ctx.number(at, 0.0)?, ctx.plus(extents.from, -1.0)?);
    let at = ctx.op(&MIN, &[at, last])?;
    let at = ctx.op(&MAX, &[at, zero])?;
    ctx.cast(at, DType::I64)
}

/// Sums of neighbours; the filter is wider by the scale where `antialias` asks for it.
fn interpolated(
    ctx: &mut RowCtx<'_, '_>,
    y: ValueId,
    at: ValueId,
    line: &Line,
    how: &Sampling,
    extents: &Extents,
) -> Value {
    let reach = if how.mode == "linear" { 1.0 } else { 2.0 };
    let one = ctx.number(line.scale, 1.0)?;
    let squeeze = match how.antialias {
        true => ctx.op(&MIN, &[line.scale, one])?,
        false => one,
    };
    let (first, taps) = match how.antialias {
        true => {
            let reach = ctx.number(squeeze, -reach)?;
            let width = ctx.div(reach, squeeze)?;
            let first = ctx.op(&FLOOR, &[width])?;
            let first = ctx.plus(first, 1.0)?;
            let count = ctx.times(first, -2.0)?;
            let count = ctx.plus(count, 2.0)?;
            (first, read_dim(ctx, count)?)
        }
        false => (ctx.number(one, 1.0 - reach)?, Dim::new(2 * reach as i64)),
    };
    // Places and weights, `[size, taps]`.
    let base = ctx.op(&FLOOR, &[at])?;
    let fraction = ctx.sub(at, base)?;
    let (base, fraction) = (ctx.unsqueeze(base, 1)?, ctx.unsqueeze(fraction, 1)?);
    let tap = ctx.iota(DType::F32, taps)?;
    let tap = ctx.add(tap, first)?;
    let place = ctx.add(base, tap)?;
    let distance = ctx.sub(tap, fraction)?;
    let distance = ctx.mul(distance, squeeze)?;
    let distance = ctx.op(&ABS, &[distance])?;
    let mut weight = filter(ctx, distance, how)?;
    if how.exclude_outside {
        let zero = ctx.number(place, 0.0)?;
        let (above, below) = (
            ctx.op(&GE, &[place, zero])?,
            ctx.op(&LT, &[place, extents.from])?,
        );
        let inside = ctx.op(&AND, &[above, below])?;
        weight = ctx.select(inside, weight, zero)?;
    }
    if how.exclude_outside || how.antialias {
        let total = ctx.reduce(&REDUCE_SUM, weight, vec![1], true)?;
        weight = ctx.div(weight, total)?;
    }
    let place = clamped(ctx, place, extents)?;
    let picked = ctx.gather(y, place, line.axis)?;
    let dtype = ctx.ty(y)?.dtype;
    let mut shape = ctx.ty(weight)?.shape;
    let rank = ctx.rank(y)?;
    shape.resize(rank + 1 - line.axis, Dim::new(1));
    let weight = ctx.view(weight, shape)?;
    let weight = ctx.cast(weight, dtype)?;
    let terms = ctx.mul(picked, weight)?;
    ctx.reduce(&REDUCE_SUM, terms, vec![line.axis as i64 + 1], false)
}

/// The weight at a distance.
fn filter(ctx: &mut RowCtx<'_, '_>, x: ValueId, how: &Sampling) -> Value {
    let (zero, one) = (ctx.number(x, 0.0)?, ctx.number(x, 1.0)?);
    if how.mode == "linear" {
        let rest = ctx.sub(one, x)?;
        return ctx.op(&MAX, &[rest, zero]);
    }
    let a = how.cubic_a;
    let mut polynomial = |factors: [f64; 4]| -> Value {
        let mut sum = ctx.number(x, factors[0])?;
        for factor in &factors[1..] {
            sum = ctx.mul(sum, x)?;
            sum = ctx.plus(sum, *factor)?;
        }
        Ok(sum)
    };
    let near = polynomial([a + 2.0, -(a + 3.0), 0.0, 1.0])?;
    let far = polynomial([a, -5.0 * a, 8.0 * a, -4.0 * a])?;
    let two = ctx.number(x, 2.0)?;
    let is_far = ctx.op(&LT, &[x, two])?;
    let far = ctx.select(is_far, far, zero)?;
    let is_near = ctx.op(&LE, &[x, one])?;
    ctx.select(is_near, near, far)
}
