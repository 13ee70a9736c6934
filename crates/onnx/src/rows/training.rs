//! One step of an optimizer: `Adagrad`, `Adam`, `Momentum` of `ai.onnx.preview.training`.

use alula_ir::ValueId;
use alula_ops::elementwise::arithmetic::{GT, POW, SQRT};

use super::compose::{Value, one_of};
use super::shape::as_scalar;
use super::{Built, Row, RowCtx, RowError};

const fn row(
    op_type: &'static str,
    attrs: &'static [&'static str],
    build: fn(&mut RowCtx<'_, '_>) -> Built,
) -> Row {
    Row {
        domain: "ai.onnx.preview.training",
        op_type,
        versions: &[1],
        attrs,
        build,
    }
}

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "Adagrad",
        &["decay_factor", "epsilon", "norm_coefficient"],
        adagrad,
    ),
    row(
        "Adam",
        &[
            "alpha",
            "beta",
            "epsilon",
            "norm_coefficient",
            "norm_coefficient_post",
        ],
        adam,
    ),
    row(
        "Momentum",
        &["alpha", "beta", "mode", "norm_coefficient"],
        momentum,
    ),
];

/// The tensors of an optimizer: `kinds` lists of the same length follow rate and count.
fn tensors(ctx: &RowCtx<'_, '_>, kinds: usize) -> Result<Vec<Vec<ValueId>>, RowError> {
    let all = ctx.all_inputs()?;
    let rest = all.get(2..).unwrap_or_default();
    if rest.is_empty() || !rest.len().is_multiple_of(kinds) {
        let given = rest.len();
        return Err(RowError::Invalid(format!(
            "{given} tensors are not {kinds} for each optimized one"
        )));
    }
    let count = rest.len() / kinds;
    let of = |k: usize| (0..kinds).map(|kind| rest[kind * count + k]).collect();
    Ok((0..count).map(of).collect())
}

/// Rate and count as scalars of the dtype of `x`.
fn progress(ctx: &mut RowCtx<'_, '_>, x: ValueId) -> Result<(ValueId, ValueId), RowError> {
    let dtype = ctx.ty(x)?.dtype;
    let mut scalar = |position| -> Value {
        let value = ctx.input(position)?;
        let value = as_scalar(ctx, value)?;
        ctx.cast(value, dtype)
    };
    Ok((scalar(0)?, scalar(1)?))
}

fn required(ctx: &RowCtx<'_, '_>, name: &str) -> Result<f64, RowError> {
    ctx.float(name)
        .ok_or_else(|| RowError::Invalid(format!("attribute {name} is absent")))
}

/// The gradient of the loss and of half the squared norm.
fn regularized(ctx: &mut RowCtx<'_, '_>, x: ValueId, gradient: ValueId) -> Value {
    let penalty = ctx.times(x, ctx.float_or("norm_coefficient", 0.0))?;
    ctx.add(penalty, gradient)
}

/// Results of each optimized tensor, listed by kind.
fn by_kind(each: Vec<Vec<ValueId>>) -> Vec<ValueId> {
    let kinds = each.first().map_or(0, Vec::len);
    (0..kinds)
        .flat_map(|kind| each.iter().map(move |own| own[kind]))
        .collect()
}

fn adagrad(ctx: &mut RowCtx<'_, '_>) -> Built {
    let mut each = Vec::new();
    for own in tensors(ctx, 3)? {
        let (x, gradient, square) = (own[0], own[1], own[2]);
        let (rate, count) = progress(ctx, x)?;
        let slower = ctx.times(count, ctx.float_or("decay_factor", 0.0))?;
        let slower = ctx.plus(slower, 1.0)?;
        let rate = ctx.div(rate, slower)?;
        let gradient = regularized(ctx, x, gradient)?;
        let new = ctx.mul(gradient, gradient)?;
        let square = ctx.add(square, new)?;
        let root = ctx.op(&SQRT, &[square])?;
        let root = ctx.plus(root, ctx.float_or("epsilon", 1e-6))?;
        let step = ctx.mul(rate, gradient)?;
        let step = ctx.div(step, root)?;
        each.push(vec![ctx.sub(x, step)?, square]);
    }
    Ok(by_kind(each))
}

/// `old * factor + new * (1 - factor)`.
fn mixed(ctx: &mut RowCtx<'_, '_>, old: ValueId, new: ValueId, factor: f64) -> Value {
    let (old, new) = (ctx.times(old, factor)?, ctx.times(new, 1.0 - factor)?);
    ctx.add(old, new)
}

/// `1 - base^count`.
fn unbiased(ctx: &mut RowCtx<'_, '_>, base: f64, count: ValueId) -> Value {
    let base = ctx.number(count, base)?;
    let power = ctx.op(&POW, &[base, count])?;
    let one = ctx.number(count, 1.0)?;
    ctx.sub(one, power)
}

fn adam(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (alpha, beta) = (ctx.float_or("alpha", 0.9), ctx.float_or("beta", 0.999));
    let mut each = Vec::new();
    for own in tensors(ctx, 4)? {
        let (x, gradient, mean, square) = (own[0], own[1], own[2], own[3]);
        let (rate, count) = progress(ctx, x)?;
        let gradient = regularized(ctx, x, gradient)?;
        let mean = mixed(ctx, mean, gradient, alpha)?;
        let new = ctx.mul(gradient, gradient)?;
        let square = mixed(ctx, square, new, beta)?;
        let root = ctx.op(&SQRT, &[square])?;
        let root = ctx.plus(root, ctx.float_or("epsilon", 1e-6))?;
        let (of_mean, of_square) = (unbiased(ctx, alpha, count)?, unbiased(ctx, beta, count)?);
        let of_square = ctx.op(&SQRT, &[of_square])?;
        let adjusted = ctx.mul(rate, of_square)?;
        let adjusted = ctx.div(adjusted, of_mean)?;
        let zero = ctx.number(count, 0.0)?;
        let is_later = ctx.op(&GT, &[count, zero])?;
        let rate = ctx.select(is_later, adjusted, rate)?;
        let step = ctx.mul(rate, mean)?;
        let step = ctx.div(step, root)?;
        let x = ctx.sub(x, step)?;
        let x = ctx.times(x, 1.0 - ctx.float_or("norm_coefficient_post", 0.0))?;
        each.push(vec![x, mean, square]);
    }
    Ok(by_kind(each))
}

fn momentum(ctx: &mut RowCtx<'_, '_>) -> Built {
    let mode = ctx.str_or("mode", "");
    let is_nesterov = one_of("mode", &mode, &["standard", "nesterov"])? == 1;
    let (alpha, beta) = (required(ctx, "alpha")?, required(ctx, "beta")?);
    required(ctx, "norm_coefficient")?;
    let mut each = Vec::new();
    for own in tensors(ctx, 3)? {
        let (x, gradient, momentum) = (own[0], own[1], own[2]);
        let (rate, count) = progress(ctx, x)?;
        let gradient = regularized(ctx, x, gradient)?;
        let (zero, one) = (ctx.number(count, 0.0)?, ctx.number(count, 1.0)?);
        let is_later = ctx.op(&GT, &[count, zero])?;
        let beta = ctx.number(count, beta)?;
        let weight = ctx.select(is_later, beta, one)?;
        let (old, new) = (ctx.times(momentum, alpha)?, ctx.mul(weight, gradient)?);
        let momentum = ctx.add(old, new)?;
        let mut step = momentum;
        if is_nesterov {
            let ahead = ctx.times(momentum, alpha)?;
            step = ctx.add(gradient, ahead)?;
        }
        let step = ctx.mul(rate, step)?;
        each.push(vec![ctx.sub(x, step)?, momentum]);
    }
    Ok(by_kind(each))
}
