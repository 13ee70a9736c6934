//! Windows, Fourier transforms and mel weights.
//!
//! A transform is a product with a table of cosines and one of sines, of any length.

use std::f64::consts::PI;

use alula_ir::{Attrs, OpDef, ValueId};
use alula_ops::contraction::MATMUL;
use alula_ops::elementwise::arithmetic::{AND, COS, EQ, FLOORMOD, GE, GT, LE, LT, NEG, SIN};
use alula_ops::host_ops::MEL_EDGES;
use alula_ops::shape::DIMS;
use alula_tensor::{DType, Dim};

use super::compose::Value;
use super::shape::{as_scalar, normal_axis, read_dim, read_dims};
use super::{Built, Row, RowCtx, RowError, axes, row};

const WINDOW: &[&str] = &["output_datatype", "periodic"];

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("HannWindow", &[17], WINDOW, |ctx| window(ctx, &[0.5, 0.5])),
    row("HammingWindow", &[17], WINDOW, |ctx| {
        window(ctx, &[25.0 / 46.0, 21.0 / 46.0])
    }),
    row("BlackmanWindow", &[17], WINDOW, |ctx| {
        window(ctx, &[0.42, 0.5, 0.08])
    }),
    row("MelWeightMatrix", &[17], &["output_datatype"], mel_weights),
    row("DFT", &[17, 20], &["axis", "inverse", "onesided"], dft),
    row("STFT", &[17], &["onesided"], stft),
];

/// `a0 - a1 cos(2 pi i / n) + a2 cos(4 pi i / n)`, `n` the size, less 1 unless periodic.
fn window(ctx: &mut RowCtx<'_, '_>, factors: &[f64]) -> Built {
    let size = ctx.input(0)?;
    let count = read_dim(ctx, size)?;
    let to = ctx.dtype("output_datatype")?.unwrap_or(DType::F32);
    let dtype = if to == DType::F64 { to } else { DType::F32 };
    let period = match ctx.flag("periodic", true) {
        true => count.clone(),
        false => count.clone() - Dim::new(1),
    };
    let (period, at) = (ctx.dim(period)?, ctx.iota(dtype, count)?);
    let period = ctx.cast(period, dtype)?;
    let mut sum = None;
    for (k, factor) in factors.iter().enumerate() {
        let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
        let angle = ctx.times(at, 2.0 * PI * k as f64)?;
        let angle = ctx.div(angle, period)?;
        let term = match k {
            0 => {
                let ones = ctx.times(at, 0.0)?;
                ctx.plus(ones, *factor)?
            }
            _ => {
                let cosine = ctx.op(&COS, &[angle])?;
                ctx.times(cosine, sign * factor)?
            }
        };
        sum = Some(match sum {
            Some(sum) => ctx.add(sum, term)?,
            None => term,
        });
    }
    let sum = sum.ok_or_else(|| RowError::Invalid("a window without factors".to_owned()))?;
    Ok(vec![ctx.cast(sum, to)?])
}

/// Triangles over the bins of a spectrum, evenly spaced by mel. Edges are whole bins, so that
/// distances from them are exact; only their quotients are floats.
fn mel_weights(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (bins, dft_length) = (ctx.input(0)?, ctx.input(1)?);
    let (bins, dft_length) = (read_dim(ctx, bins)?, read_dim(ctx, dft_length)?);
    let mut scalar = |position| -> Value {
        let value = ctx.input(position)?;
        as_scalar(ctx, value)
    };
    let operands = [scalar(1)?, scalar(2)?, scalar(3)?, scalar(4)?];
    let count = Attrs::new().with("count", vec![bins.clone() + Dim::new(2)]);
    let edge = ctx.push(&MEL_EDGES, &operands, count)?;
    let to = ctx.dtype("output_datatype")?.unwrap_or(DType::F32);
    let wide = if to == DType::F64 { to } else { DType::F32 };
    let mut of = |begin: i64| -> Value {
        let end = bins.clone() + Dim::new(begin);
        ctx.part(edge, 0, Dim::new(begin), end)
    };
    let (low, center, high) = (of(0)?, of(1)?, of(2)?);
    let rows = dft_length.floor_div(&Dim::new(2)) + Dim::new(1);
    let row = ctx.iota(DType::I64, rows.clone())?;
    let row = ctx.view(row, vec![rows, Dim::new(1)])?;
    let slope = |ctx: &mut RowCtx<'_, '_>, from, to| {
        let (rise, run) = (ctx.sub(row, from)?, ctx.sub(to, from)?);
        let (rise, run) = (ctx.cast(rise, wide)?, ctx.cast(run, wide)?);
        ctx.div(rise, run)
    };
    let (up, down) = (slope(ctx, low, center)?, slope(ctx, high, center)?);
    let (zero, one) = (ctx.scalar(wide, 0.0)?, ctx.scalar(wide, 1.0)?);
    let both =
        |ctx: &mut RowCtx<'_, '_>, a: (&'static OpDef, ValueId), b: (&'static OpDef, ValueId)| {
            let (a, b) = (ctx.op(a.0, &[row, a.1])?, ctx.op(b.0, &[row, b.1])?);
            ctx.op(&AND, &[a, b])
        };
    let rises = both(ctx, (&GE, low), (&LE, center))?;
    let rising = ctx.select(rises, up, zero)?;
    let (is_flat, is_center) = (ctx.op(&EQ, &[low, center])?, ctx.op(&EQ, &[row, center])?);
    let peak = ctx.select(is_center, one, zero)?;
    let rising = ctx.select(is_flat, peak, rising)?;
    let falls = both(ctx, (&GE, center), (&LT, high))?;
    let has_fall = ctx.op(&GT, &[high, center])?;
    let falls = ctx.op(&AND, &[falls, has_fall])?;
    let weights = ctx.select(falls, down, rising)?;
    Ok(vec![ctx.cast(weights, to)?])
}

/// Cosines and sines of `2 pi i k / length`, each `[rows, columns]`.
fn tables(
    ctx: &mut RowCtx<'_, '_>,
    dtype: DType,
    length: &Dim,
    [rows, columns]: [&Dim; 2],
) -> Result<[ValueId; 2], RowError> {
    let row = ctx.iota(DType::I64, rows.clone())?;
    let row = ctx.view(row, vec![rows.clone(), Dim::new(1)])?;
    let column = ctx.iota(DType::I64, columns.clone())?;
    let product = ctx.mul(row, column)?;
    let length = ctx.dim(length.clone())?;
    // Whole turns are taken off while the angle is still exact.
    let turn = ctx.op(&FLOORMOD, &[product, length])?;
    let (turn, length) = (ctx.cast(turn, dtype)?, ctx.cast(length, dtype)?);
    let angle = ctx.times(turn, 2.0 * PI)?;
    let angle = ctx.div(angle, length)?;
    Ok([ctx.op(&COS, &[angle])?, ctx.op(&SIN, &[angle])?])
}

/// What a transform does.
pub(super) struct Transform {
    pub(super) length: Dim,
    pub(super) inverse: bool,
    pub(super) onesided: bool,
}

impl Transform {
    fn columns(&self) -> Dim {
        let half = self.length.floor_div(&Dim::new(2)) + Dim::new(1);
        match self.onesided && !self.inverse {
            true => half,
            false => self.length.clone(),
        }
    }

    /// `x: [lines, n, 1 or 2]`, transformed along its second axis: `[lines, columns, 1 or 2]`.
    pub(super) fn apply(&self, ctx: &mut RowCtx<'_, '_>, x: ValueId) -> Value {
        let ty = ctx.ty(x)?;
        let wide = match ty.dtype {
            DType::F64 => DType::F64,
            dtype if dtype.is_float() => DType::F32,
            dtype => return Err(RowError::Invalid(format!("a transform of {dtype}"))),
        };
        let is_complex = match ty.shape[2].as_const() {
            Some(1) => false,
            Some(2) => true,
            _ => return Err(RowError::Invalid(format!("{ty} has neither 1 nor 2 parts"))),
        };
        let n = ty.shape[1].clone();
        let one_half = self.length.floor_div(&Dim::new(2)) + Dim::new(1);
        let is_real_result = self.inverse && self.onesided;
        let used = if is_real_result {
            &one_half
        } else {
            &self.length
        };
        // Elements beyond the length are left out; missing ones are zeros and add nothing.
        let rows = n.minimum(used);
        let part = |ctx: &mut RowCtx<'_, '_>, k: i64| -> Value {
            let value = ctx.part(x, 2, Dim::new(k), Dim::new(k + 1))?;
            let value = match rows == n {
                true => value,
                false => ctx.part(value, 1, Dim::new(0), rows.clone())?,
            };
            let value = ctx.view(value, vec![ty.shape[0].clone(), rows.clone()])?;
            ctx.cast(value, wide)
        };
        let real = part(ctx, 0)?;
        let imaginary = match is_complex {
            true => Some(part(ctx, 1)?),
            false => None,
        };
        let columns = self.columns();
        let [mut cos, mut sin] = tables(ctx, wide, &self.length, [&rows, &columns])?;
        if is_real_result {
            let weights = self.mirrored(ctx, wide, &rows)?;
            cos = ctx.mul(cos, weights)?;
            sin = ctx.mul(sin, weights)?;
        }
        if !self.inverse {
            sin = ctx.op(&NEG, &[sin])?;
        }
        let times = |ctx: &mut RowCtx<'_, '_>, x, table| ctx.op(&MATMUL, &[x, table]);
        let mut y = vec![times(ctx, real, cos)?];
        if !is_real_result {
            y.push(times(ctx, real, sin)?);
        }
        if let Some(imaginary) = imaginary {
            let turned = times(ctx, imaginary, sin)?;
            y[0] = ctx.sub(y[0], turned)?;
            if !is_real_result {
                let own = times(ctx, imaginary, cos)?;
                y[1] = ctx.add(y[1], own)?;
            }
        }
        for part in &mut y {
            if self.inverse {
                let length = ctx.dim(self.length.clone())?;
                let length = ctx.cast(length, wide)?;
                *part = ctx.div(*part, length)?;
            }
            *part = ctx.cast(*part, ty.dtype)?;
            *part = ctx.unsqueeze(*part, 2)?;
        }
        ctx.join(&y, 2)
    }

    /// How often each frequency of a half spectrum occurs in the whole: twice, but for 0 and the
    /// middle one, `[rows, 1]`.
    fn mirrored(&self, ctx: &mut RowCtx<'_, '_>, dtype: DType, rows: &Dim) -> Value {
        let k = ctx.iota(DType::I64, rows.clone())?;
        let twice = ctx.times(k, 2.0)?;
        let length = ctx.dim(self.length.clone())?;
        let (zero, one) = (ctx.number(k, 0.0)?, ctx.number(k, 1.0)?);
        let two = ctx.number(k, 2.0)?;
        let (is_first, is_middle) = (ctx.op(&EQ, &[k, zero])?, ctx.op(&EQ, &[twice, length])?);
        let count = ctx.select(is_middle, one, two)?;
        let count = ctx.select(is_first, one, count)?;
        let count = ctx.cast(count, dtype)?;
        ctx.view(count, vec![rows.clone(), Dim::new(1)])
    }
}

/// The axis is an attribute up to opset 19 (1 by default), an input from 20 on (the last but one
/// by default).
fn dft(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let shape = ctx.ty(x)?.shape;
    let Some((parts, lines)) = shape.split_last().filter(|(_, lines)| !lines.is_empty()) else {
        return Err(RowError::Invalid("a transform needs two axes".to_owned()));
    };
    let given = match ctx.optional(2).filter(|_| ctx.version >= 20) {
        Some(axis) => match ctx.const_ints(axis).as_deref() {
            Some([axis]) => Ok(*axis),
            Some(_) => return Err(RowError::Invalid("the axis is not one integer".to_owned())),
            None => Err(axis),
        },
        None if ctx.version >= 20 => Ok(ctx.int_or("axis", -2)),
        None => Ok(ctx.int_or("axis", 1)),
    };
    if ctx.version >= 20 && ctx.has_attr("axis") {
        return Err(RowError::Invalid(
            "axis is an input, not an attribute".to_owned(),
        ));
    }
    let one = Dim::new(1);
    let (before, n, behind, marked) = match given {
        Ok(axis) => {
            let axis = normal_axis(axis, shape.len())?;
            if axis == lines.len() {
                return Err(RowError::Invalid(
                    "the last axis is that of parts".to_owned(),
                ));
            }
            let (before, behind) = (&lines[..axis], &lines[axis + 1..]);
            let product = |dims: &[Dim]| dims.iter().cloned().product::<Dim>();
            (product(before), lines[axis].clone(), product(behind), None)
        }
        Err(axis) => {
            let mut all = lines.to_vec();
            all.push(one);
            let three = axes::around(ctx, &all, axis)?;
            let marked = axes::mark(ctx, axis, shape.len())?;
            let [before, n, behind] = <[Dim; 3]>::try_from(three)
                .map_err(|_| RowError::Invalid("the axis is not one integer".to_owned()))?;
            (before, n, behind, Some(marked))
        }
    };
    let (inverse, onesided) = (ctx.flag("inverse", false), ctx.flag("onesided", false));
    let length = match ctx.optional(1) {
        Some(length) => read_dim(ctx, length)?,
        None if inverse && onesided => (n.clone() - Dim::new(1)) * Dim::new(2),
        None => n.clone(),
    };
    let transform = Transform {
        length,
        inverse,
        onesided,
    };
    let four = vec![before.clone(), n.clone(), behind.clone(), parts.clone()];
    let flat = ctx.view(x, four)?;
    let flat = ctx.permute(flat, &[0, 2, 1, 3])?;
    let all = before.clone() * behind.clone();
    let flat = ctx.view(flat, vec![all, n, parts.clone()])?;
    let y = transform.apply(ctx, flat)?;
    let [columns, parts] = [1, 2].map(|axis| ctx.ty(y).map(|ty| ty.shape[axis].clone()));
    let (columns, parts) = (columns?, parts?);
    let y = ctx.view(y, vec![before, behind, columns.clone(), parts.clone()])?;
    let y = ctx.permute(y, &[0, 2, 1, 3])?;
    let to = match (given, marked) {
        (Ok(axis), _) => {
            let mut to = lines.to_vec();
            to[normal_axis(axis, shape.len())?] = columns;
            to.push(parts);
            to
        }
        (Err(_), Some(marked)) => {
            let mut old = lines.to_vec();
            old.push(parts);
            let old = ctx.push(&DIMS, &[], Attrs::new().with("values", old))?;
            let columns = ctx.dim(columns)?;
            let to = ctx.select(marked, columns, old)?;
            read_dims(ctx, to)?
        }
        (Err(_), None) => return Err(RowError::Invalid("an axis without a mark".to_owned())),
    };
    Ok(vec![ctx.view(y, to)?])
}

fn stft(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (x, step) = (ctx.input(0)?, ctx.input(1)?);
    let ty = ctx.ty(x)?;
    let [batch, samples, parts] = <[Dim; 3]>::try_from(ty.shape.clone())
        .map_err(|_| RowError::Invalid(format!("{ty} is not [batch, samples, parts]")))?;
    let step = read_dim(ctx, step)?;
    let window = ctx.optional(2);
    let length = match (ctx.optional(3), window) {
        (Some(length), _) => read_dim(ctx, length)?,
        (None, Some(window)) => match ctx.ty(window)?.shape.as_slice() {
            [size] => size.clone(),
            _ => return Err(RowError::Invalid("the window has not one axis".to_owned())),
        },
        (None, None) => samples.clone(),
    };
    let onesided = ctx.flag("onesided", true);
    if onesided && !parts.is(1) {
        return Err(RowError::Invalid(format!(
            "half of the spectrum of {ty}, which is not real"
        )));
    }
    let frames = (samples - length.clone()).floor_div(&step) + Dim::new(1);
    let begin = ctx.iota(DType::I64, frames.clone())?;
    let begin = ctx.view(begin, vec![frames.clone(), Dim::new(1)])?;
    let step = ctx.dim(step)?;
    let begin = ctx.mul(begin, step)?;
    let within = ctx.iota(DType::I64, length.clone())?;
    let places = ctx.add(begin, within)?;
    let mut framed = ctx.gather(x, places, 1)?;
    if let Some(window) = window {
        let weights = ctx.view(window, vec![length.clone(), Dim::new(1)])?;
        framed = ctx.mul(framed, weights)?;
    }
    let lines = batch.clone() * frames.clone();
    let framed = ctx.view(framed, vec![lines, length.clone(), parts])?;
    let transform = Transform {
        length,
        inverse: false,
        onesided,
    };
    let y = transform.apply(ctx, framed)?;
    let to = vec![batch, frames, transform.columns(), Dim::new(2)];
    Ok(vec![ctx.view(y, to)?])
}
