//! A transposition comes after arithmetic with a constant, which is transposed the other way now.

use alula_ir::ValueId;
use alula_tensor::Dim;

use crate::axes::{inverse, permutation};
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let order = permutation(patch.graph(), found.node(patch.graph(), "t"));
    let (t, k) = (found.value("t"), found.value("k"));
    require(
        patch.shape(t)? == patch.shape(found.result)?,
        "the constant broadcasts the operand",
    )?;
    let own = patch.shape(k)?;
    let turned = if own.iter().all(|dim| dim.is(1)) {
        patch.reshape(k, Vec::new())?
    } else {
        let mut to = vec![Dim::new(1); order.len() - own.len()];
        to.extend(own);
        let full = patch.reshape(k, to)?;
        patch.transpose(full, &inverse(&order))?
    };
    let operands: Vec<_> = patch
        .graph()
        .node(found.root)
        .operands
        .iter()
        .map(|operand| {
            if *operand == Some(t) {
                Some(found.value("x"))
            } else {
                Some(turned)
            }
        })
        .collect();
    let made = patch.with_operands(found.root, &operands)?[0];
    patch.transpose(made, &order)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "sink_transpose_past_constant",
    "transpose(x) + c becomes transpose(x + transpose(c))",
)
.matching(&[
    "add|mul|min|max|sub|div|pow(%t=transpose(?x){..}, ?k:const)",
    "sub|div|pow(?k:const, %t=transpose(?x){..})",
])
.build(build);
