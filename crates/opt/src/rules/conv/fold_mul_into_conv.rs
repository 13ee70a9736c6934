//! A constant factor for each channel of a convolution's result, or one for all, goes into its weights
//! and its bias.

use alula_ir::{Attrs, ValueId};

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let conv = found.node(patch.graph(), "c");
    let shape = patch.shape(found.result)?;
    let scale = patch.along_axis(found.value("k"), &shape, 1)?;
    let w = found.value("w");
    let rank = patch.ty(w)?.rank();
    let factor = patch.spread(scale, rank, 0)?;
    let w = patch.apply("mul", &[w, factor], Attrs::new())?;
    let bias = match found.optional("b") {
        Some(bias) => Some(patch.apply("mul", &[bias, scale], Attrs::new())?),
        None => None,
    };
    Ok(patch.with_operands(conv, &[Some(found.value("x")), Some(w), bias])?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "fold_mul_into_conv",
    "conv(x, w, b) * c becomes conv(x, w * c, b * c)",
)
.matching(&["mul(%c=conv(?x, ?w:const, ?b:const?){..}, ?k:const)"])
.build(build);
