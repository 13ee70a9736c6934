//! A constant behind a layer normalization without a bias is its bias.

use alula_ir::ValueId;

use crate::axes::axis_of;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let norm = found.node(patch.graph(), "n");
    let node = patch.graph().node(norm);
    fits(node.results.len() == 1)?;
    let shape = patch.shape(found.value("n"))?;
    let axis = axis_of(node.attrs.int("axis"), shape.len());
    let own = patch.shape(found.value("k"))?;
    let batch = own.len().saturating_sub(shape.len() - axis);
    require(
        own[..batch].iter().all(|dim| dim.is(1)),
        "the constant differs along other axes",
    )?;
    let bias = patch.reshape(found.value("k"), own[batch..].to_vec())?;
    let operands = [Some(found.value("x")), found.optional("s"), Some(bias)];
    Ok(patch.with_operands(norm, &operands)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "fold_bias_into_norm",
    "layer_norm(x, s) + c becomes layer_norm(x, s, c)",
)
.matching(&["add(%n=layer_norm(?x, ?s?){..}, ?k:const)"])
.build(build);
