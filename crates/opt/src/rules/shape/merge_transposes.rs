//! Two transpositions in a row are one.

use alula_ir::ValueId;

use crate::axes::permutation;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let inner = permutation(patch.graph(), found.node(patch.graph(), "t"));
    let outer = permutation(patch.graph(), found.root);
    let order: Vec<usize> = outer.iter().map(|&axis| inner[axis]).collect();
    patch.transpose(found.value("x"), &order)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "merge_transposes",
    "transpose(transpose(x)) becomes one transpose",
)
.matching(&["transpose(%t=transpose(?x){..}){..}"])
.sharing()
.build(build);
