//! Axes of one element that are inserted before a sum or product, and removed behind it: the other
//! operand goes without them.

use alula_ir::{Attrs, ValueId};
use alula_tensor::{Dim, Shape};

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

/// For each axis of `outer` the one of `inner` that it is, where they differ in axes of one
/// element only; `None` for such an axis that `inner` lacks.
fn correspondence(outer: &[Dim], inner: &[Dim]) -> Option<Vec<Option<usize>>> {
    let (mut places, mut at) = (Vec::with_capacity(outer.len()), 0);
    for extent in outer {
        while inner.get(at).is_some_and(|dim| dim != extent && dim.is(1)) {
            at += 1;
        }
        if inner.get(at) == Some(extent) {
            places.push(Some(at));
            at += 1;
        } else if extent.is(1) {
            places.push(None);
        } else {
            return None;
        }
    }
    inner[at..].iter().all(|dim| dim.is(1)).then_some(places)
}

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let (x, other) = (found.value("x"), found.value("o"));
    let (outer, inner) = (patch.shape(x)?, patch.shape(found.value("r"))?);
    fits(patch.shape(found.result)? == outer)?;
    require(
        patch.shape(found.value("b"))? == inner,
        "the other operand broadcasts the reshaped one",
    )?;
    let places = correspondence(&outer, &inner).ok_or("the reshapes move more than axes of 1")?;
    let own = patch.shape(other)?;
    let skipped = inner.len() - own.len();
    let to: Shape = places
        .into_iter()
        .map(|place| match place.and_then(|at| at.checked_sub(skipped)) {
            Some(axis) => own[axis].clone(),
            None => Dim::new(1),
        })
        .collect();
    let other = patch.reshape(other, to)?;
    let node = patch.graph().node(found.node(patch.graph(), "b")).clone();
    let is_first = node.operands[0] == found.optional("r");
    let operands = if is_first {
        [Some(x), Some(other)]
    } else {
        [Some(other), Some(x)]
    };
    Ok(patch.push_op(node.op, &operands, Attrs::new(), 1)?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "drop_reshapes_around_binary",
    "reshape(reshape(x) + y) becomes x + reshape(y)",
)
.matching(&["reshape(%b=add|mul(%r=reshape(?x){..}, ?o)){..}"])
.build(build);
