//! Losses: the negative logarithm of the probability of a class.

use alula_ir::{Attrs, ValueId};
use alula_ops::elementwise::arithmetic::{EQ, NEG, NOT};
use alula_ops::indexing::GATHER_ELEMENTS;
use alula_ops::normalization::LOG_SOFTMAX;

use super::compose::one_of;
use super::{Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "NegativeLogLikelihoodLoss",
        &[12, 13, 22],
        &["ignore_index", "reduction"],
        |ctx| {
            let x = ctx.input(0)?;
            Ok(vec![likelihood_loss(ctx, x)?])
        },
    ),
    row(
        "SoftmaxCrossEntropyLoss",
        &[12, 13],
        &["ignore_index", "reduction"],
        |ctx| {
            let x = ctx.input(0)?;
            let logs = ctx.push(&LOG_SOFTMAX, &[x], Attrs::new().with("axis", 1_i64))?;
            Ok(vec![likelihood_loss(ctx, logs)?, logs])
        },
    ),
];

/// `-logs[n, class[n, d..], d..] * weight[class]` at each place, or the sum of it, or its mean
/// weighted by `weight`. Places of class `ignore_index` count for nothing.
fn likelihood_loss(ctx: &mut RowCtx<'_, '_>, logs: ValueId) -> Result<ValueId, RowError> {
    let reduction = ctx.str_or("reduction", "mean");
    let reduction = one_of("reduction", &reduction, &["none", "sum", "mean"])?;
    let (target, weight) = (ctx.input(1)?, ctx.optional(2));
    let (ty, target_ty) = (ctx.ty(logs)?, ctx.ty(target)?);
    if ty.rank() < 2 || target_ty.rank() + 1 != ty.rank() {
        return Err(RowError::Invalid(format!(
            "classes {target_ty} for scores {ty}"
        )));
    }
    let counts = match ctx.int("ignore_index") {
        Some(ignored) => {
            let ignored = ctx.list(&[ignored]);
            let ignored = ctx.view(ignored, Vec::new())?;
            let wide = ctx.cast(target, alula_tensor::DType::I64)?;
            let is_ignored = ctx.op(&EQ, &[wide, ignored])?;
            Some(ctx.op(&NOT, &[is_ignored])?)
        }
        None => None,
    };
    let class = match counts {
        Some(counts) => {
            let first = ctx.number(target, 0.0)?;
            ctx.select(counts, target, first)?
        }
        None => target,
    };
    ctx.demand_within(class, logs, 1)?;
    let column = ctx.unsqueeze(class, 1)?;
    let axis = || Attrs::new().with("axis", 1_i64);
    let picked = ctx.push(&GATHER_ELEMENTS, &[logs, column], axis())?;
    let picked = ctx.view(picked, target_ty.shape.clone())?;
    let mut loss = ctx.op(&NEG, &[picked])?;
    let mut weights = match weight {
        Some(weight) => Some(ctx.gather(weight, class, 0)?),
        None => None,
    };
    if let Some(weights) = weights {
        loss = ctx.mul(loss, weights)?;
    }
    if let Some(counts) = counts {
        let (none, one) = (ctx.number(loss, 0.0)?, ctx.number(loss, 1.0)?);
        loss = ctx.select(counts, loss, none)?;
        weights = Some(ctx.select(counts, weights.unwrap_or(one), none)?);
    }
    match (reduction, weights) {
        (0, _) => Ok(loss),
        (1, _) => ctx.total(loss),
        (_, Some(weights)) => {
            let (loss, weight) = (ctx.total(loss)?, ctx.total(weights)?);
            ctx.div(loss, weight)
        }
        (_, None) => {
            let axes = (0..target_ty.rank() as i64).collect();
            ctx.reduce(&alula_ops::reduce::REDUCE_MEAN, loss, axes, false)
        }
    }
}
