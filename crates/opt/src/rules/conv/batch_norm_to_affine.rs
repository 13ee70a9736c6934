//! A batch normalization with constant statistics that nothing takes in is a product and a sum, which
//! fuse with what is around them.

use alula_ir::{Attrs, ValueId};
use alula_tensor::TensorType;

use crate::channels::{batch_norm_affine, is_wide};
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let x = found.value("x");
    let TensorType { dtype, shape, .. } = patch.ty(x)?;
    let rank = shape.len();
    fits(rank >= 2 && is_wide(dtype))?;
    let (scale, shift) = batch_norm_affine(found, patch, dtype)?;
    let (scale, shift) = (
        patch.spread(scale, rank - 1, 0)?,
        patch.spread(shift, rank - 1, 0)?,
    );
    let scaled = patch.apply("mul", &[x, scale], Attrs::new())?;
    patch.apply("add", &[scaled, shift], Attrs::new())
}

/// The rule.
pub(crate) const RULE: Rule =
    Rule::rounding("batch_norm_to_affine", "batch_norm(x) becomes x * s + b")
        .matching(&[
            "batch_norm(?x, ?scale:const, ?bias:const, ?mean:const, ?variance:const){epsilon = ?e}",
        ])
        .build(build);
