//! Batch normalizations as what they are: a factor and a constant for each channel.

use alula_ir::{Attr, Attrs, ValueId};
use alula_tensor::DType;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, require};

/// Factor and constant of a `batch_norm` whose operands `scale`, `bias`, `mean`, `variance` and
/// attribute `e` a pattern has bound, each `[C]`:
/// `s = scale / sqrt(variance + e)` and `b = bias - mean * s`.
pub(crate) fn batch_norm_affine(
    found: &Match<'_>,
    patch: &mut Patch<'_>,
) -> Result<(ValueId, ValueId), Miss> {
    let Some(Attr::Float(epsilon)) = found.attr("e").cloned() else {
        return Err(Miss::NONE);
    };
    let [scale, bias, mean, variance] =
        ["scale", "bias", "mean", "variance"].map(|name| found.value(name));
    for value in [scale, bias, mean, variance] {
        // Narrow floats would round the weights once more than the normalization does.
        let dtype = patch.ty(value)?.dtype;
        require(
            matches!(dtype, DType::F32 | DType::F64),
            "the statistics are narrow floats",
        )?;
    }
    let dtype = patch.ty(variance)?.dtype;
    let epsilon = patch.scalar(dtype, epsilon);
    let sum = patch.apply("add", &[variance, epsilon], Attrs::new())?;
    let deviation = patch.apply("sqrt", &[sum], Attrs::new())?;
    let factor = patch.apply("div", &[scale, deviation], Attrs::new())?;
    let moved = patch.apply("mul", &[mean, factor], Attrs::new())?;
    let constant = patch.apply("sub", &[bias, moved], Attrs::new())?;
    Ok((factor, constant))
}
