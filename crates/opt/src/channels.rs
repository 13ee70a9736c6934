//! Batch normalizations as what they are: a factor and a constant for each channel.
//!
//! What is folded into weights is computed in `f64` and rounded once: every rounding of a weight is
//! an error of all results. What stays a product and a sum is computed as the operator does.

use alula_ir::{Attr, Attrs, ValueId};
use alula_tensor::DType;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, fits, require};

/// Factor and constant of a `batch_norm` whose operands `scale`, `bias`, `mean`, `variance` and
/// attribute `e` a pattern has bound, each `[C]` of the dtype `to`:
/// `s = scale / sqrt(variance + e)` and `b = bias - mean * s`.
pub(crate) fn batch_norm_affine(
    found: &Match<'_>,
    patch: &mut Patch<'_>,
    to: DType,
) -> Result<(ValueId, ValueId), Miss> {
    let Some(Attr::Float(epsilon)) = found.attr("e").cloned() else {
        return Err(Miss::NONE);
    };
    let mut operands = Vec::with_capacity(4);
    for name in ["scale", "bias", "mean", "variance"] {
        // Narrow floats would round the weights once more than the normalization does.
        let value = found.value(name);
        let is_wide = is_wide(patch.ty(value)?.dtype);
        require(is_wide, "the statistics are narrow floats")?;
        operands.push(cast(patch, value, to)?);
    }
    let [scale, bias, mean, variance] = operands[..] else {
        return Err(Miss::NONE);
    };
    let epsilon = patch.scalar(to, epsilon);
    let sum = patch.apply("add", &[variance, epsilon], Attrs::new())?;
    let deviation = patch.apply("sqrt", &[sum], Attrs::new())?;
    let factor = patch.apply("div", &[scale, deviation], Attrs::new())?;
    let moved = patch.apply("mul", &[mean, factor], Attrs::new())?;
    let constant = patch.apply("sub", &[bias, moved], Attrs::new())?;
    Ok((factor, constant))
}

/// Whether numbers of this dtype bear to be rounded once more.
pub(crate) fn is_wide(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}

/// A value in another dtype; in its own it stays as it is.
pub(crate) fn cast(patch: &mut Patch<'_>, value: ValueId, to: DType) -> Result<ValueId, Miss> {
    if patch.ty(value)?.dtype == to {
        return Ok(value);
    }
    patch.apply("cast", &[value], Attrs::new().with("to", to))
}

/// The bias of a convolution, if it has one, after a [`batch_norm_affine`], in `dtype`.
pub(crate) fn moved_bias(
    patch: &mut Patch<'_>,
    bias: Option<ValueId>,
    (scale, shift): (ValueId, ValueId),
    dtype: DType,
) -> Result<ValueId, Miss> {
    let moved = match bias {
        Some(bias) => {
            let bias = cast(patch, bias, DType::F64)?;
            let scaled = patch.apply("mul", &[bias, scale], Attrs::new())?;
            patch.apply("add", &[scaled, shift], Attrs::new())?
        }
        None => shift,
    };
    cast(patch, moved, dtype)
}

/// Constant weights times a factor for each output channel, `f64[M]`, rounded once. `channel` tells
/// the channel of an element by its place.
pub(crate) fn scaled_weights(
    patch: &mut Patch<'_>,
    weights: ValueId,
    factors: ValueId,
    channel: impl Fn(usize) -> usize,
) -> Result<ValueId, Miss> {
    let constant = |value: ValueId| {
        let tensor = patch.graph().as_constant(value).cloned();
        tensor.ok_or(Miss::from("an operand is no constant"))
    };
    let (mut weights, factors) = (constant(weights)?, constant(factors)?.to_f64s());
    let last = weights.len().checked_sub(1);
    fits(last.is_none_or(|last| channel(last) < factors.len()))?;
    // Elements in place: widened, the weights of a large model would not fit beside it.
    if let Some(narrow) = weights.as_mut_slice::<f32>() {
        for (at, weight) in narrow.iter_mut().enumerate() {
            *weight = (f64::from(*weight) * factors[channel(at)]) as f32;
        }
    } else if let Some(wide) = weights.as_mut_slice::<f64>() {
        for (at, weight) in wide.iter_mut().enumerate() {
            *weight *= factors[channel(at)];
        }
    } else {
        return Err("the weights are narrow floats".into());
    }
    Ok(patch.constant(weights))
}
