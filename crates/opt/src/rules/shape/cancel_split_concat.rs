//! The parts of a split, joined in order along the same axis.

use alula_ir::{Attrs, ValueId};

use crate::axes::axis_of;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let graph = patch.graph();
    let rank = patch.ty(found.result)?.rank();
    let (concat, split) = (graph.node(found.root), graph.node(found.node(graph, "s")));
    let parts: Vec<_> = split.results.iter().copied().map(Some).collect();
    require(
        concat.operands == parts,
        "the parts are not all there in order",
    )?;
    let axis = |attrs: &Attrs| axis_of(attrs.int("axis"), rank);
    require(axis(&concat.attrs) == axis(&split.attrs), "the axes differ")?;
    Ok(found.value("x"))
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "cancel_split_concat",
    "concat of all parts of a split of x becomes x",
)
.matching(&["concat(%s=split(?x){..}, ..){..}"])
.sharing()
.build(build);
