//! Lower bounds in a row are one, and so are upper bounds.

use alula_ir::{Attrs, ValueId};

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let op = patch.graph().node(found.root).op.name;
    let inner = found.node(patch.graph(), "m");
    require(
        patch.graph().node(inner).op.name == op,
        "one is a minimum, one a maximum",
    )?;
    let bound = patch.apply(op, &[found.value("c"), found.value("d")], Attrs::new())?;
    patch.apply(op, &[found.value("x"), bound], Attrs::new())
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "merge_max_const",
    "max(max(x, c), d) becomes max(x, max(c, d))",
)
.matching(&["min|max(%m=min|max(?x, ?c:const), ?d:const)"])
.build(build);
