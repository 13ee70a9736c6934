//! A negated comparison of integers is the opposite one; `eq` and `ne` are opposite for floats, too.

use alula_ir::{Attrs, ValueId};

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule};

/// The operator that is true where the given one is false.
fn opposite(name: &str) -> &'static str {
    match name {
        "lt" => "ge",
        "le" => "gt",
        "gt" => "le",
        "ge" => "lt",
        "eq" => "ne",
        _ => "eq",
    }
}

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let node = found.node(patch.graph(), "c");
    let op = opposite(patch.graph().node(node).op.name);
    patch.apply(op, &[found.value("a"), found.value("b")], Attrs::new())
}

/// The rule.
pub(crate) const RULE: Rule =
    Rule::exact("invert_comparison", "not(a < b) becomes a >= b, and so on")
        .matching(&["not(%c=lt|le|gt|ge(?a:int, ?b))", "not(%c=eq|ne(?a, ?b))"])
        .build(build);
