//! The lowering of `resize`: coordinates and weights as expressions of the position.

use alula_ir::{LowerCtx, LowerError};
use alula_kernel::{Compute, ExprId, FoldOp, VarId};
use alula_tensor::{DType, Dim, Scalar, ScalarOp};

use super::resize::{Coordinates, Mode, Rounding, Spec};

/// The elements that a sample is made of, along one axis.
enum Taps {
    /// One element.
    One(ExprId),
    /// Elements with their weights.
    Few(Vec<(ExprId, ExprId)>),
    /// An element and its weight for each value of a variable.
    Many(VarId, ExprId, ExprId),
}

/// What is known of one axis.
struct Line<'s> {
    spec: &'s Spec,
    k: usize,
    from: Dim,
    to: Dim,
    at: ExprId,
}

const REAL: DType = DType::F32;

pub(super) fn lower(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let spec = Spec::new(ctx.attrs).map_err(|error| LowerError::Unsupported(error.to_string()))?;
    let (x, result) = (ctx.tensor(0), ctx.result(0));
    let mut c = Compute::begin(ctx.compute_operands(), result.dtype, &result.shape);
    let index = c.indices();
    let mut inside = c.pool.boolean(true);
    let mut axes = Vec::new();
    for (k, &axis) in spec.axes.iter().enumerate() {
        let line = Line {
            spec: &spec,
            k,
            from: x.shape[axis].clone(),
            to: result.shape[axis].clone(),
            at: index[axis],
        };
        let (taps, is_inside) = line.taps(&mut c)?;
        inside = c.pool.apply(ScalarOp::And, &[inside, is_inside]);
        axes.push((axis, taps));
    }
    let mut value = sample(&mut c, &axes, index, spec.mode == Mode::Nearest);
    if spec.coordinates == Coordinates::TfCrop {
        let dtype = c.pool.dtype(value);
        let outside = c.pool.constant(dtype, Scalar::Float(spec.extrapolation));
        value = c.pool.select(inside, value, outside);
    }
    Ok(vec![c.finish(value)])
}

/// The weighted sum over the taps of the axes that are left.
fn sample(c: &mut Compute, axes: &[(usize, Taps)], index: Vec<ExprId>, as_stored: bool) -> ExprId {
    let Some(((axis, taps), rest)) = axes.split_first() else {
        let value = c.load(0, index);
        let compute = c.pool.dtype(value);
        return if as_stored || compute.is_float() {
            value
        } else {
            c.pool.cast(value, REAL)
        };
    };
    let moved = |to: ExprId| {
        let mut index = index.clone();
        index[*axis] = to;
        index
    };
    match taps {
        Taps::One(at) => sample(c, rest, moved(*at), as_stored),
        Taps::Few(taps) => {
            let mut sum = None;
            for &(at, weight) in taps {
                let value = sample(c, rest, moved(at), as_stored);
                let weight = c.pool.cast(weight, c.pool.dtype(value));
                let term = c.pool.mul(value, weight);
                sum = Some(match sum {
                    None => term,
                    Some(sum) => c.pool.add(sum, term),
                });
            }
            sum.expect("an axis has taps")
        }
        Taps::Many(var, at, weight) => {
            let value = sample(c, rest, moved(*at), as_stored);
            let weight = c.pool.cast(*weight, c.pool.dtype(value));
            let term = c.pool.mul(value, weight);
            c.pool.fold(FoldOp::Add, vec![*var], term)
        }
    }
}

impl Line<'_> {
    /// The scale as a number, where it is known.
    fn known_scale(&self) -> Option<f32> {
        match self.spec.scales.get(self.k) {
            Some(scale) => Some(*scale as f32),
            None => Some(self.to.as_const()? as f32 / self.from.as_const()? as f32),
        }
    }

    fn scale(&self, c: &mut Compute) -> ExprId {
        if let Some(scale) = self.known_scale() {
            return c.pool.float(REAL, scale.into());
        }
        let (from, to) = (c.pool.dim(self.from.clone()), c.pool.dim(self.to.clone()));
        let (from, to) = (c.pool.cast(from, REAL), c.pool.cast(to, REAL));
        c.pool.div(to, from)
    }

    /// The position in the operand, in `f32`.
    fn coordinate(&self, c: &mut Compute) -> ExprId {
        let scale = self.scale(c);
        let pool = &mut c.pool;
        let at = pool.cast(self.at, REAL);
        let (from, to) = (pool.dim(self.from.clone()), pool.dim(self.to.clone()));
        let (one, is_long) = (pool.int(1), {
            let one = pool.int(1);
            pool.apply(ScalarOp::Gt, &[to, one])
        });
        let (from, to) = (pool.cast(from, REAL), pool.cast(to, REAL));
        let one = pool.cast(one, REAL);
        let (half, zero) = (pool.float(REAL, 0.5), pool.float(REAL, 0.0));
        let middle = pool.add(at, half);
        let scaled = pool.div(middle, scale);
        let half_pixel = pool.sub(scaled, half);
        match self.spec.coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => {
                let exact = pool.mul(scale, from);
                let adjustment = pool.div(to, exact);
                let two = pool.float(REAL, 2.0);
                let centre = pool.div(from, two);
                let rest = pool.sub(one, adjustment);
                let offset = pool.mul(centre, rest);
                pool.add(offset, half_pixel)
            }
            Coordinates::PytorchHalfPixel => pool.select(is_long, half_pixel, zero),
            Coordinates::AlignCorners => {
                let length = match self.spec.scales.is_empty() {
                    true => to,
                    false => pool.mul(scale, from),
                };
                let (reach, steps) = (pool.sub(from, one), pool.sub(length, one));
                let scaled = pool.mul(at, reach);
                let steps = pool.apply(ScalarOp::Max, &[steps, one]);
                pool.div(scaled, steps)
            }
            Coordinates::Asymmetric => pool.div(at, scale),
            Coordinates::TfHalfPixel => scaled,
            Coordinates::TfCrop => {
                let (start, end) = self.spec.roi[self.k];
                let (start, end) = (pool.float(REAL, start), pool.float(REAL, end));
                let (reach, steps) = (pool.sub(from, one), pool.sub(to, one));
                let steps = pool.apply(ScalarOp::Max, &[steps, one]);
                let first = pool.mul(start, reach);
                let length = pool.sub(end, start);
                let length = pool.mul(length, reach);
                let moved = pool.mul(at, length);
                let moved = pool.div(moved, steps);
                let long = pool.add(first, moved);
                let sum = pool.add(start, end);
                let middle = pool.mul(half, sum);
                let short = pool.mul(middle, reach);
                pool.select(is_long, long, short)
            }
        }
    }

    /// An index limited to the operand's extent.
    fn clamped(&self, c: &mut Compute, index: ExprId) -> ExprId {
        let last = c.pool.dim(self.from.clone() - Dim::new(1));
        let zero = c.pool.int(0);
        let low = c.pool.apply(ScalarOp::Min, &[index, last]);
        c.pool.apply(ScalarOp::Max, &[low, zero])
    }

    /// The taps, and whether the position lies inside the operand.
    fn taps(&self, c: &mut Compute) -> Result<(Taps, ExprId), LowerError> {
        let inside = c.pool.boolean(true);
        if let Some(at) = self.repeated(c) {
            return Ok((Taps::One(at), inside));
        }
        let x = self.coordinate(c);
        let zero = c.pool.float(REAL, 0.0);
        let last = c.pool.dim(self.from.clone() - Dim::new(1));
        let last = c.pool.cast(last, REAL);
        let above = c.pool.apply(ScalarOp::Ge, &[x, zero]);
        let below = c.pool.apply(ScalarOp::Le, &[x, last]);
        let inside = c.pool.apply(ScalarOp::And, &[above, below]);
        if self.spec.mode == Mode::Nearest {
            let half = c.pool.float(REAL, 0.5);
            let rounded = match self.spec.rounding {
                Rounding::PreferFloor => {
                    let less = c.pool.sub(x, half);
                    c.pool.unary(ScalarOp::Ceil, less)
                }
                Rounding::PreferCeil => {
                    let more = c.pool.add(x, half);
                    c.pool.unary(ScalarOp::Floor, more)
                }
                Rounding::Floor => c.pool.unary(ScalarOp::Floor, x),
                Rounding::Ceil => c.pool.unary(ScalarOp::Ceil, x),
            };
            let index = c.pool.cast(rounded, DType::I64);
            return Ok((Taps::One(self.clamped(c, index)), inside));
        }
        Ok((self.interpolated(c, x)?, inside))
    }

    /// The element that a whole ratio repeats: `at / ratio`, without floats.
    fn repeated(&self, c: &mut Compute) -> Option<ExprId> {
        let spec = self.spec;
        let ratio = self.known_scale()?;
        let is_whole = ratio.fract() == 0.0 && (1.0..1e6).contains(&ratio);
        let repeats = match spec.coordinates {
            Coordinates::Asymmetric => spec.rounding == Rounding::Floor,
            Coordinates::HalfPixel => {
                matches!(spec.rounding, Rounding::PreferFloor | Rounding::PreferCeil)
            }
            _ => false,
        };
        let fits = self.to == self.from.clone() * Dim::new(ratio as i64);
        if spec.mode != Mode::Nearest || !is_whole || !repeats || !fits {
            return None;
        }
        let ratio = c.pool.int(ratio as i64);
        Some(c.pool.apply(ScalarOp::FloorDiv, &[self.at, ratio]))
    }

    fn interpolated(&self, c: &mut Compute, x: ExprId) -> Result<Taps, LowerError> {
        let spec = self.spec;
        let reach = if spec.mode == Mode::Linear {
            1.0_f32
        } else {
            2.0
        };
        let squeeze = match (spec.antialias, self.known_scale()) {
            (false, _) => 1.0,
            (true, Some(scale)) => scale.min(1.0),
            (true, None) => {
                return Err(LowerError::Unsupported(format!(
                    "antialias from {} to {} elements: the ratio must be known when compiling",
                    self.from, self.to
                )));
            }
        };
        let first = (-reach / squeeze).floor() as i64 + 1;
        let count = 2 - 2 * first;
        let base = c.pool.unary(ScalarOp::Floor, x);
        let ratio = c.pool.sub(x, base);
        let base = c.pool.cast(base, DType::I64);
        // Tap k: its element, its weight before the total is made 1.
        let tap = |c: &mut Compute, k: ExprId| {
            let start = c.pool.int(first);
            let offset = c.pool.add(k, start);
            let index = c.pool.add(base, offset);
            let offset = c.pool.cast(offset, REAL);
            let distance = c.pool.sub(offset, ratio);
            let factor = c.pool.float(REAL, squeeze.into());
            let distance = if squeeze == 1.0 {
                distance
            } else {
                c.pool.mul(distance, factor)
            };
            let distance = c.pool.unary(ScalarOp::Abs, distance);
            let mut weight = self.weight(c, distance);
            if spec.exclude_outside {
                let (zero, end) = (c.pool.int(0), c.pool.dim(self.from.clone()));
                let above = c.pool.apply(ScalarOp::Ge, &[index, zero]);
                let below = c.pool.apply(ScalarOp::Lt, &[index, end]);
                let inside = c.pool.apply(ScalarOp::And, &[above, below]);
                let nothing = c.pool.float(REAL, 0.0);
                weight = c.pool.select(inside, weight, nothing);
            }
            (self.clamped(c, index), weight)
        };
        let is_total = spec.exclude_outside || spec.antialias;
        if !is_total {
            let taps = (0..count)
                .map(|k| {
                    let k = c.pool.int(k);
                    tap(c, k)
                })
                .collect();
            return Ok(Taps::Few(taps));
        }
        let all = c.pool.var(count);
        let k = c.pool.var_expr(all);
        let (_, weight) = tap(c, k);
        let total = c.pool.fold(FoldOp::Add, vec![all], weight);
        let var = c.pool.var(count);
        let k = c.pool.var_expr(var);
        let (index, weight) = tap(c, k);
        let share = c.pool.div(weight, total);
        Ok(Taps::Many(var, index, share))
    }

    /// The filter at a distance.
    fn weight(&self, c: &mut Compute, x: ExprId) -> ExprId {
        let a = self.spec.cubic_a;
        let pool = &mut c.pool;
        let (zero, one) = (pool.float(REAL, 0.0), pool.float(REAL, 1.0));
        if self.spec.mode == Mode::Linear {
            let rest = pool.sub(one, x);
            return pool.apply(ScalarOp::Max, &[rest, zero]);
        }
        let mut number = |value: f64| pool.float(REAL, value);
        let (near_3, near_2) = (number(a + 2.0), number(a + 3.0));
        let (far_3, far_2, far_1, far_0, two) = (
            number(a),
            number(5.0 * a),
            number(8.0 * a),
            number(4.0 * a),
            number(2.0),
        );
        let near = pool.mul(near_3, x);
        let near = pool.sub(near, near_2);
        let square = pool.mul(x, x);
        let near = pool.mul(near, square);
        let near = pool.add(near, one);
        let far = pool.mul(far_3, x);
        let far = pool.sub(far, far_2);
        let far = pool.mul(far, x);
        let far = pool.add(far, far_1);
        let far = pool.mul(far, x);
        let far = pool.sub(far, far_0);
        let is_far = pool.apply(ScalarOp::Lt, &[x, two]);
        let far = pool.select(is_far, far, zero);
        let is_near = pool.apply(ScalarOp::Le, &[x, one]);
        pool.select(is_near, near, far)
    }
}
