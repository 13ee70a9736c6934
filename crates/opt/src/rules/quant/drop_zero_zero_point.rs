//! A zero point of 0 is none.

use alula_ir::ValueId;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let operands = [Some(found.value("x")), Some(found.value("s"))];
    Ok(patch.with_operands(found.root, &operands)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_zero_zero_point",
    "dequantize(x, s, 0) becomes dequantize(x, s)",
)
.matching(&["dequantize_linear|quantize_linear(?x, ?s, 0){..}"])
.build(build);
