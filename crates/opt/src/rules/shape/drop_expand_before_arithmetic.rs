//! An operator that broadcasts needs no operand that is expanded to what it would broadcast to.

use alula_ir::ValueId;

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let e = found.value("e");
    let operands: Vec<_> = patch
        .graph()
        .node(found.root)
        .operands
        .iter()
        .map(|operand| {
            if *operand == Some(e) {
                Some(found.value("x"))
            } else {
                *operand
            }
        })
        .collect();
    let made = patch.with_operands(found.root, &operands)?[0];
    fits(patch.graph().ty(made) == patch.graph().ty(found.result))?;
    Ok(made)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_expand_before_arithmetic",
    "expand(x) + y becomes x + y where it broadcasts anyway",
)
.matching(&[
    "add|mul|min|max|and|or|eq|sub|div|pow|lt|le|gt|ge(%e=expand(?x){..}, ?y)",
    "sub|div|pow|lt|le|gt|ge(?y, %e=expand(?x){..})",
    "select(%e=expand(?x){..}, ?y, ?z)",
    "select(?y, %e=expand(?x){..}, ?z)",
    "select(?y, ?z, %e=expand(?x){..})",
])
.sharing()
.build(build);
