//! Reading an image between its elements: taps on each axis, their weights, and what stands for
//! elements that there are not.

use alula_ir::{Attrs, OpDef, ValueId};
use alula_ops::elementwise::arithmetic::{ABS, AND, EQ, FLOOR, FLOORMOD, GE, LE, MAX, MIN, MUL};
use alula_ops::indexing::GATHER_ND;
use alula_tensor::{DType, Dim};

use super::compose::Value;
use super::{RowCtx, RowError};

/// The dtype that places are computed in.
pub(super) fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 {
        dtype
    } else {
        DType::F32
    }
}

/// What stands outside of an image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outside {
    Zeros,
    Border,
    Reflection,
}

/// One axis of an image that is sampled.
pub(super) struct Line {
    /// Its extent as a float.
    pub(super) extent: ValueId,
    pub(super) outside: Outside,
    /// The outermost elements stand on the borders, else half an element inside.
    pub(super) corners: bool,
}

impl Line {
    /// Least and greatest place on the axis that counts as inside.
    fn borders(&self, ctx: &mut RowCtx<'_, '_>) -> Result<(ValueId, ValueId), RowError> {
        let offset = if self.corners { 1.0 } else { 0.5 };
        let low = ctx.number(self.extent, offset - 1.0)?;
        Ok((low, ctx.plus(self.extent, -offset)?))
    }

    /// A place inside of the borders, mirrored at them as often as needed.
    fn reflected(&self, ctx: &mut RowCtx<'_, '_>, at: ValueId) -> Value {
        let (low, high) = self.borders(ctx)?;
        let span = ctx.sub(high, low)?;
        let from_low = ctx.sub(at, low)?;
        let from_low = ctx.op(&ABS, &[from_low])?;
        let twice = ctx.times(span, 2.0)?;
        let rest = ctx.op(&FLOORMOD, &[from_low, twice])?;
        let back = ctx.sub(twice, rest)?;
        let nearer = ctx.op(&MIN, &[rest, back])?;
        let mirrored = ctx.add(low, nearer)?;
        let inside = self.inside(ctx, at, (low, high))?;
        let zero = ctx.number(span, 0.0)?;
        // A single element between aligned corners has nothing to be mirrored at.
        let is_point = ctx.op(&EQ, &[span, zero])?;
        let mirrored = ctx.select(is_point, low, mirrored)?;
        ctx.select(inside, at, mirrored)
    }

    fn inside(
        &self,
        ctx: &mut RowCtx<'_, '_>,
        at: ValueId,
        (low, high): (ValueId, ValueId),
    ) -> Value {
        let (above, below) = (ctx.op(&GE, &[at, low])?, ctx.op(&LE, &[at, high])?);
        ctx.op(&AND, &[above, below])
    }

    pub(super) fn clamped(&self, ctx: &mut RowCtx<'_, '_>, at: ValueId) -> Value {
        let zero = ctx.number(at, 0.0)?;
        let last = ctx.plus(self.extent, -1.0)?;
        let at = ctx.op(&MIN, &[at, last])?;
        ctx.op(&MAX, &[at, zero])
    }

    /// The place as the padding has it, before neighbours are looked for.
    pub(super) fn place(&self, ctx: &mut RowCtx<'_, '_>, at: ValueId) -> Value {
        match self.outside {
            Outside::Zeros => Ok(at),
            Outside::Border => self.clamped(ctx, at),
            Outside::Reflection => self.reflected(ctx, at),
        }
    }

    /// A whole place as a position on the axis, and whether there is an element.
    fn tap(
        &self,
        ctx: &mut RowCtx<'_, '_>,
        at: ValueId,
    ) -> Result<(ValueId, Option<ValueId>), RowError> {
        let exists = match self.outside {
            Outside::Zeros => {
                let (zero, last) = (ctx.number(at, 0.0)?, ctx.plus(self.extent, -1.0)?);
                Some(self.inside(ctx, at, (zero, last))?)
            }
            Outside::Border | Outside::Reflection => None,
        };
        let at = match self.outside {
            Outside::Reflection => self.reflected(ctx, at)?,
            Outside::Zeros | Outside::Border => at,
        };
        let at = self.clamped(ctx, at)?;
        Ok((ctx.cast(at, DType::I64)?, exists))
    }
}

/// A position on an axis, its weight, and whether there is an element.
#[derive(Clone, Copy)]
pub(super) struct Tap {
    pub(super) at: ValueId,
    pub(super) weight: Option<ValueId>,
    pub(super) exists: Option<ValueId>,
}

/// The cubic of Keys (1981) with `a = -0.75`, at a distance from the sample.
fn cubic(ctx: &mut RowCtx<'_, '_>, distance: ValueId, is_near: bool) -> Value {
    const A: f64 = -0.75;
    let factors = match is_near {
        true => [A + 2.0, -(A + 3.0), 0.0, 1.0],
        false => [A, -5.0 * A, 8.0 * A, -4.0 * A],
    };
    let mut sum = ctx.number(distance, factors[0])?;
    for factor in &factors[1..] {
        sum = ctx.mul(sum, distance)?;
        sum = ctx.plus(sum, *factor)?;
    }
    Ok(sum)
}

/// The taps of a place on one axis: 1, 2 or 4 of them.
pub(super) fn taps(
    ctx: &mut RowCtx<'_, '_>,
    line: &Line,
    at: ValueId,
    count: usize,
) -> Result<Vec<Tap>, RowError> {
    if count == 1 {
        let (at, exists) = line.tap(ctx, at)?;
        let weight = None;
        return Ok(vec![Tap { at, weight, exists }]);
    }
    let base = ctx.op(&FLOOR, &[at])?;
    let fraction = ctx.sub(at, base)?;
    let mut taps = Vec::with_capacity(count);
    let first = 1 - count as i64 / 2;
    for k in first..first + count as i64 {
        let place = ctx.plus(base, k as f64)?;
        let distance = ctx.plus(fraction, -(k as f64))?;
        let distance = ctx.op(&ABS, &[distance])?;
        let weight = match count {
            2 => {
                let one = ctx.number(distance, 1.0)?;
                ctx.sub(one, distance)?
            }
            _ => cubic(ctx, distance, (0..=1).contains(&k))?,
        };
        let (at, exists) = line.tap(ctx, place)?;
        taps.push(Tap {
            at,
            weight: Some(weight),
            exists,
        });
    }
    Ok(taps)
}

/// Sums of image elements by their taps. `image` is `[b.., pixels, channels]` with `batch` leading
/// axes that the taps share, `extents` those of the pixels; the result is
/// `[b.., places.., channels]`.
pub(super) fn sample(
    ctx: &mut RowCtx<'_, '_>,
    image: ValueId,
    extents: &[Dim],
    batch: usize,
    axes: &[Vec<Tap>],
) -> Value {
    let mut picks: Vec<Tap> = Vec::new();
    for (axis, taps) in axes.iter().enumerate() {
        if axis == 0 {
            picks.clone_from(taps);
            continue;
        }
        let extent = ctx.dim(extents[axis].clone())?;
        let mut next = Vec::with_capacity(picks.len() * taps.len());
        for pick in &picks {
            let row = ctx.mul(pick.at, extent)?;
            for tap in taps {
                let mut both =
                    |op: &'static OpDef, a: Option<ValueId>, b: Option<ValueId>| match (a, b) {
                        (Some(a), Some(b)) => ctx.op(op, &[a, b]).map(Some),
                        (a, b) => Ok(a.or(b)),
                    };
                let exists = both(&AND, pick.exists, tap.exists)?;
                let weight = both(&MUL, pick.weight, tap.weight)?;
                next.push(Tap {
                    at: ctx.add(row, tap.at)?,
                    weight,
                    exists,
                });
            }
        }
        picks = next;
    }
    let mut sum = None;
    for pick in picks {
        let last = ctx.rank(pick.at)?;
        let index = ctx.unsqueeze(pick.at, last)?;
        let attrs = Attrs::new().with("batch_dims", batch as i64);
        let mut value = ctx.push(&GATHER_ND, &[image, index], attrs)?;
        if let Some(exists) = pick.exists {
            let exists = ctx.unsqueeze(exists, last)?;
            let nothing = ctx.number(value, 0.0)?;
            value = ctx.select(exists, value, nothing)?;
        }
        if let Some(weight) = pick.weight {
            let weight = ctx.unsqueeze(weight, last)?;
            value = ctx.mul(value, weight)?;
        }
        sum = Some(match sum {
            Some(sum) => ctx.add(sum, value)?,
            None => value,
        });
    }
    sum.ok_or_else(|| RowError::Invalid("an image without axes".to_owned()))
}

/// `[n, c, d..]` as `[n, pixels, c]`.
pub(super) fn pixels_first(ctx: &mut RowCtx<'_, '_>, x: ValueId) -> Value {
    let shape = ctx.ty(x)?.shape;
    let pixels: Dim = shape[2..].iter().cloned().product();
    let flat = ctx.view(x, vec![shape[0].clone(), shape[1].clone(), pixels])?;
    ctx.permute(flat, &[0, 2, 1])
}

/// `[n, places.., c]` as `[n, c, places..]`.
pub(super) fn channels_second(ctx: &mut RowCtx<'_, '_>, x: ValueId) -> Value {
    let ty = ctx.ty(x)?;
    let rank = ty.rank() as i64;
    if rank < 2 {
        return Err(RowError::Invalid(format!("{ty} has no channels")));
    }
    let mut perm = vec![0, rank - 1];
    perm.extend(1..rank - 1);
    ctx.permute(x, &perm)
}

/// `[n, c, places..]` as `[n, places.., c]`.
pub(super) fn channels_last(ctx: &mut RowCtx<'_, '_>, x: ValueId) -> Value {
    let rank = ctx.rank(x)? as i64;
    let mut perm = vec![0];
    perm.extend(2..rank);
    perm.push(1);
    ctx.permute(x, &perm)
}
