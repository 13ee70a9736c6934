//! A bias of zeros is none.

use alula_ir::ValueId;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let operands = [Some(found.value("x")), Some(found.value("w"))];
    Ok(patch.with_operands(found.root, &operands)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact("drop_zero_bias", "conv(x, w, 0) becomes conv(x, w)")
    .matching(&["conv|conv_transpose(?x, ?w, 0){..}"])
    .build(build);
