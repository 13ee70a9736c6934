//! Casts to `f8e8m0`: a float's exponent alone, rounded up, down or to the nearest power of two.
//!
//! The sign is lost; what is less than the least power becomes it, NaN and the infinities NaN.
//! With `saturate` what is rounded beyond the largest power becomes that, else NaN.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{ADD, AND, GE, MIN, SHR};
use alula_ops::elementwise::bits::BIT_CAST;
use alula_tensor::{DType, Scalar, Tensor};

use super::compose::{Value, one_of};
use super::{RowCtx, RowError};

/// The least `u32` that is an f32's with an exponent above 0, and that of infinity.
const LEAST_NORMAL: u32 = 0x0080_0000;
const INFINITY: u32 = 0x7f80_0000;
const FRACTION_BITS: u32 = 23;
const CODE_LARGEST: u32 = 254;
const CODE_NAN: u32 = 255;

/// `x` as `f8e8m0` by the node's attributes `round_mode` and `saturate`.
pub(super) fn cast(ctx: &mut RowCtx<'_, '_>, x: ValueId) -> Value {
    let mode = ctx.str_or("round_mode", "up");
    let mode = one_of("round_mode", &mode, &["up", "down", "nearest"])?;
    let saturates = ctx.flag("saturate", true);
    let number = |ctx: &mut RowCtx<'_, '_>, value: u32| -> Value {
        let tensor = Tensor::from_scalars(DType::U32, &[], &[Scalar::Int(value.into())]);
        let tensor = tensor.map_err(|error| RowError::Invalid(error.to_string()))?;
        Ok(ctx.constant(tensor))
    };
    let x = ctx.cast(x, DType::F32)?;
    let bits = ctx.push(&BIT_CAST, &[x], Attrs::new().with("to", DType::U32))?;
    let magnitude = number(ctx, i32::MAX.cast_unsigned())?;
    let bits = ctx.op(&AND, &[bits, magnitude])?;
    // What is added carries into the exponent where the fraction rounds up.
    let half = LEAST_NORMAL / 2;
    let added = match mode {
        0 => number(ctx, LEAST_NORMAL - 1)?,
        1 => number(ctx, 0)?,
        _ => {
            // A tie goes up, but for the least power, whose code is even.
            let least = number(ctx, LEAST_NORMAL)?;
            let is_normal = ctx.op(&GE, &[bits, least])?;
            let (up, down) = (number(ctx, half)?, number(ctx, half - 1)?);
            ctx.select(is_normal, up, down)?
        }
    };
    let rounded = ctx.op(&ADD, &[bits, added])?;
    let shift = number(ctx, FRACTION_BITS)?;
    let mut code = ctx.op(&SHR, &[rounded, shift])?;
    if saturates {
        let largest = number(ctx, CODE_LARGEST)?;
        code = ctx.op(&MIN, &[code, largest])?;
    }
    let infinity = number(ctx, INFINITY)?;
    let is_special = ctx.op(&GE, &[bits, infinity])?;
    let nan = number(ctx, CODE_NAN)?;
    let code = ctx.select(is_special, nan, code)?;
    let code = ctx.cast(code, DType::U8)?;
    ctx.push(&BIT_CAST, &[code], Attrs::new().with("to", DType::F8E8M0))
}
