//! A constant factor for each channel of a convolution's operand goes into its weights. Padding stays 0.

use alula_ir::{Attrs, ValueId};
use alula_tensor::Dim;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let (w, x) = (found.value("w"), found.value("x"));
    let group = patch.graph().node(found.root).attrs.int("group");
    let shape = patch.shape(x)?;
    require(
        patch.shape(found.value("m"))? == shape,
        "the factor broadcasts the operand",
    )?;
    let factor = patch.along_axis(found.value("k"), &shape, 1)?;
    let is_single = patch.shape(factor)?.iter().all(|dim| dim.is(1));
    let filters = patch.shape(w)?;
    // Weights are [M, C / group, ..]: channel c of the operand is c within its group.
    let own = filters[0].as_const().ok_or(Miss::NONE)? / group;
    let mut grouped = vec![Dim::new(group), Dim::new(own)];
    grouped.extend_from_slice(&filters[1..]);
    let mut factor_shape = vec![Dim::new(1); grouped.len()];
    if !is_single {
        (factor_shape[0], factor_shape[2]) = (Dim::new(group), filters[1].clone());
    }
    let w = patch.reshape(w, grouped)?;
    let factor = patch.reshape(factor, factor_shape)?;
    let w = patch.apply("mul", &[w, factor], Attrs::new())?;
    let w = patch.reshape(w, filters)?;
    Ok(patch.with_operands(found.root, &[Some(x), Some(w), found.optional("b")])?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "fold_mul_before_conv",
    "conv(x * c, w) becomes conv(x, w * c)",
)
.matching(&["conv(%m=mul(?x, ?k:const), ?w:const, ?b?){..}"])
.build(build);
