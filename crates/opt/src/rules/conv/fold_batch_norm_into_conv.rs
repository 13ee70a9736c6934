//! A batch normalization of a convolution's result scales its weights and moves its bias.

use alula_ir::{Attrs, ValueId};

use crate::channels::batch_norm_affine;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let (scale, shift) = batch_norm_affine(found, patch)?;
    let conv = found.node(patch.graph(), "c");
    let w = found.value("w");
    let rank = patch.ty(w)?.rank();
    let factor = patch.spread(scale, rank, 0)?;
    let w = patch.apply("mul", &[w, factor], Attrs::new())?;
    let bias = match found.optional("b") {
        Some(bias) => {
            let scaled = patch.apply("mul", &[bias, scale], Attrs::new())?;
            patch.apply("add", &[scaled, shift], Attrs::new())?
        }
        None => shift,
    };
    Ok(patch.with_operands(conv, &[Some(found.value("x")), Some(w), Some(bias)])?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding("fold_batch_norm_into_conv", "batch_norm(conv(x)) becomes conv(x)")
    .matching(&["batch_norm(%c=conv(?x, ?w:const, ?b:const?){..}, ?scale:const, ?bias:const, ?mean:const, ?variance:const){epsilon = ?e}"])
    .build(build);
