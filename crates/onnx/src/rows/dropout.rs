//! `Dropout`: nothing at inference, random zeros in training.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{DIV, GE};
use alula_ops::random::RANDOM_UNIFORM;
use alula_ops::shape::EXPAND;
use alula_tensor::{DType, Scalar};

use super::shape::as_scalar;
use super::{Built, Row, RowCtx, RowError, random, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "Dropout",
    &[1, 6, 7, 10, 12, 13, 22],
    &["consumed_inputs", "is_test", "ratio", "seed"],
    dropout,
)];

const RATIO: f64 = 0.5;

/// Whether and how much is dropped.
enum Ratio {
    /// Nothing, ever.
    None,
    /// This share, an f32 scalar.
    Of(ValueId),
}

/// Up to version 6 an attribute says whether this is training, up to version 10 it never is, from
/// version 12 on an input says so, which may be computed.
fn ratio(ctx: &mut RowCtx<'_, '_>) -> Result<Ratio, RowError> {
    if ctx.version < 7 {
        let ratio = ctx.float_or("ratio", RATIO);
        return Ok(match ctx.flag("is_test", false) || ratio == 0.0 {
            true => Ratio::None,
            false => Ratio::Of(ctx.scalar(DType::F32, ratio)?),
        });
    }
    let Some(training) = ctx.optional(2).filter(|_| ctx.version >= 12) else {
        return Ok(Ratio::None);
    };
    let known = |ctx: &mut RowCtx<'_, '_>, value| -> Option<Scalar> {
        ctx.as_constant(value).and_then(|tensor| tensor.get(0))
    };
    let is_training = known(ctx, training).map(Scalar::is_true);
    let given = ctx.optional(1);
    let is_zero =
        given.is_some_and(|ratio| known(ctx, ratio).is_some_and(|ratio| ratio.to_f64() == 0.0));
    if is_training == Some(false) || is_zero {
        return Ok(Ratio::None);
    }
    let ratio = match given {
        None => ctx.scalar(DType::F32, RATIO)?,
        Some(ratio) => {
            let ratio = as_scalar(ctx, ratio)?;
            ctx.cast(ratio, DType::F32)?
        }
    };
    if is_training == Some(true) {
        return Ok(Ratio::Of(ratio));
    }
    // A share of 0 drops nothing and scales by 1.
    let (training, zero) = (as_scalar(ctx, training)?, ctx.scalar(DType::F32, 0.0)?);
    Ok(Ratio::Of(ctx.select(training, ratio, zero)?))
}

fn dropout(ctx: &mut RowCtx<'_, '_>) -> Built {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x)?;
    let mask_dtype = if ctx.version < 10 {
        ty.dtype
    } else {
        DType::Bool
    };
    let ratio = match ratio(ctx)? {
        Ratio::Of(ratio) => ratio,
        Ratio::None if !ctx.wants(1) => return Ok(vec![x]),
        Ratio::None => {
            let one = ctx.scalar(mask_dtype, 1.0)?;
            let mask = ctx.push(&EXPAND, &[one], Attrs::new().with("to", ty.shape))?;
            return Ok(vec![x, mask]);
        }
    };
    let seed = match ctx.int("seed") {
        Some(seed) => seed,
        None => random::seed(ctx),
    };
    let attrs = Attrs::new()
        .with("shape", ty.shape)
        .with("dtype", DType::F32)
        .with("seed", seed);
    let drawn = ctx.push(&RANDOM_UNIFORM, &[], attrs)?;
    let kept = ctx.op(&GE, &[drawn, ratio])?;
    let one = ctx.scalar(DType::F32, 1.0)?;
    let share = ctx.sub(one, ratio)?;
    let scale = ctx.op(&DIV, &[one, share])?;
    let scale = ctx.cast(scale, ty.dtype)?;
    let (scaled, zero) = (ctx.mul(x, scale)?, ctx.scalar(ty.dtype, 0.0)?);
    let y = ctx.select(kept, scaled, zero)?;
    let mask = ctx.cast(kept, mask_dtype)?;
    Ok(vec![y, mask])
}
