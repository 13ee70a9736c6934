//! Slices along different axes in a row are one.

use alula_ir::{Attrs, ValueId};

use crate::axes::axes_of;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let rank = patch.ty(found.result)?.rank();
    let inner = found.node(patch.graph(), "s");
    let (inner, outer) = (
        patch.graph().node(inner).attrs.clone(),
        patch.graph().node(found.root).attrs.clone(),
    );
    let mut axes = axes_of(inner.ints("axes"), rank);
    axes.extend(axes_of(outer.ints("axes"), rank));
    let mut unique = axes.clone();
    unique.sort_unstable();
    unique.dedup();
    require(unique.len() == axes.len(), "an axis is sliced twice")?;
    let both = |name: &str| [inner.dims(name), outer.dims(name)].concat();
    let list = |name: &str| [inner.ints(name), outer.ints(name)].concat();
    let mut attrs = Attrs::new()
        .with("axes", list("axes"))
        .with("starts", both("starts"))
        .with("ends", both("ends"));
    if inner.has("steps") || outer.has("steps") {
        let steps = |attrs: &Attrs| match attrs.has("steps") {
            true => attrs.ints("steps").to_vec(),
            false => vec![1; attrs.ints("axes").len()],
        };
        attrs.set("steps", [steps(&inner), steps(&outer)].concat());
    }
    patch.apply("slice", &[found.value("x")], attrs)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "merge_slices",
    "slices along different axes become one slice",
)
.matching(&["slice(%s=slice(?x){..}){..}"])
.build(build);
