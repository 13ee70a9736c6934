//! A gather at constant positions that follow each other is a slice; for a position of rank 0 a
//! reshape drops the axis.

use alula_ir::{Attrs, ValueId};
use alula_tensor::Dim;

use crate::axes::axis_of;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, fits, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let (x, indices) = (found.value("x"), found.value("i"));
    let ty = patch.ty(x)?;
    let axis = axis_of(patch.graph().node(found.root).attrs.int("axis"), ty.rank());
    let tensor = patch
        .graph()
        .as_constant(indices)
        .ok_or("the positions are no constant")?;
    let (rank, values) = (tensor.rank(), tensor.to_i64s().unwrap_or_default());
    let follow = values
        .windows(2)
        .all(|pair| pair[0].checked_add(1) == Some(pair[1]));
    fits(rank <= 1 && !values.is_empty() && values.len() <= 1 << 20)?;
    require(follow, "the positions do not follow each other")?;
    let (first, last) = (values[0], values[values.len() - 1]);
    require((first < 0) == (last < 0), "the positions run over the end")?;
    let extent = ty.shape[axis].as_const().ok_or("the extent is not known")?;
    let is_inside = |at: i64| if at < 0 { at >= -extent } else { at < extent };
    require(
        is_inside(first) && is_inside(last),
        "a position is out of range",
    )?;
    let first = if first < 0 { first + extent } else { first };
    let end = first + values.len() as i64;
    let attrs = Attrs::new()
        .with("axes", vec![axis as i64])
        .with("starts", vec![Dim::new(first)])
        .with("ends", vec![Dim::new(end)]);
    let slice = patch.apply("slice", &[x], attrs)?;
    let to = patch.shape(found.result)?;
    patch.reshape(slice, to)
}

/// The rule.
pub(crate) const RULE: Rule = Rule::exact(
    "gather_to_slice",
    "a gather of consecutive positions becomes a slice",
)
.matching(&["gather(?x, ?i:const){..}"])
.build(build);
