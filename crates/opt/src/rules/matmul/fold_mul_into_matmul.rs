//! A constant factor of a product with constant weights, one for all or one for each column, goes into
//! the weights.

use alula_ir::{Attrs, ValueId};

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let product = found.node(patch.graph(), "p");
    let turned = patch.graph().node(product).attrs.bool("transpose_b");
    let (w, shape) = (found.value("w"), patch.shape(found.result)?);
    require(
        patch.shape(found.value("p"))? == shape,
        "the factor broadcasts the product",
    )?;
    let factor = patch.along_axis(found.value("k"), &shape, shape.len() - 1)?;
    let rank = patch.ty(w)?.rank();
    let factor = patch.spread(factor, rank, if turned { rank - 2 } else { rank - 1 })?;
    let w = patch.apply("mul", &[w, factor], Attrs::new())?;
    Ok(patch.with_operands(product, &[Some(found.value("x")), Some(w)])?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "fold_mul_into_matmul",
    "matmul(x, w) * c becomes matmul(x, w * c)",
)
.matching(&["mul(%p=matmul(?x:float, ?w:const){..}, ?k:const)"])
.build(build);
