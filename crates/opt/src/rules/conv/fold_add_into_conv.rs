//! A constant added to each channel of a convolution's result is a bias.

use alula_ir::{Attrs, ValueId};

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let conv = found.node(patch.graph(), "c");
    let shape = patch.shape(found.result)?;
    let shift = patch.along_axis(found.value("k"), &shape, 1)?;
    let bias = match found.optional("b") {
        Some(bias) => patch.apply("add", &[bias, shift], Attrs::new())?,
        None => {
            let channels = vec![shape[1].clone()];
            patch.apply("expand", &[shift], Attrs::new().with("to", channels))?
        }
    };
    let operands = [Some(found.value("x")), Some(found.value("w")), Some(bias)];
    Ok(patch.with_operands(conv, &operands)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "fold_add_into_conv",
    "conv(x, w, b) + c becomes conv(x, w, b + c)",
)
.matching(&["add(%c=conv|conv_transpose(?x, ?w, ?b:const?){..}, ?k:const)"])
.build(build);
