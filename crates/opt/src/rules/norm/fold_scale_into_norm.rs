//! A constant factor behind a normalization without a scale is its scale.

use alula_ir::ValueId;

use crate::axes::axis_of;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let norm = found.node(patch.graph(), "n");
    let node = patch.graph().node(norm);
    fits(node.results.len() == 1)?;
    // The normalized axes are the last ones; a scale must not differ along the others.
    let shape = patch.shape(found.value("n"))?;
    let axis = axis_of(node.attrs.int("axis"), shape.len());
    let own = patch.shape(found.value("k"))?;
    let batch = own.len().saturating_sub(shape.len() - axis);
    require(
        own[..batch].iter().all(|dim| dim.is(1)),
        "the factor differs along other axes",
    )?;
    let scale = patch.reshape(found.value("k"), own[batch..].to_vec())?;
    Ok(patch.with_operands(norm, &[Some(found.value("x")), Some(scale)])?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "fold_scale_into_norm",
    "layer_norm(x) * c becomes layer_norm(x, c)",
)
.matching(&["mul(%n=layer_norm|rms_norm(?x){..}, ?k:const)"])
.build(build);
