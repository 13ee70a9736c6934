//! How many steps a range takes: `max(ceil((limit - start) / delta), 0)`, exactly, in integers that
//! every target has.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{AND, CEIL, EQ, GT, LT, MAX, MIN, OR, SHL, SHR};
use alula_ops::elementwise::bits::BIT_CAST;
use alula_tensor::{DType, Scalar, Tensor};

use super::compose::Value;
use super::{RowCtx, RowError};

/// Most bits by which one mantissa is shifted against the other: 63 less the mantissa's own, and
/// one for the sum of both. Beyond that there are more steps than memory has bytes, or only one.
const SHIFT_MAX: f64 = 38.0;

/// The number of steps as an `i64` scalar, of scalars of one dtype, which is no narrow float.
pub(super) fn count(
    ctx: &mut RowCtx<'_, '_>,
    start: ValueId,
    limit: ValueId,
    delta: ValueId,
) -> Value {
    match ctx.ty(delta)?.dtype {
        DType::F64 => {
            let span = ctx.sub(limit, start)?;
            let ratio = ctx.div(span, delta)?;
            let steps = ctx.op(&CEIL, &[ratio])?;
            let zero = ctx.number(steps, 0.0)?;
            let steps = ctx.op(&MAX, &[steps, zero])?;
            ctx.cast(steps, DType::I64)
        }
        DType::F32 => {
            let span = ctx.sub(limit, start)?;
            of_floats(ctx, span, delta)
        }
        _ => of_integers(ctx, start, limit, delta),
    }
}

/// The number of steps that [`count`] would find, of constants.
pub(super) fn known_count(dtype: DType, [start, limit, delta]: [Scalar; 3]) -> i64 {
    let [start, limit, delta] = [start, limit, delta].map(Scalar::to_f64);
    let span = match dtype {
        DType::F64 => limit - start,
        dtype if dtype.is_float() => f64::from((limit as f32) - (start as f32)),
        _ => limit - start,
    };
    (span / delta).ceil().max(0.0) as i64
}

/// `ceil(span / delta)` by the quotient of mantissas, shifted by the difference of exponents: a
/// division of floats may be rounded to an integer from either side, and not alike everywhere.
fn of_floats(ctx: &mut RowCtx<'_, '_>, span: ValueId, delta: ValueId) -> Value {
    let (span_mantissa, span_exponent) = parts(ctx, span)?;
    let (delta_mantissa, delta_exponent) = parts(ctx, delta)?;
    let up = ctx.sub(span_exponent, delta_exponent)?;
    let down = ctx.sub(delta_exponent, span_exponent)?;
    let numerator = shifted(ctx, span_mantissa, up)?;
    let denominator = shifted(ctx, delta_mantissa, down)?;
    let steps = ceil_div(ctx, numerator, denominator)?;
    // Nothing is reached in the other direction, from NaN, or by infinite steps.
    let (zero, none) = (ctx.number(span, 0.0)?, ctx.number(steps, 0.0)?);
    let rises = [ctx.op(&GT, &[span, zero])?, ctx.op(&GT, &[delta, zero])?];
    let falls = [ctx.op(&LT, &[span, zero])?, ctx.op(&LT, &[delta, zero])?];
    let (rises, falls) = (ctx.op(&AND, &rises)?, ctx.op(&AND, &falls)?);
    let moves = ctx.op(&OR, &[rises, falls])?;
    let infinite = ctx.number(delta_exponent, 255.0)?;
    let infinite = ctx.op(&EQ, &[delta_exponent, infinite])?;
    let steps = ctx.select(moves, steps, none)?;
    ctx.select(infinite, none, steps)
}

/// Mantissa and exponent of an `f32` scalar, whatever its sign, as `i64`.
fn parts(ctx: &mut RowCtx<'_, '_>, x: ValueId) -> Result<(ValueId, ValueId), RowError> {
    let bits = ctx.push(&BIT_CAST, &[x], Attrs::new().with("to", DType::I32))?;
    let bits = ctx.cast(bits, DType::I64)?;
    let int = |ctx: &mut RowCtx<'_, '_>, value: i64| ctx.constant(Tensor::scalar(value));
    let (place, mask, hidden) = (int(ctx, 23), int(ctx, 0xff), int(ctx, 1 << 23));
    let fraction = int(ctx, (1 << 23) - 1);
    let (zero, one) = (int(ctx, 0), int(ctx, 1));
    let exponent = ctx.op(&SHR, &[bits, place])?;
    let exponent = ctx.op(&AND, &[exponent, mask])?;
    let fraction = ctx.op(&AND, &[bits, fraction])?;
    let normal = ctx.op(&OR, &[fraction, hidden])?;
    let is_normal = ctx.op(&GT, &[exponent, zero])?;
    let mantissa = ctx.select(is_normal, normal, fraction)?;
    Ok((mantissa, ctx.op(&MAX, &[exponent, one])?))
}

/// A mantissa shifted to the left, unless the shift is negative.
fn shifted(ctx: &mut RowCtx<'_, '_>, mantissa: ValueId, by: ValueId) -> Value {
    let (zero, most) = (ctx.number(by, 0.0)?, ctx.number(by, SHIFT_MAX)?);
    let by = ctx.op(&MAX, &[by, zero])?;
    let by = ctx.op(&MIN, &[by, most])?;
    ctx.op(&SHL, &[mantissa, by])
}

/// `ceil(a / b)` of numbers that are not negative; anything where `b` is 0.
fn ceil_div(ctx: &mut RowCtx<'_, '_>, a: ValueId, b: ValueId) -> Value {
    let one = ctx.number(b, 1.0)?;
    let b = ctx.op(&MAX, &[b, one])?;
    let (quotient, floor) = (ctx.div(a, b)?, ctx.number(a, 0.0)?);
    let product = ctx.mul(quotient, b)?;
    let rest = ctx.sub(a, product)?;
    let has_rest = ctx.op(&GT, &[rest, floor])?;
    let more = ctx.add(quotient, one)?;
    ctx.select(has_rest, more, quotient)
}

/// The distance of two `i64` may need 64 bits without a sign.
fn of_integers(ctx: &mut RowCtx<'_, '_>, start: ValueId, limit: ValueId, delta: ValueId) -> Value {
    let [start, limit, delta] = {
        let mut wide = |value| ctx.cast(value, DType::I64);
        [wide(start)?, wide(limit)?, wide(delta)?]
    };
    let zero = ctx.number(delta, 0.0)?;
    let rises = ctx.op(&GT, &[delta, zero])?;
    let (low, high) = (
        ctx.select(rises, start, limit)?,
        ctx.select(rises, limit, start)?,
    );
    let moves = ctx.op(&GT, &[high, low])?;
    let span = ctx.sub(high, low)?;
    let back = ctx.sub(zero, delta)?;
    let step = ctx.select(rises, delta, back)?;
    let unsigned = Attrs::new().with("to", DType::U64);
    let span = ctx.push(&BIT_CAST, &[span], unsigned.clone())?;
    let step = ctx.push(&BIT_CAST, &[step], unsigned)?;
    let steps = ceil_div(ctx, span, step)?;
    let most = ctx.constant(Tensor::scalar(i64::MAX as u64));
    let steps = ctx.op(&MIN, &[steps, most])?;
    let steps = ctx.push(&BIT_CAST, &[steps], Attrs::new().with("to", DType::I64))?;
    ctx.select(moves, steps, zero)
}
