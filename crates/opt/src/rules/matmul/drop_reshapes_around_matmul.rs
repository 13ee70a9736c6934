//! A product with one matrix needs no flattening of the batch axes of its operand.

use alula_ir::{Attrs, ValueId};

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let (x, w) = (found.value("x"), found.value("w"));
    let (own, flat) = (patch.shape(x)?, patch.shape(found.value("f"))?);
    fits(patch.ty(w)?.rank() == 2 && own.len() > 2 && flat.len() == 2)?;
    require(
        own.last() == flat.last(),
        "the flattening reaches the last axis",
    )?;
    let turned = patch
        .graph()
        .node(found.node(patch.graph(), "p"))
        .attrs
        .bool("transpose_b");
    let attrs = Attrs::new().with("transpose_b", turned);
    let mut product = patch.apply("matmul", &[x, w], attrs)?;
    if let Some(bias) = found.optional("b") {
        fits(patch.ty(bias)?.rank() <= 1)?;
        product = patch.apply("add", &[product, bias], Attrs::new())?;
    }
    let to = patch.shape(found.result)?;
    patch.reshape(product, to)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_reshapes_around_matmul",
    "reshape(matmul(reshape(x), w)) becomes matmul(x, w)",
)
.matching(&[
    "reshape(%p=matmul(%f=reshape(?x){..}, ?w){transpose_b = ?t}){..}",
    "reshape(add(%p=matmul(%f=reshape(?x){..}, ?w){transpose_b = ?t}, ?b:const)){..}",
])
.build(build);
