//! A constant added to each channel of a convolution's operand moves its bias, where there is no padding
//! (padding is 0 and not the constant).

use alula_ir::{Attrs, ValueId};

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Miss, Rule, require};

fn build(found: &Match<'_>, patch: &mut Patch<'_>) -> Result<ValueId, Miss> {
    let (w, x) = (found.value("w"), found.value("x"));
    let attrs = patch.graph().node(found.root).attrs.clone();
    require(attrs.int("group") == 1, "the convolution has groups")?;
    let is_padded = attrs.has("pads") && attrs.dims("pads").iter().any(|pad| !pad.is(0));
    require(!is_padded, "the convolution pads")?;
    let shape = patch.shape(x)?;
    require(
        patch.shape(found.value("a"))? == shape,
        "the constant broadcasts the operand",
    )?;
    let shift = patch.along_axis(found.value("k"), &shape, 1)?;
    let rank = patch.ty(w)?.rank();
    let shift = patch.spread(shift, rank, 1)?;
    let products = patch.apply("mul", &[w, shift], Attrs::new())?;
    let sums = Attrs::new().with("axes", (1..rank as i64).collect::<Vec<_>>());
    let moved = patch.apply("reduce_sum", &[products], sums.with("keepdims", false))?;
    let bias = match found.optional("b") {
        Some(bias) => patch.apply("add", &[bias, moved], Attrs::new())?,
        None => moved,
    };
    Ok(patch.with_operands(found.root, &[Some(x), Some(w), Some(bias)])?[0])
}

/// The rule.
pub(crate) const RULE: Rule = Rule::rounding(
    "fold_add_before_conv",
    "conv(x + c, w, b) becomes conv(x, w, b + sum(w * c))",
)
.matching(&["conv(%a=add(?x, ?k:const), ?w:const, ?b:const?){..}"])
.build(build);
