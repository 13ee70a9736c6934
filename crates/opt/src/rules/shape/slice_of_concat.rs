//! A slice that lies within one operand of a concatenation is a slice of that operand.

use alula_ir::{Attrs, ValueId};
use alula_tensor::Dim;

use crate::axes::axis_of;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let rank = patch.ty(found.result)?.rank();
    let attrs = patch.graph().node(found.root).attrs.clone();
    let concat = patch.graph().node(found.node(patch.graph(), "c")).clone();
    let axis = axis_of(concat.attrs.int("axis"), rank);
    let [sliced] = attrs.ints("axes") else {
        return Err(Miss::NONE);
    };
    let is_plain = !attrs.has("steps") || attrs.ints("steps") == [1];
    fits(axis_of(*sliced, rank) == axis && is_plain)?;
    let total = patch.shape(found.value("c"))?[axis]
        .as_const()
        .ok_or(Miss::NONE)?;
    let place = |name: &str| {
        let at = attrs.dims(name)[0].as_const()?;
        Some((if at < 0 { at.saturating_add(total) } else { at }).clamp(0, total))
    };
    let (start, end) = (
        place("starts").ok_or(Miss::NONE)?,
        place("ends").ok_or(Miss::NONE)?,
    );
    let mut begin = 0;
    for part in concat.operands.iter().flatten() {
        let extent = patch.shape(*part)?[axis].as_const().ok_or(Miss::NONE)?;
        if begin <= start && end <= begin + extent && start < end {
            let attrs = Attrs::new()
                .with("axes", vec![axis as i64])
                .with("starts", vec![Dim::new(start - begin)])
                .with("ends", vec![Dim::new(end - begin)]);
            return patch.apply("slice", &[*part], attrs);
        }
        begin += extent;
    }
    Err("the slice takes from several operands".into())
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "slice_of_concat",
    "a slice within one operand of a concat becomes a slice of it",
)
.matching(&["slice(%c=concat(?x, ..){..}){..}"])
.sharing()
.build(build);
