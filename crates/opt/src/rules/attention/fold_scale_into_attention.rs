//! Queries or keys that are scaled by one factor: the factor is a part of the scale. Exporters
//! scale both by its root, so that narrow floats do not overflow; `f16` is left as it is.

use alula_ir::{Attrs, ValueId};
use alula_tensor::{DType, Scalar};

use crate::patch::Patch;
use crate::pattern::{Match, splat_of};
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    fits(patch.ty(found.result)?.dtype != DType::F16)?;
    let splat = |name: &str| {
        let value = found.optional(name)?;
        splat_of(patch.graph(), value).map(Scalar::to_f64)
    };
    let factor = splat("s").unwrap_or(1.0) / splat("d").unwrap_or(1.0);
    require(factor.is_finite(), "the factor is not finite")?;
    let (scaled, x) = (found.value("p"), found.value("x"));
    // A factor of more axes would lend them to the product.
    require(
        patch.shape(scaled)? == patch.shape(x)?,
        "the factor broadcasts what it scales",
    )?;
    let node = patch.graph().node(found.root).clone();
    let attrs: Attrs = node
        .attrs
        .clone()
        .with("scale", node.attrs.float("scale") * factor);
    // Which of both it is, the pattern does not say; the same value may be both.
    let position = usize::from(node.operands[0] != Some(scaled));
    let mut operands = node.operands;
    operands[position] = Some(x);
    Ok(patch.push_op(node.op, &operands, attrs, 1)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "fold_scale_into_attention",
    "attention(q * c, k, v) becomes attention(q, k, v) {scale}",
)
.matching(&[
    "attention(%p=mul(?x, ?s:splat), ..){..}",
    "attention(%p=div(?x, ?d:splat), ..){..}",
    "attention(?o, %p=mul(?x, ?s:splat), ..){..}",
    "attention(?o, %p=div(?x, ?d:splat), ..){..}",
])
.sharing()
.build(build);
